--- A small recorded tape for tests of operations that only a tape has: its inputs are rows of parameters.
---
---   local case = tape_case { q = { 9, 8 }, ... }, a forest, function(m, rows) ... m:output("y", ...) end)
local ffi = require "ffi"
local rl = require "rllava.ffi"
local nn = require "rllava.nn"
local tensor = require "rllava.tensor"
local T = require "check"
local C, check = rl.C, rl.check

local Case = {}
Case.__index = Case

--- names: parameters in order; shapes[name] = { rows, cols } ({ n } for a vector); forest: list of { parent, n, asked,
--- trim }, ids 0 to rows - 1 in order; record(m, x): records the outputs, x[name] [tokens, cols] or the vector.
function Case.new(names, shapes, forest, record)
  local self = setmetatable({ names = names, shapes = shapes, model = nn.model {} }, Case)
  local m, x = self.model, {}
  self.ids, self.positions = m:ints("ids", "tokens"), m:ints("positions", "tokens")
  self.segments = m:table "segments"
  self.params = {}
  for _, name in ipairs(names) do
    self.params[name] = m:param(name, unpack(shapes[name]))
    x[name] = #shapes[name] > 1 and self.ids:embedding(self.params[name]) or self.params[name]
  end
  self.answers = m:ints("answers", "answers")
  self.pairs = m:table "pairs"
  record(self, x)
  self.batch = self:lay(forest)
  return self
end

function Case:lay(forest)
  local b, id = ffi.gc(C.rl_batch_new(), C.rl_batch_free), 0
  for _, s in ipairs(forest) do
    local ids, asked = ffi.new("int[?]", s.n), ffi.new("unsigned char[?]", s.n, s.asked or {})
    for i = 0, s.n - 1 do ids[i] = s.labels and s.labels[i + 1] or id + i end
    check(C.rl_batch_segment(b, s.parent, ids, s.n, nil, asked, s.trim and 1 or 0, 0))
    id = id + s.n - (s.trim and 1 or 0)
  end
  return b
end

--- Outputs of a replay as one list; want: the gradients of their weighted sum, by parameter in order.
function Case:run(outputs, lists, want, recompute)
  for k, name in ipairs(self.names) do
    local w = self.params[name]
    check(C.rl_param_set(w, ffi.new("float[?]", #lists[k], lists[k])))
    C.rl_param_zero_grad(w)
  end
  local replay = ffi.gc(check(C.rl_replay_new(self.model.tape, outputs, want and 1 or 0, recompute or 0, C.RL_FLOAT)),
    C.rl_replay_free)
  check(C.rl_batch_bind(self.batch, replay, self.temperature or 1))
  check(C.rl_replay_forward(replay))
  local found, gradients = {}, {}
  tensor.scope(function()
    local loss
    for name in outputs:gmatch "%S+" do
      local y, weights = tensor.own(C.rl_replay_output(replay, name)), {}
      for i, v in ipairs(y:totable()) do
        found[#found + 1] = v
        weights[i] = T.weight(#found)
      end
      local part = (y:reshape(#weights) * tensor.tensor(weights)):sum()
      loss = loss and loss + part or part
    end
    if not want then return end
    loss:backward()
    check(C.rl_replay_backward(replay))
    for k, name in ipairs(self.names) do gradients[k] = tensor.own(C.rl_grad_of(self.params[name])):totable() end
  end)
  return found, gradients
end

return Case
