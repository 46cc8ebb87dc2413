--- A user's own model folder, data files, template and reward,
--- with RLLaVA's keys on the command line.
local T = require "check"
local rl = require "rllava"
local files = require "rllava.files"
local json = require "rllava.json"
local recipe = require "rllava.recipe"
local train = require "rllava.train"

local home = os.tmpname()
os.remove(home)
files.make_folder(files.join(home, "pictures"))
local function put(name, text) files.write(files.join(home, name), text) end

-- Six problems as PNG files beside a JSONL, as somebody would collect them.
local geoqa = rl.recipe_file "data/geoqa.lua"
local lines = {}
for i = 1, 6 do
  local p = geoqa.problem(5, i)
  put(("pictures/%d.png"):format(i),
    rl.image.png { rgb = p.rgb, width = geoqa.size, height = geoqa.size })
  lines[i] = json.encode(json.object { { "problem", p.question },
    { "images", json.array { i .. ".png" } }, { "solution", p.answer } })
end
put("train.jsonl", table.concat(lines, "\n") .. "\n")
put("plain.jinja", "{{ content | trim }}")
put("length.lua", "return function(response, answer, row) "
  .. "return { overall = math.min(1, #response / 50), "
  .. "right = response:find(answer, 1, true) and 1 or 0 } end")
put("mine.lua", [[local rl = require "rllava"
return rl.recipe { model = "tiny-vl", data = { train = "train.jsonl" }, reward = "length.lua",
  algorithm = "gspo" }]])

local function run(...)
  local overrides = { "actor.model.model_path=recipes/tiny-vl", "data.prompt_key=problem",
    "data.answer_key=solution", "data.train_image_dir=pictures", "data.format_prompt=plain.jinja",
    "data.train_batch_size=2", "actor.ppo_mini_batch_size=1", "rollout.n=3",
    "data.max_response_length=24", "data.max_prompt_length=64", "actor.optim.lr=1e-5",
    "trainer.max_steps=2", "trainer.val_before_train=false", "trainer.logger=none",
    "trainer.outputs_dir=" .. files.join(home, "out") }
  for _, o in ipairs { ... } do overrides[#overrides + 1] = o end
  train.run(recipe.load(files.join(home, "mine.lua"), overrides))
end

T.test("own pictures, columns, template, reward and RLLaVA's keys train a model folder", function()
  run()
  local last
  for line in files.read(files.join(home, "out", "metrics.jsonl")):gmatch "[^\n]+" do
    last = json.decode(line)
  end
  T.equal(last.step, 2)
  if not last["reward/right"] then error "the reward's own part is not among the metrics" end
  local rollouts = 0
  for _ in files.read(files.join(home, "out", "rollouts.jsonl")):gmatch "[^\n]+" do
    rollouts = rollouts + 1
  end
  T.equal(rollouts, 2 * 2 * 3)
end)

T.test("the checkpoint is a model folder that loads and goes on", function()
  local p = rl.policy.load(files.join(home, "out", "checkpoints", "global_step_2"))
  T.equal(p:size(), rl.policy.load("recipes/tiny-vl"):size())
  T.equal(p.tokenizer.size, 377)
end)

T.test("an absent picture is named with its file and row", function()
  put("train.jsonl", lines[1] .. "\n" .. lines[2]:gsub('2.png', "absent.png") .. "\n")
  files.remove(files.join(home, "out"))
  T.raises("absent.png", run)
  T.raises("train.jsonl:2", run)
end)

T.test("data.on_bad=skip trains on the rest; says how many rows it left out, and why", function()
  put("three.jsonl",
    lines[1] .. "\n" .. lines[3] .. "\n" .. lines[2]:gsub('2.png', "absent.png") .. "\n")
  local home_of = files.join(home, "skip")
  local p = io.popen(("%s %s/mine.lua actor.model.model_path=recipes/tiny-vl "
    .. "data.train=three.jsonl data.prompt_key=problem data.answer_key=solution "
    .. "data.image_dir=pictures data.on_bad=skip "
    .. "data.prompts_per_step=2 rollout.n=2 rollout.max_new_tokens=8 data.max_prompt_length=64 "
    .. "trainer.max_steps=1 trainer.val_before_train=false trainer.outputs_dir=%s 2>&1"):format(
    arg[0], home, home_of))
  local said = p:read "*a"
  p:close()
  for _, text in ipairs { "three.jsonl:3", "absent.png", "data: 1 rows left out, 2 are there",
    "step 1/1" } do
    if not said:find(text, 1, true) then error("expected " .. text .. " in " .. said) end
  end
end)

T.test("a row without its column names the nearest that is there", function()
  T.raises("solution", function() run("data.answer_key=solutoin") end)
end)

T.test("more marks than pictures are an error with the row", function()
  put("train.jsonl", (lines[1]:gsub('"problem":"', '"problem":"<image><image>')) .. "\n")
  T.raises("train.jsonl:1", run)
end)

T.test("the mark of a video in the text is an error with the row, not a picture", function()
  put("train.jsonl", (lines[1]:gsub('"problem":"', '"problem":"<|video_pad|>')) .. "\n")
  T.raises("prompt: videos: expected no placeholder of one, found one", run)
  T.raises("train.jsonl:1", run)
end)

files.remove(home)
