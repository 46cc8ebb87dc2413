--- CISPO: the importance weight is clipped, not the update: every token keeps its gradient.
--- arXiv:2506.13585
local advantage = require "rllava.advantage"

local function clipped_weight(b, cfg)
  local d = b.logp - b.old_logp
  local ratio = d:detach():clamp(-20, 20):exp()
  local held = ratio:clamp(1 - cfg.clip_low, 1 + cfg.clip_high)
  local value = b:loss(-b.advantage * b.logp * held, cfg.agg_mode)
  return value, { pg_loss = value, ppo_kl = b:mean(-d), ratio = b:mean(ratio),
    pg_clipfrac_higher = b:mean(held:lt(ratio)), pg_clipfrac_lower = b:mean(ratio:lt(held)) }
end

return {
  defaults  = { clip_low = 1, clip_high = 0.28, agg_mode = "token-mean", norm_by_std = true },
  needs     = {},
  advantage = advantage.group_norm,
  loss      = clipped_weight,
}
