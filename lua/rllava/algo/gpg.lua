--- GPG: the plain policy gradient, scaled up for what of the batch gives no gradient.
--- arXiv:2504.02546
local advantage = require "rllava.advantage"

--- alpha = responses / those that count: of a score other than 0 (gpg_alpha "nonzero_score", as
--- published code does), or in groups whose rewards differ ("valid_group", as the paper says).
local function alpha(batch, cfg)
  local counted, scores = 0, advantage.scores(batch)
  if cfg.gpg_alpha == "valid_group" then
    advantage.by_group(batch, scores, function(values, n)
      for k = 2, n do
        if values[k] ~= values[1] then counted = counted + n break end
      end
      return values
    end)
  else
    for _, s in ipairs(scores) do if s ~= 0 then counted = counted + 1 end end
  end
  return #scores / math.max(1, counted)
end

local function scaled(batch, cfg)
  local a = alpha(batch, cfg)
  local per_response = advantage.minus(batch, advantage.mean)
  for i, r in ipairs(per_response) do per_response[i] = a * r end
  return advantage.spread(batch, per_response)
end

local function policy_gradient(b, cfg)
  local value = b:loss(-b.logp * b.advantage, cfg.agg_mode)
  return value, { pg_loss = value, pg_clipfrac_higher = 0, pg_clipfrac_lower = 0, ppo_kl = 0 }
end

return {
  defaults  = { agg_mode = "token-mean", gpg_alpha = "nonzero_score" },
  needs     = {},
  advantage = scaled,
  loss      = policy_gradient,
}
