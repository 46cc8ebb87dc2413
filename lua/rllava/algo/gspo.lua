--- GSPO: one importance ratio a response, the geometric mean of its tokens' ratios.
--- arXiv:2507.18071, eq. 5 and 7
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

--- s = exp(mean of logp - old_logp); every token has the ratio s in value, and its own gradient
--- (eq. 13).
local function sequence_ratio(b, cfg, agg_mode)
  local d = b.logp - b.old_logp
  local s = b:expand(b:seq_mean(d:detach()))
  local ratio = (b.logp - b.logp:detach() + s):clamp(-1e30, 10):exp()
  local worst, free, clipped = loss.clipped(b, ratio, cfg.clip_low, cfg.clip_high)
  local value = b:loss(worst, agg_mode)
  return value, { pg_loss = value, ppo_kl = b:mean(-d), ratio = b:mean(ratio),
    pg_clipfrac_higher = b:mean(free:lt(clipped)), pg_clipfrac_lower = 0 }
end

return {
  defaults  = { clip_low = 3e-4, clip_high = 4e-4, agg_mode = "seq-mean-token-mean",
                norm_by_std = true },
  needs     = {},
  advantage = advantage.group_norm,
  loss      = function(b, cfg) return sequence_ratio(b, cfg, "seq-mean-token-mean") end,
  sequence_ratio = sequence_ratio,
}
