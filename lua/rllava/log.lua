--- What a run says while it goes: one line that changes in place on a terminal, plain lines
--- elsewhere; all of it, with the time, in log.txt.
local rl = require "rllava.ffi"
local files = require "rllava.files"
local C = rl.C

local log = {}
local Log = {}
Log.__index = Log

--- path: of log.txt (appended to), or nil.  quiet: nothing on the screen.
function log.open(path, quiet)
  local self = setmetatable({ quiet = quiet, columns = quiet and 0 or C.rl_terminal_columns(1),
    shown = false }, Log)
  if path then
    local file, why = io.open(path, "ab")
    if not file then error(why, 0) end
    self.file = file
  end
  return self
end

local function cut(text, columns)
  if #text < columns then return text end
  return text:sub(1, math.max(1, columns - 1))
end

--- A line that stays.
function Log:line(text)
  if self.file then
    self.file:write(os.date "%Y-%m-%d %H:%M:%S ", text, "\n")
    self.file:flush()
  end
  if self.quiet then return end
  io.stdout:write(self.shown and "\r\27[K" or "", text, "\n")
  io.stdout:flush()
  self.shown = false
end

--- Text in the line that changes, on a terminal only; its end is cut off where the terminal is
--- narrow.
function Log:live(text)
  if self.columns == 0 then return end
  io.stdout:write("\r\27[K", cut(text, self.columns))
  io.stdout:flush()
  self.shown = true
end

--- A line of a step: changes in place on a terminal, and always stays in log.txt.
function Log:step(text)
  if self.columns == 0 then return self:line(text) end
  if self.file then
    self.file:write(os.date "%Y-%m-%d %H:%M:%S ", text, "\n")
    self.file:flush()
  end
  self:live(text)
end

function Log:warn(text) self:line("warning: " .. text) end

function Log:close()
  if self.shown then io.stdout:write "\n" end
  if self.file then self.file:close() end
  self.file, self.shown = nil, false
end

--- 75 -> "1:15", 4000 -> "1:06:40".
function log.duration(seconds)
  local s = math.floor(seconds + 0.5)
  local h, m = math.floor(s / 3600), math.floor(s / 60) % 60
  return h > 0 and ("%d:%02d:%02d"):format(h, m, s % 60) or ("%d:%02d"):format(m, s % 60)
end

-- Metrics of the step's line: name, what it is called there, how it is written.
local shown = {
  { "reward/overall", "reward", "%.3f" }, { "reward/accuracy", "accuracy", "%.3f" },
  { "actor/ppo_kl", "kl", "%.4f" }, { "actor/kl_loss", "kl_loss", "%.4f" },
  { "actor/entropy", "entropy", "%.3f" }, { "response_length/mean", "length", "%.0f" },
  { "perf/throughput", "tokens/s", "%.0f" },
}
local parts = { { "timing_s/gen", "sampling" }, { "timing_s/reward", "reward" },
  { "timing_s/ref", "reference" }, { "timing_s/adv", "advantage" },
  { "timing_s/update_actor", "update" } }

local function split_of(metrics)
  local whole, out = 0, {}
  for _, p in ipairs(parts) do whole = whole + (metrics[p[1]] or 0) end
  for _, p in ipairs(parts) do
    local share = whole > 0 and (metrics[p[1]] or 0) / whole or 0
    if share >= 0.005 then out[#out + 1] = ("%s %.0f%%"):format(p[2], 100 * share) end
  end
  return table.concat(out, " ")
end

--- The line of a training step.  total: steps of the run; left: seconds, or nil.
function log.step_text(step, total, metrics, left)
  local out = { total and ("step %d/%d"):format(step, total) or ("step %d"):format(step) }
  for _, s in ipairs(shown) do
    if metrics[s[1]] then out[#out + 1] = s[2] .. " " .. s[3]:format(metrics[s[1]]) end
  end
  local split = split_of(metrics)
  if split ~= "" then out[#out + 1] = "(" .. split .. ")" end
  if left then out[#out + 1] = "left " .. log.duration(left) end
  return table.concat(out, "  ")
end

--- The line of a validation.
function log.val_text(step, metrics)
  local out = { ("validation after step %d"):format(step) }
  local names = {}
  for name in pairs(metrics) do
    if name:find "^val/" or name:find "^val_response_length/mean" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    out[#out + 1] = ("%s %.4g"):format(name:gsub("^val[/_]", ""), metrics[name])
  end
  return table.concat(out, "  ")
end

-- Rows of the table at the end.
local compared = { "^val/.*", "^reward/[^/]+$", "^actor/entropy$", "^actor/ppo_kl$",
  "^actor/kl_loss$", "^response_length/mean$", "^response_length/clip_ratio$",
  "^perf/throughput$" }

--- What a run says last: list of lines.  run: first and last values by name, folder; extra: table
--- of more lines.
function log.summary(run, extra)
  local names, out = {}, {}
  for name in pairs(run.first or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, pattern in ipairs(compared) do
    for _, name in ipairs(names) do
      local a, b = run.first[name], run.last[name]
      if name:find(pattern) and a[1] ~= b[1] then
        if #out == 0 then out[1] = ("%-34s %16s %16s"):format("", "start", "end") end
        out[#out + 1] = ("%-34s %9.4g (%4d) %9.4g (%4d)"):format(name, a[2], a[1], b[2], b[1])
      end
    end
  end
  for _, text in ipairs(extra or {}) do out[#out + 1] = text end
  local step = run.last_samples
  if run.best then
    local place = ("checkpoints/global_step_%d"):format(run.best.step)
    local kept = files.kind(files.join(run.folder, place)) and ", " .. place or ", not saved"
    out[#out + 1] = ("best:       %.4g after step %d%s"):format(run.best.score, run.best.step, kept)
  end
  out[#out + 1] = "outputs in " .. run.folder
  if step then out[#out + 1] = ("responses:  rllava show %s %d"):format(run.folder, step) end
  if run.events then out[#out + 1] = "curves:     tensorboard --logdir " .. run.folder end
  return out
end

--- A sample in some lines: what was asked, what was answered, what it was worth.
function log.sample_text(s)
  local result = s.result or {}
  local score = result.error and "error: " .. result.error or ("%.3g"):format(result.overall or 0)
  local names, out = {}, {}
  for name in pairs(result.parts or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if name ~= "overall" then out[#out + 1] = ("%s %.3g"):format(name, result.parts[name]) end
  end
  local lines = {}
  if s.prompt then lines[#lines + 1] = "  prompt    " .. s.prompt:gsub("\n", "\n            ") end
  lines[#lines + 1] = "  response  " .. tostring(s.text):gsub("\n", "\n            ")
  if s.answer ~= nil then lines[#lines + 1] = "  answer    " .. tostring(s.answer) end
  local named = #out > 0 and "  (" .. table.concat(out, ", ") .. ")" or ""
  lines[#lines + 1] = "  score     " .. score .. named
    .. (result.remark and "  " .. result.remark or "")
  if s.advantage then lines[#lines + 1] = ("  advantage %.3g"):format(s.advantage) end
  return table.concat(lines, "\n")
end

return log
