--- The machine's limits, measured now, and how a figure is taken: what every bench shares.
local rl = require "rllava.ffi"
local C = rl.C

-- CACHE: weights of more bytes come from memory.  PATIENCE: seconds that a line may take, as a
-- rule.  clock: of the wall, or (os.clock) of this process's work.
local limits = { CACHE = 24e6, PATIENCE = 20, clock = C.rl_clock }

--- Seconds of body: { median, least, most, runs }.  It is run for so many seconds and at least 5
--- times, but not once more when PATIENCE is over; the first run warms up, and counts only where it
--- alone takes half of that.  clock: nil: limits.clock.
function limits.measure(body, seconds, clock)
  local times, start, patience = {}, C.rl_clock(), limits.PATIENCE
  clock = clock or limits.clock
  local function run()
    local t = clock()
    body()
    return clock() - t
  end
  local first = run()
  if first > patience / 2 then times[1] = first end
  local function enough()
    local spent = C.rl_clock() - start
    return #times >= 1 and spent > patience or #times >= 5 and spent > (seconds or 0.4)
  end
  while not enough() do times[#times + 1] = run() end
  table.sort(times)
  return { times[math.ceil(#times / 2)], times[1], times[#times], #times }
end

--- Multiply-adds and bytes a second of this machine: { float, half, bytes }.
function limits.machine()
  return { float = C.rl_peak_flops(C.RL_FLOAT), half = C.rl_peak_flops(C.RL_HALF),
    bytes = C.rl_peak_bytes() }
end

--- FLOP a second at most of work that reads so many bytes from memory (0: none) for its FLOP.
function limits.roof(peak, bandwidth, flop, bytes)
  return bytes > 0 and math.min(peak, bandwidth * flop / bytes) or peak
end

return limits
