--- KL-Cov: the tokens whose log-prob and advantage vary together most are held to the old policy,
--- so that entropy lasts; no ratio is clipped.  arXiv:2505.22617
local advantage = require "rllava.advantage"
local covariance = require "rllava.covariance"

--- held [tokens]: 1 for the max(1, kl_cov_ratio of all tokens) of largest covariance, earlier ones
--- first, those without a number last.
local function prepare(mini, cfg)
  local cov, order, held = covariance.of(mini), {}, {}
  for t = 1, mini.tokens do
    order[t], held[t] = t, 0
    if cov[t] ~= cov[t] then cov[t] = -math.huge end
  end
  table.sort(order, function(i, j)
    if cov[i] ~= cov[j] then return cov[i] > cov[j] end
    return i < j
  end)
  local wanted = math.max(1, math.floor(cfg.kl_cov_ratio * mini.tokens))
  for k = 1, math.min(mini.tokens, wanted) do held[order[k]] = 1 end
  return { held = held }
end

local function hold_some(b, cfg)
  local d = b.logp - b.old_logp
  local distance = d:abs()
  local value = b:loss(-b.advantage * d:exp() + distance * b.held * cfg.ppo_kl_coef, cfg.agg_mode)
  return value, { pg_loss = value, ppo_kl = b:mean(distance), pg_clipfrac_higher = 0,
    pg_clipfrac_lower = 0 }
end

return {
  defaults  = { agg_mode = "token-mean", norm_by_std = true, kl_cov_ratio = 2e-3, ppo_kl_coef = 1 },
  needs     = { "logp" },
  advantage = advantage.group_norm,
  prepare   = prepare,
  loss      = hold_some,
}
