--- rllava bench/bench.lua [--quick] [--work] [--json FILE] [--peers PYTHON] [PART ...]: the whole
--- machine in one table, under 15 minutes; parts: products, model, rest.  Each line has its figure
--- (a median), its spread (slowest to fastest run), the limit of this machine for that work,
--- measured in the same run, and the share of it.
---   --work    on one thread and by its processor time, for a machine that others use meanwhile
---   --peers   a line that has a peer is followed by the peer's on the same work (peers/peer.py)
--- Two results are set side by side by bench/compare.lua.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local C = rl.C

local parts, known = {}, { products = true, model = true, rest = true }
local given, args = {}, { ... }
for i, a in ipairs(args) do
  if a == "--quick" or a == "--work" then given[a] = true
  elseif a == "--json" or a == "--peers" then
    given[a] = args[i + 1] or error(a .. ": expected what follows it", 0)
  elseif known[a] then parts[#parts + 1] = a
  elseif not (args[i - 1] == "--json" or args[i - 1] == "--peers") then
    error(a .. ": expected --quick, --work, --json FILE, --peers PYTHON, products, model or rest",
      0)
  end
end
if #parts == 0 then parts = { "products", "model", "rest" } end

local limits = dofile "bench/limits.lua"
local quick, work = given["--quick"], given["--work"]
if quick then limits.PATIENCE = 3 end
if work then
  limits.clock = os.clock
  C.rl_threads(1)
end
local bench = { quick = quick, work = work, limits = limits, seconds = quick and 0.1 or 1,
  lines = {}, machine = limits.machine() }
bench.program = files.kind "build/rllava" and "build/rllava" or "rllava"

local function show(l)
  bench.lines[#bench.lines + 1] = l
  print(("%-46s %10.4g %-9s %10.4g .. %-10.4g %10s %7s"):format(l.name, l.value, l.unit, l.low,
    l.high, l.limit and ("%.4g"):format(l.limit) or "",
    l.share and ("%.0f%%"):format(100 * l.share) or ""))
  io.stdout:flush()
end

--- Adds and prints a line.  times: { median, least, most, runs } of work items of `unit` done in
--- one run; limit: items a second at most (nil: none is known).
function bench.line(name, unit, times, work, limit)
  show { name = name, unit = unit, value = work / times[1], low = work / times[3],
    high = work / times[2], runs = times[4], limit = limit,
    share = limit and work / times[1] / limit or nil }
end

--- The same of a figure that is no rate.  low, high: where there were several.
function bench.value(name, unit, value, limit, low, high)
  show { name = name, unit = unit, value = value, low = low or value, high = high or value,
    runs = 1, limit = limit, share = limit and value / limit or nil }
end

--- Runs a command -> what it printed, JSON.
function bench.child(...)
  local command = table.concat({ ... }, " ") .. (work and " work" or "")
  local pipe = io.popen((work and "RLLAVA_THREADS=1 OMP_NUM_THREADS=1 " or "") .. command)
  local text = pipe:read "*a"
  pipe:close()
  return json.decode(text, command)
end

--- After a line: the same work by a peer, and how many times as fast this one is.  job, what: of
--- bench/peers/peer.py.
function bench.peer(job, what)
  if not given["--peers"] or quick then return end
  local l = bench.lines[#bench.lines]
  local told = bench.child(given["--peers"], "bench/peers/peer.py", job, what)
  if told.absent then return print(("  %s by a peer: left out, %s"):format(job, told.absent)) end
  bench.value("  by " .. told.name, l.unit, told.rate)
  bench.value("  as fast as that, times", "x", l.value / told.rate, nil, l.low / told.rate,
    l.high / told.rate)
end

print(("%s, %d threads: %.1f GFLOP/s in f32, %.1f in bf16, %.1f GB/s from memory"):format(
  ffi.string(C.rl_cpu(nil)), C.rl_threads(0), bench.machine.float / 1e9, bench.machine.half / 1e9,
  bench.machine.bytes / 1e9))
print(("%-46s %10s %-9s %24s %10s %7s"):format("", "median", "", "slowest .. fastest run", "limit",
  "share"))

local began = C.rl_clock()
for i, part in ipairs(parts) do
  print("\n" .. part)
  for name, v in pairs(i > 1 and limits.machine() or {}) do    -- what ran beside may have ended
    bench.machine[name] = math.max(bench.machine[name], v)
  end
  dofile("bench/parts/" .. part .. ".lua")(bench)
end
print(("\n%.0f s in all"):format(C.rl_clock() - began))

if given["--json"] then
  local list = json.array {}
  for i, l in ipairs(bench.lines) do
    list[i] = json.object { { "name", l.name }, { "unit", l.unit }, { "value", l.value },
      { "low", l.low }, { "high", l.high }, { "runs", l.runs }, { "limit", l.limit or json.null },
      { "share", l.share or json.null } }
  end
  files.write(given["--json"], json.encode(json.object { { "cpu", ffi.string(C.rl_cpu(nil)) },
    { "threads", C.rl_threads(0) }, { "quick", quick or false }, { "work", work or false },
    { "f32", bench.machine.float }, { "bf16", bench.machine.half },
    { "memory", bench.machine.bytes }, { "lines", list } }))
end
