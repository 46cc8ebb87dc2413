--- RLOO: each response against the mean of the others of its prompt, with the clipped surrogate.
--- arXiv:2402.14740, eq. 6
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean" },
  needs     = {},
  advantage = advantage.leave_one_out,
  loss      = loss.vanilla,
}
