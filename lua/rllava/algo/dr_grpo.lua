--- Dr. GRPO: GRPO without its two biases: no division by the group's deviation, none by a
--- response's own length.
--- arXiv:2503.20783, section 3.2
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "seq-mean-token-sum-norm",
                norm_by_std = false },
  needs     = {},
  advantage = advantage.group_norm,
  loss      = loss.vanilla,
}
