--- LUFFY: demonstrations take part in their prompt's group; their tokens are weighted by a reshaped
--- probability instead of a ratio.  arXiv:2504.14945
local advantage = require "rllava.advantage"
local demonstration = require "rllava.demonstration"
local loss = require "rllava.loss"

local function on_ratio(b, cfg)
  return demonstration.reshape(b, (b.logp - b.old_logp):exp(), cfg, "on_policy")
end

local function on_policy(b, cfg)
  local worst, free, clipped = loss.clipped(b, on_ratio(b, cfg), cfg.clip_low, cfg.clip_high)
  if cfg.remove_clip then return free, 0 end
  return worst, b:mean(free:lt(clipped))
end

--- The behaviour's probability is taken as 1: ratio = reshaped p, held to off_policy_min_clip and
--- off_policy_max_clip (-1: free).
local function off_policy(b, cfg)
  local low, high = cfg.off_policy_min_clip, cfg.off_policy_max_clip
  local ratio = demonstration.reshape(b, b.logp:exp(), cfg, "off_policy")
  return ratio:clamp(low == -1 and -1e30 or low, high == -1 and 1e30 or high)
end

--- What is told of losses on sampled and of copied tokens; ratio: of the copied ones.
local function apart(b, on, off, ratio)
  local copied, own = b:within "prefix", b:within "own"
  return { off_pg_loss = copied:mean(off), on_pg_loss = own:mean(on),
    ppo_kl = b:mean(b.old_logp - b.logp), off_ratio_mean = copied:mean(ratio),
    on_policy_prob = own:mean(b.old_logp:exp()), off_policy_prob = copied:mean(b.logp:exp()),
    pg_clipfrac_lower = 0 }
end

local function mixed(b, cfg)
  local on, clipfrac = on_policy(b, cfg)
  local ratio = off_policy(b, cfg)
  local off = -b.advantage * ratio
  local value = b:loss(off * b.prefix + on * b.own, cfg.agg_mode)
  local metrics = apart(b, on, off, ratio)
  metrics.pg_loss, metrics.pg_clipfrac_higher = value, clipfrac
  return value, metrics
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, remove_clip = true,
                agg_mode = "seq-mean-token-sum-norm", norm_by_std = false,
                on_policy_reshape = "no_reshape", on_policy_reshape_weight = 0.1,
                on_policy_reshape_pow_exp = 0.5, off_policy_reshape = "p_div_p_0.1",
                off_policy_reshape_weight = 0.1, off_policy_reshape_pow_exp = 0.5,
                off_policy_max_clip = -1, off_policy_min_clip = -1, prefix_strategy = "random",
                min_prefix_ratio = 1, max_prefix_ratio = 1, n_prefix = 1 },
  needs     = { "prefix" },
  advantage = advantage.group_norm,
  prepare   = demonstration.prepare,
  loss      = mixed,
  on_ratio = on_ratio, off_policy = off_policy, apart = apart,
}
