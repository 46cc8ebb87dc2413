--- The profiler: what it counts, and that it changes nothing.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava.ffi"
local json = require "rllava.json"
local nn = require "rllava.nn"
local profile = require "rllava.profile"
local C, check = rl.C, rl.check

--- A linear layer [rows, 8] -> [rows, 5], forward and backward, counted where on -> its output.
local function linear(rows, on)
  local m = nn.model {}
  local scale = m:param("scale", 8)
  m:output("y", m:linear("model.layers.7.mlp", 5, 8)(m:floats("x", "tokens", 8) * scale))
  check(C.rl_param_normal(m.params["model.layers.7.mlp.weight"].tensor, 1, 0, 1))
  check(C.rl_param_normal(m.params.scale.tensor, 2, 0, 1))
  local r = ffi.gc(check(C.rl_replay_new(m.tape, "y", 1, 0, C.RL_FLOAT)), C.rl_replay_free)
  local x = ffi.new("float[?]", 8 * rows, 0.5)
  check(C.rl_replay_rows(r, "tokens", rows))
  check(C.rl_replay_bind(r, "x", x))
  C.rl_profile(on and 1 or 0)
  check(C.rl_replay_forward(r))
  check(C.rl_replay_backward(r))
  C.rl_profile(0)
  local out = require("rllava.tensor").own(C.rl_replay_output(r, "y")):totable()
  return out, on and profile.events(), m
end

T.test("every operation is counted once each way, with its FLOP, bytes and layer", function()
  local _, events = linear(6, true)
  local found = {}
  for _, e in ipairs(events) do
    found[#found + 1] = { e.op, e.phase, e.layer }
    if e.seconds < 0 then error "negative time" end
    if e.op == "linear" then
      T.equal(e.flop, 2 * 6 * 8 * 5 * (e.pass == "backward" and 2 or 1))
      if e.pass == "forward" then T.equal(e.bytes, 4 * (6 * 8 + 8 * 5 + 6 * 5)) end
    end
  end
  T.equal(found, { { "binary", "update, forward", "scale" },
    { "linear", "update, forward", "model.layers.7" },
    { "linear", "update, backward", "model.layers.7" }, { "binary", "update, backward", "scale" } })
end)

T.test("counting changes no number, and nothing is counted while it is off", function()
  local plain = linear(6)
  T.equal((linear(6, true)), plain)
  linear(3)
  T.equal(#profile.events(), 4)
end)

T.test("sums: by a field, the slowest first, with the time that it takes at least", function()
  local events = {
    { op = "a", seconds = 1, flop = 10, bytes = 0 }, { op = "b", seconds = 3, flop = 0, bytes = 8 },
    { op = "a", seconds = 1, flop = 10, bytes = 400 } }
  local s = profile.sums(events, "op", { flops = 10, bytes = 100 })
  T.equal({ s[1].name, s[1].least, s[2].name, s[2].count, s[2].least, s[2].flop },
    { "b", 0.08, "a", 2, 5, 20 })
end)

T.test("the trace is JSON as Chrome reads it: one event an operation, in microseconds", function()
  local _, events = linear(6, true)
  local trace = json.decode(profile.trace(events)).traceEvents
  T.equal({ trace[1].name, trace[1].ph, trace[1].ts, trace[1].args.pass },
    { "binary", "X", 0, "forward" })
  T.equal(trace[#trace].ph, "M")
end)
