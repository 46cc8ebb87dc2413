--- GMPO: the geometric mean of a response's token ratios, each held in log space.  arXiv:2507.20673
local advantage = require "rllava.advantage"

--- d = logp - old_logp, held to [-clip_low, clip_high] where that lowers the objective;
--- loss = mean over responses of -mean(A) exp(mean d).
local function geometric_mean(b, cfg)
  local d = b.logp - b.old_logp
  local held = d:clamp(-cfg.clip_low, cfg.clip_high)
  local gain, cost = (-b.advantage):lt(0), b.advantage:lt(0)
  local sign = gain - cost
  local ratio = b:seq_mean(sign * (sign * d):min(sign * held)):exp()
  local each = -b:seq_mean(b.advantage) * ratio
  if b.weight then each = each * b:seq_mean(b.weight:log()):exp() end
  local value, out = b:response_mean(each), 1 - d:eq(held)
  return value, { pg_loss = value, ppo_kl = b:mean(-d), ratio = b:response_mean(ratio),
    pg_clipfrac_higher = b:mean(out * gain), pg_clipfrac_lower = b:mean(out * cost) }
end

return {
  defaults  = { clip_low = 0.4, clip_high = 0.4, agg_mode = "token-mean", norm_by_std = true },
  needs     = {},
  advantage = advantage.group_norm,
  loss      = geometric_mean,
}
