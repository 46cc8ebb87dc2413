--- REINFORCE++: discounted reward to go, whitened over the whole batch.  arXiv:2501.03262
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

--- -> advantages, returns.
local function whitened(batch, cfg)
  local returns = advantage.returns(batch, cfg.gamma)
  return (advantage.whiten(returns)), returns
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean", gamma = 1 },
  needs     = {},
  advantage = whitened,
  loss      = loss.vanilla,
}
