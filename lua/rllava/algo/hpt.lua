--- HPT: a prompt that the policy does not solve is trained on its demonstration, every other one by
--- the clipped surrogate.  arXiv:2509.04419
local advantage = require "rllava.advantage"
local demonstration = require "rllava.demonstration"
local loss = require "rllava.loss"

local function either(b, cfg)
  local policy, metrics = loss.vanilla(b:within "free", cfg)
  metrics.ori_pg_loss, metrics.sft_coef = policy, cfg.sft_loss_coef
  metrics.sft_loss = b:within("demo"):mean(-b.logp)
  metrics.pg_loss = b:plus(policy, cfg.sft_loss_coef, metrics.sft_loss)
  return metrics.pg_loss, metrics
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "seq-mean-token-sum-norm",
                norm_by_std = false, sft_loss_coef = 0.05, unify_strategy = "switch" },
  needs     = { "prefix" },
  advantage = advantage.group_norm,
  prepare   = demonstration.prepare,
  loss      = either,
}
