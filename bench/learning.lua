--- What each algorithm learns on the embedded geometry task: held-out accuracy before and after,
--- minutes.
---   ./build/rllava bench/learning.lua [STEPS [ALGORITHM ...]]
--- A row is one run of recipes/grpo_geoqa.lua with another algorithm; 400 new pictures, 95%
--- intervals.
local files = require "rllava.files"
local json = require "rllava.json"
local recipe = require "rllava.recipe"
local train = require "rllava.train"
local clock = require("rllava.ffi").C.rl_clock

local chosen = { ... }
local steps = tonumber(table.remove(chosen, 1) or 60)
if #chosen == 0 then
  for _, name in ipairs(require("rllava.algorithm").names()) do
    if not require("rllava.algo." .. name).supervised then chosen[#chosen + 1] = name end
  end
end

-- What an algorithm needs beside its name to learn in so few steps on so small a model.
local settings = {
  chord = { "loss.mu_warmup=20", "loss.mu_decay=40" },
  dapo = { "loss.filter_key=accuracy" },
  hpt = { "loss.sft_loss_coef=0.5" },
  ppo = { "critic.lr=3e-4", "critic.warmup_steps=5" },
  uft = { "loss.hint_steps=30" },
}

--- A new folder's name.
local function new_folder()
  local folder = os.tmpname()
  os.remove(folder)
  return folder
end

--- The overrides of a run of an algorithm in a folder.
local function overrides_of(name, folder, ...)
  local list = { "algorithm=" .. name, "trainer.max_steps=" .. steps, "trainer.val_freq=-1",
    "data.val_apart=null", "trainer.logger=none", "trainer.save_model_only=true",
    "trainer.outputs_dir=" .. folder, ... }
  for _, o in ipairs(settings[name] or {}) do list[#list + 1] = o end
  return list
end

--- The teacher of distill: what GRPO makes of the model in as many steps -> its folder, its model.
local function teacher()
  local folder = new_folder()
  train.run(recipe.load("recipes/grpo_geoqa.lua", overrides_of("grpo", folder)))
  return folder, files.join(folder, "checkpoints", "global_step_" .. steps)
end

--- Validations of a run's folder, first and last.
local function ends(folder)
  local first, last
  for line in files.read(files.join(folder, "metrics.jsonl")):gmatch "[^\n]+" do
    local m = json.decode(line)
    if m["val/accuracy_reward"] then first, last = first or m, m end
  end
  return first, last
end

--- An accuracy of the 400 pictures, with its 95% interval.
local function percent(p)
  return ("%4.1f +- %3.1f"):format(100 * p, 196 * math.sqrt(p * (1 - p) / 400))
end

local function row(...) print(("%-26s %14s %14s %14s %14s %8s"):format(...)) end

row("algorithm", "greedy, start", "end", "sampled, start", "end", "minutes")
for _, name in ipairs(chosen) do
  local folder, school, model = new_folder(), nil, nil
  if name == "distill" then school, model = teacher() end
  local overrides = overrides_of(name, folder, model and "teacher=" .. model)
  local from = clock()
  local ok, why = pcall(train.run, recipe.load("recipes/grpo_geoqa.lua", overrides))
  if ok then
    local a, b = ends(folder)
    local greedy, sampled = "val/accuracy_reward", "val/accuracy_reward/sampled"
    row(name, percent(a[greedy]), percent(b[greedy]), percent(a[sampled]), percent(b[sampled]),
      ("%.1f"):format((clock() - from) / 60))
  else
    print(("%-26s %s"):format(name, why))
  end
  io.stdout:flush()
  files.remove(folder)
  if school then files.remove(school) end
end
