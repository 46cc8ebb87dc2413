--- Matrix products against what the machine can do.  rllava bench/kernels.lua [avx2 | avx512 | generic ...]
--- For each path and dtype: the peak of multiply-adds and the memory's bandwidth, measured in this run, then the
--- median rate of y = x w^T for some rows, and its share of the limit (the peak, or where weights come from memory
--- the smaller of the peak and bandwidth x FLOP per byte of weights).  In brackets the share of the fastest run,
--- which says more where other programs take turns on the cores.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local nn = require "rllava.nn"
local C, check = rl.C, rl.check

local limits = dofile "bench/limits.lua"
local measure = limits.measure

-- rows, k, n
local shapes = {
  { 1, 576, 1536 }, { 8, 576, 1536 }, { 32, 576, 1536 }, { 64, 576, 1536 }, { 256, 576, 1536 }, { 64, 192, 192 },
  { 1, 576, 49152 }, { 8, 576, 49152 }, { 64, 576, 49152 }, { 256, 576, 49152 }, { 2048, 2048, 2048 },
}

--- Seconds of a linear layer in a replay, forward, and of its backward pass.
local function linear(rows, k, n, dtype)
  local m = nn.model {}
  local scale = m:param("scale", k)
  m:output("y", m:linear("w", n, k)(m:floats("x", "tokens", k) * scale))
  check(C.rl_param_normal(m.params["w.weight"].tensor, 1, 0, 0.02))
  local r = ffi.gc(check(C.rl_replay_new(m.tape, "y", 1, 0, dtype)), C.rl_replay_free)
  local x = ffi.new("float[?]", rows * k, 0.5)
  check(C.rl_replay_rows(r, "tokens", rows))
  check(C.rl_replay_bind(r, "x", x))
  local forward = measure(function() check(C.rl_replay_forward(r)) end)
  local backward = rows >= 32 and measure(function() check(C.rl_replay_backward(r)) end)
  return forward, backward
end

local function limit(rows, k, n, dtype, peak, bytes)
  local weights = k * n * (dtype == C.RL_HALF and 2 or 4)
  return limits.roof(peak, bytes, 2 * rows * k * n, weights > limits.CACHE and weights or 0)
end

local function table_of(path, name, dtype, bytes)
  local peak = C.rl_peak_flops(dtype)
  print(("\n%s, %s, %d threads: peak %.0f GFLOP/s, memory %.1f GB/s"):format(path, name, C.rl_threads(0), peak / 1e9,
    bytes / 1e9))
  print "rows     k ->     n    GFLOP/s   share of limit     dx and dw   share of peak"
  for _, s in ipairs(shapes) do
    local rows, k, n = unpack(s)
    local flop = 2 * rows * k * n
    local function column(seconds, flop, limit)
      return ("  %9.1f  %5.0f%% (%3.0f%%)"):format(flop / seconds[1] / 1e9, 100 * flop / seconds[1] / limit,
        100 * flop / seconds[2] / limit)
    end
    local forward, backward = linear(rows, k, n, dtype)
    print(("%4d %5d -> %5d"):format(rows, k, n) .. column(forward, flop, limit(rows, k, n, dtype, peak, bytes))
      .. (backward and "   " .. column(backward, 2 * flop, peak) or ""))
  end
end

local asked = { ... }
if #asked == 0 then asked = { ffi.string(C.rl_cpu(nil)) } end
for _, path in ipairs(asked) do
  check(C.rl_cpu(path))
  local bytes = C.rl_peak_bytes()
  table_of(path, "f32", C.RL_FLOAT, bytes)
  table_of(path, "bf16", C.RL_HALF, bytes)
end
