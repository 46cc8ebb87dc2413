--- rllava eval RECIPE: a recipe's validation by itself, without training.
---   FOLDER/rollouts.jsonl   every answer: rllava show FOLDER 0
---   FOLDER/summary.json     { name = { value, low, high } }, 95% intervals over prompts
local files = require "rllava.files"
local json = require "rllava.json"
local records = require "rllava.records"
local run_folder = require "rllava.run_folder"
local validate = require "rllava.validate"

local eval = {}

--- Metrics by name, with their intervals where they have one -> list of { name, value, low, high }.
local function summary(found)
  local list = {}
  for name, v in require("rllava").sorted(found) do
    local key = name:match "^val/(.*)$"
    if key or name:find "^val_response_length" then
      local place = "val_ci/" .. (key or "") .. "/"
      list[#list + 1] = { name, v, found[place .. "low"], found[place .. "high"] }
    end
  end
  return list
end

local function write_summary(path, list)
  local members = {}
  for i, s in ipairs(list) do
    members[i] = { s[1], json.object { { "value", s[2] }, { "low", s[3] }, { "high", s[4] } } }
  end
  files.write(path, json.encode(json.object(members)))
end

--- Every answer, and the calls of the reward that failed.
local function write_answers(folder, list, rewards)
  local out = records.open(files.join(folder, "rollouts.jsonl"))
  for _, one in ipairs(list) do
    for _, g in ipairs(one.batch.groups) do
      for _, r in ipairs(g.responses) do
        out:write(records.sample(0, records.of_response(g, r), "val" .. one.suffix))
      end
    end
  end
  for _, f in ipairs(rewards:take_failures()) do
    local s = records.of_response({ row = f.row }, f.id)
    s.result = { error = f.error }
    out:write(records.sample(0, s, "val failed"))
  end
  out:close()
end

--- Validates cfg's policy on its validation sets -> metrics, the folder that they were written to:
--- trainer.outputs_dir, or a new one.  Refuses a folder that holds a run, and a recipe without
--- validation rows.
function eval.run(cfg)
  local folder = run_folder.of(cfg, "-eval")
  if files.kind(files.join(folder, "rollouts.jsonl")) then
    error(folder .. ": holds a run already; trainer.outputs_dir names another folder", 0)
  end
  local trainer = require("rllava.train").open(cfg, "eval")
  local ok, found, list = pcall(validate.each, trainer)
  if ok and found then
    files.make_folder(folder)
    write_answers(folder, list, trainer.rewards)
    write_summary(files.join(folder, "summary.json"), summary(found))
  end
  trainer:close()
  if not ok then error(found, 0) end
  if not found then error("eval: data.val: expected validation rows, found none", 0) end
  return found, folder
end

--- The same, with its numbers on the screen.
function eval.show(cfg)
  local found, folder = eval.run(cfg)
  for _, s in ipairs(summary(found)) do
    local interval = s[3] and ("   95%%: %.4g to %.4g"):format(s[3], s[4]) or ""
    print(("%-34s %10.4g%s"):format(s[1], s[2], interval))
  end
  print(("answers:  rllava show %s 0"):format(folder))
end

return eval
