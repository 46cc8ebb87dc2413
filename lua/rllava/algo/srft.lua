--- SRFT: supervised and reinforcement terms in one step, both weighted by the policy's entropy.
--- arXiv:2506.19767
local advantage = require "rllava.advantage"
local demonstration = require "rllava.demonstration"
local luffy = require "rllava.algo.luffy"
local rl = require "rllava.ffi"

-- What stands in the place of a ratio, by srft_type.
local bases = {
  paper = function(b) return b.logp end,
  exp = function(b) return b.logp:exp() end,
  minus_old = function(b) return b.logp - b.old_logp end,
  classic_rl = luffy.on_ratio,
}

--- On-policy rows: 0.1 e^h where the score is 1, else -1; h [responses] their mean entropy.
local function on_policy(b, cfg, on_coef)
  local right = b.score:eq(1)
  local a = right * b:expand(on_coef) - (1 - right)
  local base = bases[cfg.srft_type]
    or rl.raise("srft_type: expected paper, exp, minus_old or classic_rl, got %s", cfg.srft_type)
  local free = -a * base(b, cfg)
  if cfg.remove_clip then return free, 0 end
  local high = math.max(cfg.clip_upper_bound, 1 + cfg.clip_high)
  local held = -a * b.logp:clamp(1 - cfg.clip_low, high)
  return free:max(held), b:mean(free:lt(held))
end

--- A loss [tokens] without those of a probability above all_max_clip (-1: with all); they still
--- count in what means divide by.
local function without_likely(b, x, cfg)
  return cfg.all_max_clip == -1 and x or x * b.logp:detach():le(math.log(cfg.all_max_clip))
end

local function single_stage(b, cfg)
  local h = b:seq_mean(b.entropy:detach())
  local sft_coef, on_coef = (-h):exp() * 0.5, h:exp() * 0.1
  local on, clipfrac = on_policy(b, cfg, on_coef)
  local ratio = luffy.off_policy(b, cfg)
  local off = -b.advantage * ratio
  local mixed = b:loss(without_likely(b, off * b.prefix + on * b.own, cfg), cfg.agg_mode)
  local value = b:plus(mixed, 1, b:within("demo"):mean(-b.logp * b:expand(sft_coef)))
  local m = luffy.apart(b, on, off, ratio)
  m.pg_loss, m.pg_clipfrac_higher, m.H_coef = value, clipfrac, b:response_mean(h)
  m.sft_coef, m.on_coef = b:response_mean(sft_coef), b:response_mean(on_coef)
  return value, m
end

local defaults = { srft_type = "paper", clip_upper_bound = 1, all_max_clip = -1 }
for k, v in pairs(luffy.defaults) do defaults[k] = v end

return {
  defaults  = defaults,
  needs     = { "prefix", "score" },
  advantage = advantage.group_norm,
  prepare   = demonstration.prepare,
  loss      = single_stage,
}
