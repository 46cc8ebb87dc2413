--- GSPO-token: GSPO's ratio where advantages differ from token to token, tokens of the mini-batch
--- weighted alike.
--- arXiv:2507.18071, eq. 13
local gspo = require "rllava.algo.gspo"

return {
  defaults  = { clip_low = 3e-4, clip_high = 4e-4, agg_mode = "token-mean", norm_by_std = true },
  needs     = {},
  advantage = gspo.advantage,
  loss      = function(b, cfg) return gspo.sequence_ratio(b, cfg, cfg.agg_mode) end,
}
