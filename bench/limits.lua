--- The machine's limits, measured now, and how a figure is taken: what every bench shares.
local rl = require "rllava.ffi"
local C = rl.C

local limits = { CACHE = 24e6 }                     -- weights of more bytes come from memory

--- Seconds of body, run for so long and at least 5 times: { median, least, most, runs }.
function limits.measure(body, seconds)
  local times, start = {}, C.rl_clock()
  body()
  repeat
    local t = C.rl_clock()
    body()
    times[#times + 1] = C.rl_clock() - t
  until C.rl_clock() - start > (seconds or 0.4) and #times >= 5
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
