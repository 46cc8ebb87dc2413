--- Small runs of the embedded recipe, for tests: two prompts, four short responses to each.
local files = require "rllava.files"
local json = require "rllava.json"
local recipe = require "rllava.recipe"
local train = require "rllava.train"

local small = { scratch = os.tmpname() }
os.remove(small.scratch)
files.make_folder(small.scratch)

local base = { "data.prompts_per_step=2", "rollout.n=4", "rollout.max_new_tokens=24",
  "data.val=null", "data.val_apart=null", "trainer.val_before_train=false", "trainer.logger=none",
  "trainer.save_dtype=f32", "optim.warmup_steps=0" }

function small.config(...)
  local overrides = {}
  for _, list in ipairs { base, { ... } } do
    for _, o in ipairs(list) do overrides[#overrides + 1] = o end
  end
  return recipe.load("recipes/grpo_geoqa.lua", overrides)
end

--- body(trainer) on a run that is opened, not started.
function small.open(overrides, body)
  local t = train.open(small.config(unpack(overrides)))
  local ok, why = pcall(body, t)
  t:close()
  if not ok then error(why, 0) end
end

--- A whole run in a folder of that name -> the folder.
function small.run(name, ...)
  local folder = files.join(small.scratch, name)
  train.run(small.config("trainer.outputs_dir=" .. folder, ...))
  return folder
end

--- The numbers of each step of a run, without times and memory.
function small.metrics(folder)
  local out = {}
  for line in files.read(files.join(folder, "metrics.jsonl")):gmatch "[^\n]+" do
    local kept = {}
    for k, v in pairs(json.decode(line)) do
      if not k:find "^timing" and not k:find "^perf" then kept[k] = v end
    end
    out[#out + 1] = kept
  end
  return out
end

--- A reward of that code, as an override.
function small.reward(name, code)
  local path = files.join(small.scratch, name .. ".lua")
  files.write(path, code)
  return "reward=" .. path
end

return small
