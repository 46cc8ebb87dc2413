--- The drawn knowledge questions and equations: their data, demonstrations, metrics and recipes.
local T = require "check"
local data = require "rllava.data"
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local recipe = require "rllava.recipe"
local recipe_file = require "rllava.recipe_file"
local reward = require "rllava.reward"
local train = require "rllava.train"
local rewards = require "rewards"
local wemath, equations = recipe_file "data/wemath.lua", recipe_file "data/equations.lua"

--- The true value of each question of a family, from the numbers of its picture.
local values = {
  halves = function(a, b) return { a * b, a * b / 2, a * b / 2 } end,
  ring = function(a) return { 2 * a, 8 * a, 8 * a } end,
  cut = function(a, b) return { 180 - a - b, (180 - a - b) / 2, (180 - a - b) / 2 } end,
  outer = function(a) return { (180 - a) / 2, 90 + a / 2, 90 + a / 2 } end,
  same = function(a, b)
    local side = (a + b) / 2
    return { 2 * (a + b), side, side ^ 2, side ^ 2 }
  end,
}

T.test("wemath: of five different choices the answer's letter alone is the true value", function()
  local of, before = 0, nil
  for i = 1, 40 * wemath.cycle do
    local q = wemath.question(3, i)
    of, before = q.family == before and of + 1 or 1, q.family
    local want, seen, letters = values[q.family](unpack(q.numbers))[of], {}, ""
    for k, v in ipairs(q.choices) do
      assert(v >= 1 and v % 1 == 0 and not seen[v], q.text)
      seen[v] = true
      if v == want then letters = letters .. ("ABCDE"):sub(k, k) end
    end
    T.equal({ #q.choices, letters, q.right.value }, { 5, q.answer, want })
    assert(q.text:find((" %s. %d"):format(q.answer, want), 1, true), q.text)
  end
end)

T.test("wemath: the questions of a problem share its picture and its numbers", function()
  for i = 1, wemath.cycle do
    local a, b = wemath.question(5, i), wemath.question(5, i % wemath.cycle + 1)
    T.equal(a.family == b.family, a.problem == b.problem and a.key ~= b.key)
    if a.family == b.family then
      T.equal(a.numbers, b.numbers)
      T.equal(ffi.string(a.rgb, 112 * 112 * 3), ffi.string(b.rgb, 112 * 112 * 3))
    end
  end
end)

--- What tells one combination of numbers from another.
local function mark(family, n)
  return family .. table.concat({ n[1], n[2] or "", n[3] or "", n[4] or "" }, ",")
end

T.test("wemath, equations: unseen numbers never occur in training or in demonstrations", function()
  local seen = {}
  for i = 1, 1600 do
    for _, seed in ipairs { 0, 11 } do
      local q, e = wemath.question(seed, i), equations.problem(seed, i)
      seen[mark(q.family, q.numbers)], seen[mark("", e.numbers)] = true, true
    end
  end
  for i = 1, 320 do
    local options = { split = "test_numbers" }
    local q, e = wemath.question(0, i, options), equations.problem(0, i, options)
    assert(not seen[mark(q.family, q.numbers)] and not seen[mark("", e.numbers)], q.text)
  end
end)

T.test("equations: the answer solves what is written, which fits on a line of eight", function()
  for i = 1, 400 do
    local p = equations.problem(1, i)
    local a, sign, b, c = p.numbers.text:match "^(%d)X([+-])(%d+)=(%d+)$"
    T.equal(a * p.answer + tonumber(sign .. b), tonumber(c))
    assert(#p.numbers.text <= 8, p.numbers.text)
  end
end)

T.test("wemath-tiny, equations-tiny: the same rows each time, others in other splits", function()
  for _, name in ipairs { "wemath-tiny", "equations-tiny" } do
    local seen = {}
    for _, split in ipairs { "train", "test", "test_numbers", "demonstrations" } do
      local rows = data.open(name .. "@" .. split)
      T.equal(rows.hash, data.open(name .. "@" .. split).hash)
      assert(not seen[rows.hash], split)
      seen[rows.hash] = true
    end
    T.raises("one of train, test, test_numbers, demonstrations, got 'x'", function()
      data.open(name .. "@x")
    end)
  end
end)

T.test("clean demonstrations earn the full reward, careless ones a part of it", function()
  local judges = { ["wemath-tiny"] = rewards.open "wemath",
    ["equations-tiny"] = rewards.open "geoqa" }
  for name, score in pairs(judges) do
    local rows = data.open(name .. "@demonstrations")
    local function mean(from)
      local sum = 0
      for i = from, from + 199 do
        local row = rows:get(i)
        local judge = i % 5 == 0 and name == "wemath-tiny" and rewards.open "geoqa" or score
        sum = sum + judge(row.response, row.answer, row).overall
      end
      return sum / 200
    end
    T.equal(mean(1), 1)
    local careless = mean(rows.n - 199)
    assert(careless > 0.2 and careless < 0.8, careless)
    local row = data.open(name .. "@test"):get(9)
    T.equal(score(row.target, row.answer, row).overall, 1)
  end
end)

--- We-Math's metrics over the test, as training asks for them.
--- right(key): is such a question answered right?
local function measured(right)
  local pool = reward.open({ { "rewards/wemath_metrics.lua", 0 } }, { workers = 1, timeout = 60 })
  local rows, seen = data.open "wemath-tiny@test", {}
  for i = 1, rows.n do
    local row = rows:get(i)
    local truth = json.decode(row.answer)
    local name, letter = truth.ID .. " " .. truth.key, truth.answer
    assert(not seen[name], name)
    seen[name] = true
    if not right(row.key) then letter = letter == "A" and "B" or "A" end
    pool:submit(i, "<think></think><answer>" .. letter .. "</answer>", row.answer, row)
  end
  local parts = pool:finish()[1].parts
  pool:close()
  return { parts.wemath_score_strict, parts.wemath_score_loose, parts.wemath_IK, parts.wemath_IG,
    parts.wemath_CM_strict, parts.wemath_RM_strict, parts.wemath_RM_loose }
end

T.test("wemath_metrics finds every problem of the test with all of its steps", function()
  T.equal(measured(function() return true end), { 1, 1, 0, 0, 1, 0, 0 })
  T.equal(measured(function(key) return not key:find "multi" end), { 0.5, 0.5, 0, 1, 0, 0, 0 })
  T.equal(measured(function(key) return key:find "multi" end), { 0, 0, 0, 0, 0, 1, 1 })
  T.equal(measured(function(key) return not key:find "_1" end), { 0, 1, 0, 0, 0, 1, 0 })
  T.equal(measured(function(key) return key:find "_1" end), { 0, 0, 1, 0, 0, 0, 0 })
end)

T.test("the recipes of wemath and of equations load and take a step", function()
  local scratch = os.tmpname()
  os.remove(scratch)
  for _, name in ipairs { "sft_wemath", "grpo_wemath", "grpo_equations" } do
    local folder = files.join(scratch, name)
    train.run(recipe.load(("recipes/%s.lua"):format(name), { "trainer.outputs_dir=" .. folder,
      "trainer.max_steps=1", "trainer.val_freq=-1", "trainer.logger=none", "trainer.save_freq=-1",
      "data.prompts_per_step=2", "data.val_rows=16", "data.val_apart=null",
      "rollout.val_sampled=false", "rollout.max_new_tokens=8" }))
    local last = {}
    for line in files.read(files.join(folder, "metrics.jsonl")):gmatch "[^\n]+" do
      for k, v in pairs(json.decode(line)) do last[k] = v end
    end
    assert(last["actor/grad_norm"] and last["val/accuracy_reward"], name)
    assert(name == "grpo_equations" or last["val/wemath_score_strict_reward"], name)
  end
  files.remove(scratch)
end)
