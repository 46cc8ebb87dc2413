--- rllava bench/bench.lua [--quick] [--json FILE]: the whole machine in one table.  Each line has its figure (a
--- median), its spread (fastest to slowest run), the limit of this machine for that work, measured in the same run,
--- and the share of it.  Two results are set side by side by bench/compare.lua.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local C = rl.C

local quick, out = false, nil
local args = { ... }
for i, a in ipairs(args) do
  if a == "--quick" then quick = true
  elseif a == "--json" then out = args[i + 1] or error("--json: expected a file", 0)
  elseif args[i - 1] ~= "--json" then error(a .. ": expected --quick or --json FILE", 0) end
end

local limits = dofile "bench/limits.lua"
local bench = { quick = quick, limits = limits, seconds = quick and 0.1 or 1, lines = {} }
local machine = limits.machine()
bench.machine = machine

--- Adds and prints a line.  times: { median, least, most, runs } of work items of `unit` done in one run; limit: items
--- a second at most (nil: none is known).
function bench.line(name, unit, times, work, limit)
  local line = { name = name, unit = unit, value = work / times[1], low = work / times[3], high = work / times[2],
    runs = times[4], limit = limit, share = limit and work / times[1] / limit or nil }
  bench.lines[#bench.lines + 1] = line
  print(("%-46s %10.4g %-9s %10.4g .. %-10.4g %10s %7s"):format(name, line.value, unit, line.low, line.high,
    limit and ("%.4g"):format(limit) or "", line.share and ("%.0f%%"):format(100 * line.share) or ""))
  io.stdout:flush()
end

local function title(text) print("\n" .. text) end

print(("%s, %d threads: %.1f GFLOP/s in f32, %.1f in bf16, %.1f GB/s from memory"):format(
  ffi.string(C.rl_cpu(nil)), C.rl_threads(0), machine.float / 1e9, machine.half / 1e9, machine.bytes / 1e9))
print(("%-46s %10s %-9s %24s %10s %7s"):format("", "median", "", "slowest .. fastest run", "limit", "share"))

local began = C.rl_clock()
for _, part in ipairs { "products", "model", "rest" } do
  title(part)
  dofile("bench/parts/" .. part .. ".lua")(bench)
end
print(("\n%.0f s in all"):format(C.rl_clock() - began))

if out then
  local list = json.array {}
  for i, l in ipairs(bench.lines) do
    list[i] = json.object { { "name", l.name }, { "unit", l.unit }, { "value", l.value }, { "low", l.low },
      { "high", l.high }, { "runs", l.runs }, { "limit", l.limit or json.null }, { "share", l.share or json.null } }
  end
  files.write(out, json.encode(json.object { { "cpu", ffi.string(C.rl_cpu(nil)) }, { "threads", C.rl_threads(0) },
    { "quick", quick }, { "f32", machine.float }, { "bf16", machine.half }, { "memory", machine.bytes },
    { "lines", list } }))
end
