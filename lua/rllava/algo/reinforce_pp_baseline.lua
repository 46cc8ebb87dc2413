--- REINFORCE++ with a baseline: rewards minus their prompt's mean, whitened over the tokens of the
--- whole batch.
--- arXiv:2501.03262
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

local function whitened(batch)
  local per_response = advantage.minus(batch, advantage.mean)
  return (advantage.whiten(advantage.spread(batch, per_response)))
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean" },
  needs     = {},
  advantage = whitened,
  loss      = loss.vanilla,
}
