--- CHORD: GRPO on what the policy sampled and imitation of demonstrations, mixed by a weight mu
--- that rises and then falls; with chord_phi a token's imitation counts p (1 - p).
--- arXiv:2508.11408
---   loss = (1 - mu) L_GRPO + mu L_SFT
local advantage = require "rllava.advantage"
local demonstration = require "rllava.demonstration"
local loss = require "rllava.loss"

--- mu at update k: rises to mu_peak over mu_warmup, falls by a cosine to mu_valley over mu_decay.
local function mu(k, cfg)
  if k < cfg.mu_warmup then return cfg.mu_peak * k / cfg.mu_warmup end
  local p = math.min(1, (k - cfg.mu_warmup) / math.max(1, cfg.mu_decay))
  return (1 + math.cos(math.pi * p)) / 2 * (cfg.mu_peak - cfg.mu_valley) + cfg.mu_valley
end

local function mixed(b, cfg)
  local policy, metrics = loss.vanilla(b:within "free", cfg)
  local p, weight = b.logp:detach():exp(), mu(b.totals.step, cfg)
  local each = cfg.chord_phi and -b.logp * p * (1 - p) or -b.logp
  metrics.sft_loss, metrics.mu, metrics.ori_pg_loss = b:within("demo"):mean(each), weight, policy
  metrics.pg_loss = b:plus(b:plus(policy, -weight, policy), weight, metrics.sft_loss)
  return metrics.pg_loss, metrics
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean",
                norm_by_std = true, mu_warmup = 200, mu_decay = 400, mu_peak = 0.5,
                mu_valley = 0.02, chord_phi = false, prefix_strategy = "beside",
                expert_share = 0.2 },
  needs     = { "prefix" },
  advantage = advantage.group_norm,
  prepare   = demonstration.prepare,
  loss      = mixed,
  mu        = mu,
}
