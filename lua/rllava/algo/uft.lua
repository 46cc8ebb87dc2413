--- UFT: a response begins with a hint from the demonstration, which is imitated; the rest is
--- trained by the clipped surrogate.  arXiv:2505.16984
local advantage = require "rllava.advantage"
local demonstration = require "rllava.demonstration"
local loss = require "rllava.loss"

local function hinted(b, cfg)
  local policy, metrics = loss.vanilla(b:within "own", cfg)
  metrics.ori_pg_loss, metrics.sft_coef = policy, cfg.sft_loss_coef
  metrics.sft_loss = b:within("prefix"):mean(-b.logp)
  metrics.hint_ratio = b:mean(b.prefix)
  metrics.pg_loss = b:plus(policy, cfg.sft_loss_coef, metrics.sft_loss)
  return metrics.pg_loss, metrics
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean",
                norm_by_std = true, sft_loss_coef = 1, prefix_strategy = "hint" },
  needs     = { "prefix" },
  advantage = advantage.group_norm,
  prepare   = demonstration.prepare,
  loss      = hinted,
}
