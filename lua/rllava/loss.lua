--- Policy losses that several algorithms share, and the terms that stand beside them.
local kl = require "rllava.kl"
local rl = require "rllava.ffi"

local loss = {}

--- max(-A ratio, -A clamp(ratio, 1 - low, 1 + high)), and the unclipped and the clipped one.
function loss.clipped(b, ratio, low, high)
  local free = -b.advantage * ratio
  local clipped = -b.advantage * ratio:clamp(1 - low, 1 + high)
  return free:max(clipped), free, clipped
end

--- x where A < 0 is held to at most -A clip_c.  arXiv:1912.09729, eq. 5
local function dual_clip(b, x, clip_c)
  local negative = b.advantage:lt(0)
  local bound = -b.advantage * clip_c
  return x:min(bound * negative + (1 - negative) * 1e30), b:mean(bound:lt(x) * negative)
end

--- The clipped surrogate with dual clip.
---   ratio = exp(clamp(logp - old_logp, -20, 20))
---   l = max(-A ratio, -A clamp(ratio, 1 - clip_low, 1 + clip_high));  A < 0: l = min(l, -A clip_c)
--- arXiv:1707.06347, eq. 7; arXiv:1912.09729, eq. 5.  remove_clip: -A ratio alone.
function loss.vanilla(b, cfg)
  local d = b.logp - b.old_logp
  local ratio = d:clamp(-20, 20):exp()
  local worst, free, clipped = loss.clipped(b, ratio, cfg.clip_low, cfg.clip_high)
  local metrics = { ppo_kl = b:mean(-d), ratio = b:mean(ratio) }
  if cfg.remove_clip then
    worst, metrics.pg_clipfrac_higher, metrics.pg_clipfrac_lower = free, 0, 0
  else
    metrics.pg_clipfrac_higher = b:mean(free:lt(clipped))
    worst, metrics.pg_clipfrac_lower = dual_clip(b, worst, cfg.clip_c)
  end
  metrics.pg_loss = b:loss(worst, cfg.agg_mode)
  return metrics.pg_loss, metrics
end

--- The critic's loss: 0.5 max((V - R)^2, (clamp(V, old - c, old + c) - R)^2), c = cliprange_value.
--- b.values, b.old_values, b.returns [tokens] -> scalar, metrics.  arXiv:1506.02438;
--- value_agg_mode: as agg_mode
function loss.value(b, cfg)
  local c = cfg.cliprange_value
  local near = b.values:max(b.old_values - c):min(b.old_values + c)
  local free, held = (b.values - b.returns):sqr(), (near - b.returns):sqr()
  local value = b:aggregate(free:max(held) * 0.5, cfg.value_agg_mode or "token-mean")
  return value, {
    vf_loss = value, vf_clipfrac = b:mean(free:lt(held)), vpred_mean = b:mean(b.values),
  }
end

--- Weights that correct for a sampler which is not the old policy, never with a gradient:
---   w = exp(old_logp - rollout_logp)
--- tis_imp_ratio_cap C: min(w, C) a token; rollout_is "token" likewise with rollout_is_threshold,
--- "sequence": one weight a response, of the summed difference.  rollout_is_mode "mask": what
--- exceeds the threshold, or falls below rollout_is_lower (nil: its inverse), weighs 0 instead of
--- the threshold; means divide by it all the same.
--- -> [tokens], or nil where both are off.
function loss.weights(b, cfg)
  local cap, level = cfg.tis_imp_ratio_cap or -1, cfg.rollout_is or "none"
  if cap <= 0 and level == "none" then return nil end
  if not b.rollout_logp then
    rl.raise "importance weights: expected the sampler's log-probs, found none"
  end
  local d = (b.old_logp - b.rollout_logp):detach()
  if cap > 0 then return d:exp():clamp(0, cap) end
  if level == "sequence" then d = b:expand(b:seq_sum(d)) end
  local w, high = d:clamp(-20, 20):exp(), cfg.rollout_is_threshold
  if cfg.rollout_is_mode ~= "mask" then return w:clamp(0, high) end
  return w * w:le(high) * (1 - w:lt(cfg.rollout_is_lower or 1 / high))
end

--- The loss of an algorithm plus kl_loss_coef KL(policy, reference) minus entropy_coeff entropy
--- (a token mean).
function loss.total(algorithm, b, cfg)
  b.weight = loss.weights(b, cfg)
  local value, metrics = algorithm.loss(b, cfg)
  if cfg.use_kl_loss then
    metrics.kl_loss = b:aggregate(kl.estimate(cfg.kl_loss_type, b.logp, b.ref_logp), cfg.agg_mode)
    metrics.kl_coef = cfg.kl_loss_coef
    value = b:plus(value, cfg.kl_loss_coef, metrics.kl_loss)
  end
  if b.weight and cfg.rollout_is_mode == "mask" then
    metrics.rollout_is_masked = b:mean(b.weight:eq(0))
  end
  metrics.entropy_loss = b:mean(b.entropy)
  if (cfg.entropy_coeff or 0) ~= 0 then
    value = b:plus(value, -cfg.entropy_coeff, metrics.entropy_loss)
  end
  metrics.loss = value
  return value, metrics
end

return loss
