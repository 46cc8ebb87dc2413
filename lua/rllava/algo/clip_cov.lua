--- Clip-Cov: of the tokens whose log-prob and advantage vary together most, some, drawn at random,
--- give no gradient, so that entropy lasts.  arXiv:2505.22617
local advantage = require "rllava.advantage"
local covariance = require "rllava.covariance"
local loss = require "rllava.loss"

--- Indices of the tokens that PPO's clip leaves free and whose covariance lies strictly between the
--- bounds.
local function candidates(mini, cfg)
  local cov, list = covariance.of(mini), {}
  for t = 1, mini.tokens do
    local a, ratio = mini.advantage[t], math.exp(mini.logp[t] - mini.old_logp[t])
    local clipped = -a * math.max(1 - cfg.clip_low, math.min(1 + cfg.clip_high, ratio)) > -a * ratio
    if not clipped and cfg.clip_cov_lb < cov[t] and cov[t] < cfg.clip_cov_ub then
      list[#list + 1] = t
    end
  end
  return list
end

--- keep [tokens]: 0 for max(1, clip_cov_ratio of all tokens) of the candidates, as many as there
--- are: those of least u, a uniform number for each token.
local function prepare(mini, cfg)
  local keep, list = {}, candidates(mini, cfg)
  for t = 1, mini.tokens do keep[t] = 1 end
  table.sort(list, function(i, j) return mini.u[i] < mini.u[j] end)
  local wanted = math.max(1, math.floor(cfg.clip_cov_ratio * mini.tokens))
  for k = 1, math.min(#list, wanted) do keep[list[k]] = 0 end
  return { keep = keep }
end

local function clip_some(b, cfg)
  local d = b.logp - b.old_logp
  local worst = loss.clipped(b, d:exp(), cfg.clip_low, cfg.clip_high)
  local value = b:loss(worst * b.keep, cfg.agg_mode)
  return value, { pg_loss = value, ppo_kl = b:mean(-d),
    pg_clipfrac_higher = b:mean(1 - b.keep), pg_clipfrac_lower = 0 }
end

return {
  defaults  = { clip_low = 1, clip_high = 1, agg_mode = "token-mean", norm_by_std = true,
                clip_cov_ratio = 2e-4, clip_cov_lb = 1, clip_cov_ub = 5 },
  needs     = { "logp" },
  advantage = advantage.group_norm,
  prepare   = prepare,
  candidates = candidates,
  loss      = clip_some,
}
