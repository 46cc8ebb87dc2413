--- Where the time of a run goes: a few steps, counted operation by operation.
---
---   rllava profile RECIPE [steps=3] [key=value ...]       a table, and profile.json for
---   chrome://tracing, ui.perfetto.dev or speedscope
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local C, check = rl.C, rl.check

local profile = {}

local passes = { [0] = "forward", "again", "backward" }

local function text(p) return p ~= nil and ffi.string(p) or nil end

--- "model.layers.3.mlp.up_proj.weight" -> "model.layers.3"; what is in no layer: its first two
--- parts.
local function layer_of(weight)
  if not weight then return "-" end
  return weight:match "^(.-%.%d+)%." or weight:match "^([%w_]+%.[%w_]+)" or weight
end

--- Everything counted, as a list of { op, weight, layer, phase, pass, start, seconds, flop, bytes
--- }, and how many there were beyond what is kept.
function profile.events()
  local n, lost, list = ffi.new "int[1]", ffi.new "int[1]", {}
  local from = C.rl_profile_events(n, lost)
  for i = 0, n[0] - 1 do
    local e = from[i]
    local weight, phase = text(e.weight), text(e.phase)
    if phase == "update" then phase = "update, " .. passes[e.pass] end
    list[i + 1] = { op = text(e.op), weight = weight, layer = layer_of(weight), phase = phase,
      pass = passes[e.pass], start = e.start, seconds = e.seconds, flop = e.flop, bytes = e.bytes }
  end
  return list, lost[0]
end

--- Sums by a field: list of { name, count, seconds, flop, bytes, least }, the slowest first.
--- least:
--- seconds that the machine needs at least, by multiply-adds or by bytes, whichever is longer.
function profile.sums(events, field, machine)
  local by, list = {}, {}
  for _, e in ipairs(events) do
    local name = e[field]
    local s = by[name]
    if not s then
      s = { name = name, count = 0, seconds = 0, flop = 0, bytes = 0, least = 0 }
      by[name], list[#list + 1] = s, s
    end
    s.count, s.seconds = s.count + 1, s.seconds + e.seconds
    s.flop, s.bytes = s.flop + e.flop, s.bytes + e.bytes
    s.least = s.least + math.max(e.flop / machine.flops, e.bytes / machine.bytes)
  end
  table.sort(list, function(a, b)
    if a.seconds ~= b.seconds then return a.seconds > b.seconds end
    return a.name < b.name
  end)
  return list
end

local function table_of(title, list, total, steps)
  local lines = { ("%-34s %8s %9s %7s %10s %9s %9s"):format(title, "calls", "ms/step", "share",
    "GFLOP/s", "GB/s", "of limit") }
  for i, s in ipairs(list) do
    if i > 40 then lines[#lines + 1] = ("  ... %d more"):format(#list - 40) break end
    lines[#lines + 1] = ("%-34s %8d %9.2f %6.1f%% %10.1f %9.2f %8.0f%%"):format(s.name, s.count,
      1e3 * s.seconds / steps, 100 * s.seconds / total, s.flop / s.seconds / 1e9,
      s.bytes / s.seconds / 1e9, 100 * s.least / s.seconds)
  end
  return table.concat(lines, "\n")
end

--- events, machine { flops, bytes }, number of steps -> the tables by phase, operation and layer.
function profile.report(events, machine, steps)
  local total = 0
  for _, e in ipairs(events) do total = total + e.seconds end
  local parts = { ("limits: %.0f GFLOP/s, %.1f GB/s from memory; what fits the caches may exceed "
    .. "them"):format(machine.flops / 1e9, machine.bytes / 1e9) }
  for _, field in ipairs { "phase", "op", "layer" } do
    parts[#parts + 1] = table_of("by " .. field, profile.sums(events, field, machine), total, steps)
  end
  return table.concat(parts, "\n\n")
end

--- The events as a Chrome trace: one line of time for each phase, microseconds.
function profile.trace(events)
  local list, first = json.array {}, math.huge
  for _, e in ipairs(events) do first = math.min(first, e.start) end
  local rows, n = {}, 0
  for i, e in ipairs(events) do
    local phase = e.phase:match "^[^,]+"
    if not rows[phase] then n = n + 1 rows[phase] = n end
    list[i] = json.object { { "name", e.op }, { "cat", e.phase }, { "ph", "X" },
      { "ts", (e.start - first) * 1e6 }, { "dur", e.seconds * 1e6 }, { "pid", 1 },
      { "tid", rows[phase] }, { "args", json.object { { "weight", e.weight or json.null },
        { "pass", e.pass }, { "flop", e.flop }, { "bytes", e.bytes } } } }
  end
  for phase, row in require("rllava").sorted(rows) do
    list[#list + 1] = json.object { { "name", "thread_name" }, { "ph", "M" }, { "pid", 1 },
      { "tid", row }, { "args", json.object { { "name", phase } } } }
  end
  return json.encode(json.object { { "traceEvents", list } })
end

--- Seconds of a step by its parts, as the run's metrics name them.
local function laps(found, steps)
  local lines = { "seconds of a step" }
  for name, v in require("rllava").sorted(found) do
    lines[#lines + 1] = ("  %-20s %8.3f"):format(name, v / steps)
  end
  return table.concat(lines, "\n")
end

--- Runs so many steps of a recipe, after one that is not counted, prints where their time went and
--- writes profile.json (or out).
function profile.run(cfg, steps, out)
  local half = cfg.trainer.dtype == "bf16"
  local trainer = require("rllava.train").open(cfg)
  local ok, message = pcall(function()
    trainer:step(1)
    local machine = { flops = C.rl_peak_flops(half and C.RL_HALF or C.RL_FLOAT),
      bytes = C.rl_peak_bytes() }
    local times = {}
    check(C.rl_profile(1))
    for step = 2, steps + 1 do
      for name, v in pairs((trainer:step(step))) do
        local part = name:match "^timing_s/(.*)"
        if part then times[part] = (times[part] or 0) + v end
      end
    end
    check(C.rl_profile(0))
    local events, lost = profile.events()
    print(laps(times, steps) .. "\n\n" .. profile.report(events, machine, steps))
    files.write(out, profile.trace(events))
    print(("\n%s: %d operations%s"):format(out, #events,
      lost > 0 and (", %d more were not kept"):format(lost) or ""))
  end)
  C.rl_profile(0)
  trainer:close()
  if not ok then error(message, 0) end
end

return profile
