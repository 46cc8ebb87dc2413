--- OPO: the baseline of least variance, a prompt's rewards weighted by the lengths of their
--- responses; meant for exactly on-policy steps.  arXiv:2505.23585
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

--- b = sum L r / sum L over the responses of a prompt.
local function weighted(batch)
  return advantage.spread(batch, advantage.minus(batch, function(rewards, members)
    local tokens, sum = 0, 0
    for k, i in ipairs(members) do
      tokens, sum = tokens + batch.lengths[i], sum + batch.lengths[i] * rewards[k]
    end
    return sum / math.max(1, tokens)
  end))
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean" },
  needs     = {},
  advantage = weighted,
  loss      = loss.vanilla,
}
