--- Policy losses that several algorithms share, and the terms that stand beside them.
local kl = require "rllava.kl"

local loss = {}

--- The clipped surrogate with dual clip.
---   ratio = exp(clamp(logp - old_logp, -20, 20))
---   l = max(-A ratio, -A clamp(ratio, 1 - clip_low, 1 + clip_high));  A < 0: l = min(l, -A clip_c)
--- arXiv:1707.06347, eq. 7; arXiv:1912.09729, eq. 5.  remove_clip: -A ratio alone.
function loss.vanilla(b, cfg)
  local d = b.logp - b.old_logp
  local ratio = d:clamp(-20, 20):exp()
  local free = -b.advantage * ratio
  local metrics = { ppo_kl = b:mean(-d), ratio = b:mean(ratio) }
  if cfg.remove_clip then
    metrics.pg_loss = b:aggregate(free, cfg.loss_agg_mode)
    return metrics.pg_loss, metrics
  end
  local clipped = -b.advantage * ratio:clamp(1 - cfg.clip_low, 1 + cfg.clip_high)
  local worst, bound = free:max(clipped), -b.advantage * cfg.clip_c
  local negative = b.advantage:lt(0)
  local held = worst + negative * (worst:min(bound) - worst)
  metrics.pg_clipfrac_higher = b:mean(free:lt(clipped))
  metrics.pg_clipfrac_lower = b:mean(bound:lt(worst) * negative)
  metrics.pg_loss = b:aggregate(held, cfg.loss_agg_mode)
  return metrics.pg_loss, metrics
end

--- The loss of an algorithm plus kl_loss_coef KL(policy, reference) minus entropy_coeff entropy (a token mean).
function loss.total(algorithm, b, cfg)
  local value, metrics = algorithm.loss(b, cfg)
  if cfg.use_kl_loss then
    metrics.kl_loss = b:aggregate(kl.estimate(cfg.kl_loss_type, b.logp, b.ref_logp), cfg.loss_agg_mode)
    value = value + metrics.kl_loss * cfg.kl_loss_coef
  end
  metrics.entropy_loss = b:mean(b.entropy)
  if cfg.entropy_coeff ~= 0 then value = value - metrics.entropy_loss * cfg.entropy_coeff end
  return value, metrics
end

return loss
