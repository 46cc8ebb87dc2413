--- SRFT: supervised and reinforcement terms in one step, both weighted by the policy's entropy.  arXiv:2506.19767
local advantage = require "rllava.advantage"
local demonstration = require "rllava.demonstration"
local luffy = require "rllava.algo.luffy"

local bases = {
  paper = function(b) return b.logp end,
  exp = function(b) return b.logp:exp() end,
  minus_old = function(b) return b.logp - b.old_logp end,
  classic_rl = function(b, cfg)
    return demonstration.reshape(cfg.on_policy_reshape, b, (b.logp - b.old_logp):exp(), cfg.on_policy_reshape_weight,
      cfg.on_policy_reshape_pow_exp)
  end,
}

--- On-policy rows: 0.1 e^h where the score is 1, else -1; h [responses] their mean entropy.
local function on_policy(b, cfg, on_coef)
  local right = b.score:eq(1)
  local a = right * b:expand(on_coef) - (1 - right)
  local free = -a * bases[cfg.srft_type](b, cfg)
  if cfg.remove_clip then return free, 0 end
  local held = -a * b.logp:clamp(1 - cfg.clip_low, math.max(cfg.clip_upper_bound, 1 + cfg.clip_high))
  return free:max(held), b:mean(free:lt(held))
end

local function single_stage(b, cfg)
  local h = b:seq_mean(b.entropy:detach())
  local sft_coef, on_coef = (-h):exp() * 0.5, h:exp() * 0.1
  local on, clipfrac = on_policy(b, cfg, on_coef)
  local ratio, copied, own = luffy.off_policy(b, cfg), b:within "prefix", b:within "own"
  local off = -b.advantage * ratio
  local mixed = b:loss(off * b.prefix + on * b.own, cfg.agg_mode)
  local value = b:plus(mixed, 1, b:within("demo"):mean(-b.logp * b:expand(sft_coef)))
  return value, { pg_loss = value, off_pg_loss = copied:mean(off), on_pg_loss = own:mean(on),
    ppo_kl = b:mean(b.old_logp - b.logp), pg_clipfrac_higher = clipfrac, pg_clipfrac_lower = 0,
    off_ratio_mean = copied:mean(ratio), on_policy_prob = own:mean(b.old_logp:exp()),
    off_policy_prob = copied:mean(b.logp:exp()), sft_coef = b:response_mean(sft_coef),
    on_coef = b:response_mean(on_coef), H_coef = b:response_mean(h) }
end

local defaults = { srft_type = "paper", clip_upper_bound = 1 }
for k, v in pairs(luffy.defaults) do defaults[k] = v end

return {
  defaults  = defaults,
  needs     = { "prefix", "score" },
  advantage = advantage.group_norm,
  prepare   = demonstration.prepare,
  loss      = single_stage,
}
