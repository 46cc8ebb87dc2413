--- Grounding and detection in drawn pictures: the same problems everywhere, in bounds that hold,
--- with answers that earn their reward.
local T = require "check"
local ffi = require "ffi"
local files = require "rllava.files"
local recipe = require "rllava.recipe"
local rewards = require "rewards"
local rl = require "rllava"
local finding = rl.recipe_file "data/finding.lua"
local random, shapes = rl.recipe_file "data/random.lua", rl.recipe_file "data/shapes.lua"

local PIXELS = { { original = { 112, 112 }, resized = { 112, 112 } } }
local score = { ovd = rewards.open("ovd"), grounding = rewards.open("grounding",
  { scale = "resized", truth = "resized", format_weight = 0.1 }) }

local function pixels(p) return ffi.string(p.rgb, 3 * finding.size ^ 2) end
local function earned(p, response)
  return score[p.task](response, p.answer, { image_sizes = PIXELS }).overall
end

T.test("finding: the same pictures, questions and annotators in every process", function()
  local all = {}
  for i = 1, 30 do
    local p = finding.problem(({ "grounding", "ovd", "scan" })[i % 3 + 1], 5, i)
    all[#all + 1] = pixels(p) .. p.question .. p.answer .. finding.demonstration(p)
      .. finding.demonstration(p, random.new("a", i))
  end
  T.equal(files.sha256_text(table.concat(all)),
    "c1c8203338156a43f66943c497dd5f4ef3cbf446d13e65ed231e8bb0aae3915c")
end)

T.test("finding: a box holds its shape to the pixel, and lies in its cell", function()
  local empty = shapes.draw {}
  for i = 1, 40 do
    local one = shapes.scene(random.new("box", i), { least = 1, most = 1 })[1]
    local rgb, seen = shapes.draw { one }, { 112, 112, 0, 0 }
    for at = 0, 112 * 112 - 1 do
      local x, y = at % 112, math.floor(at / 112)
      if rgb[3 * at + 2] ~= empty[3 * at + 2] then
        T.equal(4 * math.floor(y / 28) + math.floor(x / 28) + 1, one.cell)
        seen = { math.min(seen[1], x), math.min(seen[2], y), math.max(seen[3], x + 1),
          math.max(seen[4], y + 1) }
      end
    end
    T.equal(seen, one.box)
  end
end)

--- Does a problem ask for a shape and colour in a cell that training leaves out?
local function apart(p)
  for _, one in ipairs(p.targets) do
    if random.hash(one.shape, one.colour, one.cell) % 6 == 0 then return true end
  end
  return false
end

T.test("finding: training asks for nothing of test_apart, holds no picture of a test", function()
  local trained = {}
  for _, task in ipairs { "grounding", "ovd" } do
    for i = 1, 300 do
      local p = finding.problem(task, 0, i, { split = "train" })
      assert(not apart(p), "held out, yet in training")
      trained[pixels(p)] = true
    end
    for i = 1, 300 do
      local p = finding.problem(task, 0, i, { split = "test_apart" })
      local q = finding.problem(task, 0, i, { split = "test" })
      assert(apart(p), "not held out")
      assert(not trained[pixels(p)] and not trained[pixels(q)], "a training picture")
    end
  end
end)

T.test("finding: a careful annotator earns the whole reward, a careless one about half", function()
  for _, task in ipairs { "grounding", "ovd" } do
    local sum = 0
    for i = 1, 300 do
      local p = finding.problem(task, 0, i, { split = "test" })
      T.near(earned(p, finding.demonstration(p)), 1, 1e-12)
      sum = sum + earned(p, finding.demonstration(p, random.new("careless", i))) / 300
    end
    T.near(sum, 0.5, 0.1)
  end
end)

local scratch = os.tmpname()
os.remove(scratch)

--- One small step of a recipe -> what was measured in it.
local function step(name, ...)
  local folder = files.join(scratch, name)
  local overrides = { "trainer.outputs_dir=" .. folder, "trainer.max_steps=1",
    "trainer.val_freq=-1", "trainer.val_before_train=false", "data.val=null",
    "data.val_apart=null", "trainer.logger=none", "data.prompts_per_step=2", ... }
  require("rllava.train").run(recipe.load("recipes/" .. name .. ".lua", overrides))
  local log = files.read(files.join(folder, "metrics.jsonl"))
  return require("rllava.json").decode(log:match "[^\n]+")
end

T.test("finding: the recipes take a step", function()
  T.equal(step("grpo_grounding", "rollout.n=2")["actor/ratio"], 1)
  T.equal(step("grpo_ovd", "rollout.n=2")["actor/ratio"], 1)
  assert(step("sft_grounding")["actor/pg_loss"] > 1)
  files.remove(scratch)
end)
