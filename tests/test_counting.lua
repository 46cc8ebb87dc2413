--- Counting in drawn scenes: the data set, its answers and demonstrations, the recipes.
local T = require "check"
local data = require "rllava.data"
local files = require "rllava.files"
local json = require "rllava.json"
local recipe = require "rllava.recipe"
local rl = require "rllava"
local train = require "rllava.train"
local counting, random = rl.recipe_file "data/counting.lua", rl.recipe_file "data/random.lua"
local scene = rl.recipe_file "data/scene.lua"
local reward = require("rllava.recipe").chunk "rewards/counting.lua"()

local function score(response, answer)
  return reward.score(response, answer, {}, { strict = true, format_weight = 0.1 })
end

--- The words of a question -> colour, shape or nil.
local function words(question)
  local colour, shape
  for _, c in ipairs(scene.colours) do if question:find("%f[%a]" .. c) then colour = c end end
  for _, s in ipairs(scene.shapes) do if question:find(s, 1, true) then shape = s end end
  return colour, shape
end

T.test("counting: the answer is the number of things that the question names", function()
  for i = 1, 400 do
    local p, count = counting.problem(0, i, { split = "test" }), 0
    local colour, shape = words(p.question)
    for _, t in ipairs(p.things) do
      local asked = t.colour == (colour or t.colour) and t.shape == (shape or t.shape)
      count = count + (asked and 1 or 0)
    end
    T.equal({ p.question, p.answer }, { p.question, tostring(count) })
  end
end)

T.test("counting: training asks for no pair of test_pairs; each split has its scenes", function()
  local asked, texts = { train = {}, test_pairs = {} }, {}
  for split, n in rl.sorted { train = 2000, test = 400, test_pairs = 400 } do
    T.equal(data.open("counting-tiny@" .. split).n, n)
    for i = 1, 300 do
      local p = counting.problem(0, i, { split = split })
      local colour, shape = words(p.question)
      if asked[split] and colour and shape then asked[split][colour .. shape] = true end
      texts[#texts + 1] = json.encode(p.things)
    end
  end
  for pair in rl.sorted(asked.test_pairs) do assert(not asked.train[pair], pair) end
  table.sort(texts)
  for i = 2, #texts do assert(texts[i] ~= texts[i - 1], "the same scene twice") end
end)

T.test("counting: clean demonstrations earn all, mixed ones err and are sloppy in part", function()
  local right, sloppy = 0, 0
  for i = 1, 400 do
    local p = counting.problem(11, i)
    T.equal(score(counting.demonstration(p), p.answer).overall, 1)
    local got = score(counting.demonstration(p, random.new("mixed", i), { mixed = true }), p.answer)
    right, sloppy = right + got.accuracy, sloppy + 1 - got.format
  end
  T.near(right / 400, 0.43, 0.08)
  T.near(sloppy / 400, 0.28, 0.07)
end)

T.test("counting-tiny: the same rows in every process", function()
  local said = {}
  for _, split in ipairs { "train", "test", "test_pairs", "demonstrations" } do
    local rows = data.open("counting-tiny@" .. split)
    for _, i in ipairs { 1, 2, 3, rows.n } do
      local row = rows:get(i)
      local response = row.response or row.target
      said[#said + 1] = table.concat({ row.prompt, row.answer, row.type, response }, "|")
    end
  end
  T.equal(files.sha256_text(table.concat(said, "\n")),
    "76446826d4bf17de7cb730d666a7dc1c0f5f012fca22e3983dc4e023642d31d6")
end)

local scratch = os.tmpname()
os.remove(scratch)

local quick = { "trainer.max_steps=1", "trainer.val_before_train=false", "trainer.val_freq=-1",
  "data.val=null", "data.val_apart=null", "data.prompts_per_step=2", "trainer.save_freq=-1",
  "trainer.logger=none" }

T.test("the counting recipes load and take a step", function()
  for _, name in ipairs { "grpo_counting", "sft_counting" } do
    local folder = files.join(scratch, name)
    local overrides = { "trainer.outputs_dir=" .. folder, unpack(quick) }
    train.run(recipe.load("recipes/" .. name .. ".lua", overrides))
    local metrics = json.decode(files.read(files.join(folder, "metrics.jsonl")))
    T.equal(metrics.step, 1)
    assert(metrics["actor/grad_norm"] > 0, "nothing was learned")
  end
end)

files.remove(scratch)
