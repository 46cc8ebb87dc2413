--- PPO: generalised advantage estimation over a critic's values, the clipped surrogate.
--- arXiv:1707.06347
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

return {
  defaults   = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean", gamma = 1,
                 lam = 1 },
  needs      = { "value" },
  advantage  = advantage.gae,
  loss       = loss.vanilla,
  value_loss = loss.value,
}
