--- What a loss sees: the response tokens of some responses, end to end, without padding or mask,
--- and the totals of the whole mini-batch, so that means do not depend on how it is cut.
---
---   b.logp, b.old_logp, b.ref_logp, b.rollout_logp, b.entropy, b.advantage   [tokens]
---   b:mean(x)        sum over tokens / tokens of the mini-batch       -> scalar
---   b:seq_mean(x)    mean over each response's tokens                 -> [responses]
---   b:expand(y)      [responses] -> [tokens]
local tensor = require "rllava.tensor"
local rl = require "rllava.ffi"

local Part = {}
Part.__index = Part

--- lengths: response tokens of each response (0: an empty one, which counts nowhere).
--- totals: { tokens, responses, norm_len, ... } of the mini-batch; defaults to this part's own.
function Part.new(lengths, fields, totals)
  local first, nonempty = { 0 }, 0
  for i, n in ipairs(lengths) do
    first[i + 1] = first[i] + n
    if n > 0 then nonempty = nonempty + 1 end
  end
  local self = setmetatable({ lengths = lengths, responses = #lengths, sums = {} }, Part)
  self.tokens, self.first = first[#first], tensor.ints(first)
  self.totals = totals or { tokens = self.tokens, responses = nonempty }
  for k, v in pairs(fields) do self[k] = v end
  return self
end

--- The same tokens, of which only those count where the field `name` is 1;
--- totals[name] holds their numbers.
function Part:within(name)
  return setmetatable({ mask = self[name], totals = self.totals[name] }, { __index = self })
end

--- Sum over the tokens of each response -> [responses].
function Part:seq_sum(x)
  if self.mask then x = x * self.mask end
  return x:segment_sum(self.first)
end

function Part:expand(y) return y:segment_expand(self.first) end

local function inverse_lengths(self)
  local inverse, counts = {}, self.lengths
  if self.mask then counts = self.mask:segment_sum(self.first):totable() end
  for i, n in ipairs(counts) do inverse[i] = 1 / math.max(1, n) end
  return tensor.tensor(inverse)
end

function Part:seq_mean(x) return self:seq_sum(x) * inverse_lengths(self) end

--- Adds up [responses] over the mini-batch, divided by n; keeps what it added for exact metrics.
function Part:total(per_response, n)
  local value = per_response:sum() * (1 / math.max(1, n))
  self.sums[#self.sums + 1] = { value = value, parts = per_response, n = math.max(1, n) }
  return value
end

--- Mean over all tokens of the mini-batch of x [tokens].
function Part:mean(x) return self:total(self:seq_sum(x), self.totals.tokens) end

--- Mean over the responses of the mini-batch of y [responses].
function Part:response_mean(y) return self:total(y, self.totals.responses) end

--- x [tokens] -> scalar, by one of
---   token-mean               sum / tokens
---   seq-mean-token-sum       mean over responses of their sums
---   seq-mean-token-mean      mean over responses of their means
---   seq-mean-token-sum-norm  mean over responses of sum / norm_len     (Dr.GRPO, arXiv:2503.20783)
--- Empty responses count in none of them.
function Part:aggregate(x, mode)
  if mode == "token-mean" then return self:mean(x) end
  if mode == "seq-mean-token-sum" then return self:response_mean(self:seq_sum(x)) end
  if mode == "seq-mean-token-mean" then return self:response_mean(self:seq_mean(x)) end
  if mode == "seq-mean-token-sum-norm" then
    return self:response_mean(self:seq_sum(x) * (1 / self.totals.norm_len))
  end
  rl.raise("agg_mode: expected token-mean, seq-mean-token-sum, seq-mean-token-mean or "
    .. "seq-mean-token-sum-norm, got %s", tostring(mode))
end

--- A policy loss: x [tokens], times the weights that correct for another sampler, if any.
function Part:loss(x, mode) return self:aggregate(self.weight and x * self.weight or x, mode) end

local function leaves(self, scalar)
  for _, s in ipairs(self.sums) do
    if s.value == scalar then return s.terms or { { s, 1 } } end
  end
  return { { { one = scalar, n = 1 }, 1 } }
end

--- a + weight b, both scalars of this part.
function Part:plus(a, weight, b)
  local terms = {}
  for _, t in ipairs(leaves(self, a)) do terms[#terms + 1] = t end
  for _, t in ipairs(leaves(self, b)) do terms[#terms + 1] = { t[1], t[2] * weight } end
  local value = a + b * weight
  self.sums[#self.sums + 1] = { value = value, terms = terms }
  return value
end

--- ---- metrics of a mini-batch: sums in double over its parts, in order, so that no cut shows ----

local function add(acc, leaf)
  acc.n = leaf.n
  if leaf.one then acc.sum = acc.sum + leaf.one:item() return end
  local data = leaf.parts:data()
  for i = 0, leaf.parts:numel() - 1 do acc.sum = acc.sum + data[i] end
end

--- Adds a part's metrics { name = scalar or number } to acc; numbers stand for themselves.
function Part:collect(acc, metrics)
  for name, scalar in pairs(metrics) do
    if type(scalar) == "number" then
      acc[name] = scalar
    else
      acc[name] = acc[name] or {}
      for k, term in ipairs(leaves(self, scalar)) do
        acc[name][k] = acc[name][k] or { sum = 0, weight = term[2] }
        add(acc[name][k], term[1])
      end
    end
  end
end

local function value_of(terms)
  if type(terms) == "number" then return terms end
  local value = 0
  for _, t in ipairs(terms) do value = value + t.weight * (t.sum / t.n) end
  return value
end

--- acc -> { name = number }.
function Part.finish(acc)
  local metrics = {}
  for name, terms in pairs(acc) do metrics[name] = value_of(terms) end
  return metrics
end

--- A metric's value over this part alone.
function Part:value(scalar)
  local acc = {}
  self:collect(acc, { value = scalar })
  return Part.finish(acc).value
end

return Part
