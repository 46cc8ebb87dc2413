--- What model files are made of: a module builder that names parameters as checkpoints do.
---
---   local m = nn.model(config)             collects parameters and the tape
---   m:linear("model.layers.0.mlp.up_proj", n, k, bias)   -> function(x) -> y
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local C, check = rl.C, rl.check

local nn = {}
local Model = {}
Model.__index = Model

--- A model to be filled: config as in config.json; params [name] -> { tensor, shape }.
function nn.model(config)
  local self = setmetatable({ config = config, params = {}, names = {} }, Model)
  self.tape = ffi.gc(C.rl_tape_new(), C.rl_tape_free)
  return self
end

function Model:__tostring() return require("rllava.describe").layers(self) end

--- A parameter of a shape as in the checkpoint; axes after the first are one axis here.
function Model:param(name, ...)
  if self.params[name] then return self.params[name].tensor end
  local shape, cols = { ... }, 1
  for i = 2, #shape do cols = cols * shape[i] end
  local w = check(C.rl_param_new(name, shape[1], #shape > 1 and cols or 0))
  C.rl_param_train(w, 1)
  self.params[name] = { tensor = ffi.gc(w, C.rl_param_free), shape = shape }
  self.names[#self.names + 1] = name
  return self.params[name].tensor
end

--- A linear layer name.weight [n, k] (and name.bias [n]) as a function of x.
function Model:linear(name, n, k, bias)
  local w = self:param(name .. ".weight", n, k)
  local b = bias and self:param(name .. ".bias", n) or nil
  return function(x) return x:linear(w, b) end
end

--- name.weight [d] as a function of x: RMSNorm over the last axis.
function Model:rmsnorm(name, d, eps)
  local w = self:param(name .. ".weight", d)
  return function(x) return x:rmsnorm(w, eps) end
end

--- Inputs of the tape: rows of a kind (cols nil: a vector); tables of segments or pairs.
function Model:ints(name, kind)
  return tensor.own(C.rl_tape_input(self.tape, name, kind, 0, C.RL_INT))
end
function Model:floats(name, kind, cols)
  return tensor.own(C.rl_tape_input(self.tape, name, kind, cols or 0, C.RL_FLOAT))
end
function Model:table(name) return tensor.own(C.rl_tape_table(self.tape, name)) end

--- Names x as an output and gives it back.
function Model:output(name, x) check(C.rl_tape_output(self.tape, name, x)) return x end

--- Activations before x may be dropped and computed again in the backward pass.
function Model:mark(x) check(C.rl_tape_mark(x)) return x end

--- A constant of the model that lives as long as it.
function Model:constant(x)
  self.constants = self.constants or {}
  self.constants[#self.constants + 1] = x:keep()
  return x
end

--- Frequencies of rotary positions, theta^(-2j/dim), and which positions each takes.
--- sections: how many frequencies follow the 1st, 2nd, 3rd row of positions (nil: all the 1st).
function Model:rope_table(positions, inv_freq, sections)
  local axis = {}
  for a, n in ipairs(sections or { #inv_freq }) do for _ = 1, n do axis[#axis + 1] = a - 1 end end
  local freqs = self:constant(tensor.tensor(inv_freq))
  return positions:rope_table(freqs, self:constant(tensor.ints(axis)))
end

--- The head of a language model: rows that answer are gathered before the last norm.
--- h [tokens, d], w [vocab, d].  Outputs: logp and entropy of each pair, hidden [answers, d].
--- Of a critic (self.value): w [1, d] and the output value [answers, 1], of what follows each row.
function Model:head(h, norm, w)
  local rows = self:ints("answers", "answers")
  local x = self:output("hidden", norm(h:gather(rows)))
  local pairs_of_rows = self:table "pairs"              -- a batch binds it to either head
  if self.value then return self:output("value", x:linear(w)) end
  local logp = x:logprob(w, pairs_of_rows)
  self:output("logp", logp)
  self:output("entropy", logp:entropy_of())
end

--- The weight of the head: score.weight of a critic, that of the embedding where they are tied,
--- else lm_head.weight.
function Model:head_weight(embed, tied, vocab, d)
  if self.value then return self:param("score.weight", 1, d) end
  return tied and embed or self:param("lm_head.weight", vocab, d)
end

--- Neither gradients nor moments for the parameters of these names.
function Model:freeze(pattern)
  for _, name in ipairs(self.names) do
    if name:find(pattern) then C.rl_param_train(self.params[name].tensor, 0) end
  end
end

--- Every parameter from values(name, shape) -> float array; nil leaves it as it is.
function Model:load(values)
  for _, name in ipairs(self.names) do
    local p = self.params[name]
    local numbers = values(name, p.shape)
    if numbers then check(C.rl_param_set(p.tensor, numbers)) end
  end
end

return nn
