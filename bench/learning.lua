--- What each algorithm learns on the embedded geometry task: held-out accuracy before and after, minutes.
---   ./build/rllava bench/learning.lua [STEPS [ALGORITHM ...]]
--- A row is one run of recipes/grpo_geoqa.lua with another algorithm; 400 new pictures, 95% intervals.
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

-- What an algorithm needs beside its name to learn in so few steps.
local settings = {
  dapo = { "loss.filter_key=accuracy" },
  kl_cov = { "loss.kl_cov_ratio=0.002" },
}

--- Validations of a run's folder, first and last.
local function ends(folder)
  local first, last
  for line in files.read(files.join(folder, "metrics.jsonl")):gmatch "[^\n]+" do
    local m = json.decode(line)
    if m["val/accuracy_reward"] then first, last = first or m, m end
  end
  return first, last
end

local function percent(p, n) return ("%4.1f +- %3.1f"):format(100 * p, 196 * math.sqrt(p * (1 - p) / n)) end

print(("%-26s %14s %14s %14s %14s %8s"):format("algorithm", "greedy, start", "end", "sampled, start", "end", "minutes"))
for _, name in ipairs(chosen) do
  local folder = os.tmpname()
  os.remove(folder)
  local overrides = { "algorithm=" .. name, "trainer.max_steps=" .. steps, "trainer.val_freq=-1", "data.val_apart=null",
    "trainer.logger=none", "trainer.save_model_only=true", "trainer.outputs_dir=" .. folder }
  for _, o in ipairs(settings[name] or {}) do overrides[#overrides + 1] = o end
  local from = clock()
  local ok, why = pcall(train.run, recipe.load("recipes/grpo_geoqa.lua", overrides))
  if ok then
    local a, b = ends(folder)
    local s = "val/accuracy_reward/sampled"
    print(("%-26s %14s %14s %14s %14s %8.1f"):format(name, percent(a["val/accuracy_reward"], 400),
      percent(b["val/accuracy_reward"], 400), percent(a[s], 400), percent(b[s], 400), (clock() - from) / 60))
  else
    print(("%-26s %s"):format(name, why))
  end
  io.stdout:flush()
  files.remove(folder)
end
