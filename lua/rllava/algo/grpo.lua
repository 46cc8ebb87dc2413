--- GRPO: rewards normalised within the responses of a prompt, the clipped surrogate, KL to the
--- reference in the loss where asked.  arXiv:2402.03300, eq. 3
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean",
                norm_by_std = true },
  needs     = {},
  advantage = advantage.group_norm,
  loss      = loss.vanilla,
}
