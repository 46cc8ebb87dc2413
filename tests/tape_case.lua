--- A small recorded tape, for operations that only a tape has: its inputs are rows of parameters.
---
---   local case = Case.new({ "q" }, { q = { 9, 8 } }, forest,
---     function(c, x) c.model:output("y", x.q:sqr()) end)
local ffi = require "ffi"
local rl = require "rllava.ffi"
local nn = require "rllava.nn"
local tensor = require "rllava.tensor"
local T = require "check"
local C, check = rl.C, rl.check

local Case = {}
Case.__index = Case

--- names: parameters in order; shapes[name] = { rows, cols } ({ n } for a vector); forest: list of
--- { parent, n, asked, trim }, ids 0 to rows - 1 in order; record(case, x): records the outputs,
--- x[name] [tokens, cols] or the vector.
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

function Case:set(lists)
  for k, name in ipairs(self.names) do
    local w = self.params[name]
    check(C.rl_param_set(w, ffi.new("float[?]", #lists[k], lists[k])))
    C.rl_param_zero_grad(w)
  end
end

--- Outputs of a replay, added to found, and their weighted sum.
local function weighted_sum(replay, outputs, found)
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
  return loss
end

--- Outputs of a replay as one list; want: the gradients of their weighted sum, by parameter in
--- order.
function Case:run(outputs, lists, want, recompute)
  self:set(lists)
  local train, tape = want and 1 or 0, self.model.tape
  local replay = ffi.gc(check(C.rl_replay_new(tape, outputs, train, recompute or 0, C.RL_FLOAT)),
    C.rl_replay_free)
  check(C.rl_batch_bind(self.batch, replay, self.temperature or 1))
  check(C.rl_replay_forward(replay))
  local found, gradients = {}, {}
  tensor.scope(function()
    local loss = weighted_sum(replay, outputs, found)
    if not want then return end
    loss:backward()
    check(C.rl_replay_backward(replay))
    for k, name in ipairs(self.names) do
      gradients[k] = tensor.own(C.rl_grad_of(self.params[name])):totable()
    end
  end)
  return found, gradients
end

return Case
