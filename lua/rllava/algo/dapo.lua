--- DAPO: a higher upper clip, the mean over all tokens of the mini-batch, groups without a signal
--- sampled again (online_filtering), long responses punished softly where overlong_buffer asks for
--- it.  arXiv:2503.14476
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

return {
  defaults  = { clip_low = 0.2, clip_high = 0.28, clip_c = 10, agg_mode = "token-mean",
                norm_by_std = true, online_filtering = true, filter_key = "accuracy",
                filter_low = 0.01, filter_high = 0.99 },
  needs     = {},
  advantage = advantage.group_norm,
  loss      = loss.vanilla,
}
