--- rllava show RUN STEP [N] [val]: responses of a step, as a run's folder keeps them.
local files = require "rllava.files"
local records = require "rllava.records"
local log = require "rllava.log"

local show = {}

--- The steps that a file holds, and how many records of each.
local function steps_of(path)
  local steps, count = {}, {}
  for line in io.lines(path) do
    local step = tonumber(line:match '^{"step":(%d+)' or nil)
    if step and not count[step] then steps[#steps + 1] = step end
    if step then count[step] = (count[step] or 0) + 1 end
  end
  table.sort(steps)
  return steps, count
end

local function describe(folder, path)
  local steps, count = steps_of(path)
  local out = {}
  for i, step in ipairs(steps) do out[i] = ("%d (%d)"):format(step, count[step]) end
  print(("%s holds responses of the steps %s"):format(folder, table.concat(out, ", ")))
end

local function as_sample(r)
  return { prompt = r.prompt, text = r.text, answer = r.answer, advantage = r.advantage,
    result = { overall = r.overall, parts = r.parts, remark = r.remark, error = r.error } }
end

--- folder of a run, step, how many at most, kind "train" or "val" (either where nil).
function show.run(folder, step, n, kind)
  local path = files.join(folder or "", "rollouts.jsonl")
  if not folder or not files.kind(path) then
    error(("show: %s: expected a run's folder, with a rollouts.jsonl"):format(
      folder or "(nothing)"), 0)
  end
  step = tonumber(step)
  if not step then return describe(folder, path) end
  n = tonumber(n) or 8
  local shown, all = 0, 0
  for _, r in ipairs(records.read(path, step)) do
    if not kind or r.kind == kind then
      all = all + 1
      if shown < n then
        shown = shown + 1
        print(("%s, step %d, row %s, sample %s, policy %s, %s"):format(r.kind, step,
          tostring(r.index), tostring(r.sample), tostring(r.version), tostring(r.finish)))
        print(log.sample_text(as_sample(r)) .. "\n")
      end
    end
  end
  if all == 0 then error(("show: %s: no responses of step %d"):format(folder, step), 0) end
  print(("%d of %d"):format(shown, all))
end

return show
