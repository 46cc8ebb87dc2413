--- What a loss sees: the response tokens of some responses, end to end, without padding or mask, and the
--- totals of the whole mini-batch, so that means do not depend on how it is cut.
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
--- totals: { tokens, responses, norm_len } of the mini-batch; defaults to this part's own.
function Part.new(lengths, fields, totals)
  local first, nonempty = { 0 }, 0
  for i, n in ipairs(lengths) do
    first[i + 1] = first[i] + n
    if n > 0 then nonempty = nonempty + 1 end
  end
  local self = setmetatable({ lengths = lengths, responses = #lengths, tokens = first[#first], sums = {} }, Part)
  self.first = tensor.ints(first)
  self.totals = totals or { tokens = self.tokens, responses = nonempty }
  for k, v in pairs(fields) do self[k] = v end
  return self
end

--- Sum over the tokens of each response -> [responses].
function Part:seq_sum(x) return x:segment_sum(self.first) end

function Part:expand(y) return y:segment_expand(self.first) end

local function inverse_lengths(self)
  local inverse = {}
  for i, n in ipairs(self.lengths) do inverse[i] = 1 / math.max(1, n) end
  return tensor.tensor(inverse)
end

function Part:seq_mean(x) return self:seq_sum(x) * inverse_lengths(self) end

--- Adds up [responses] over the mini-batch, divided by n; keeps what it added for exact metrics.
function Part:total(per_response, n)
  local value = per_response:sum() * (1 / math.max(1, n))
  self.sums[#self.sums + 1] = { value = value, parts = per_response, n = n }
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
  if mode == "token-mean" then return self:total(self:seq_sum(x), self.totals.tokens) end
  if mode == "seq-mean-token-sum" then return self:response_mean(self:seq_sum(x)) end
  if mode == "seq-mean-token-mean" then return self:response_mean(self:seq_mean(x)) end
  if mode == "seq-mean-token-sum-norm" then
    return self:response_mean(self:seq_sum(x) * (1 / self.totals.norm_len))
  end
  rl.raise("loss_agg_mode: expected token-mean, seq-mean-token-sum, seq-mean-token-mean or "
    .. "seq-mean-token-sum-norm, got %s", tostring(mode))
end

--- A metric's value in double: the parts added in their order, so that no cut shows.
function Part:value(scalar)
  for _, s in ipairs(self.sums) do
    if s.value == scalar then
      local sum, data = 0, s.parts:data()
      for i = 0, s.parts:numel() - 1 do sum = sum + data[i] end
      return sum / math.max(1, s.n)
    end
  end
  return type(scalar) == "number" and scalar or scalar:item()
end

return Part
