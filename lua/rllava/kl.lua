--- Estimators of the divergence of two policies from the log-probs of sampled tokens.
--- http://joschu.net/blog/kl-approx.html
local rl = require "rllava.ffi"

local kl = {}

-- d = logp - ref_logp [tokens] -> [tokens]
local estimators = {
  k1 = function(d) return d end,
  abs = function(d) return d:abs() end,
  k2 = function(d) return d:sqr() * 0.5 end,
  k3 = function(d)                                  -- e^x - x - 1, never negative
    local x = (-d):clamp(-20, 20)
    return (x:exp() - x - 1):clamp(-10, 10)
  end,
}
local names = { kl = "k1", mse = "k2", low_var_kl = "k3" }

--- logp, ref_logp [tokens] -> [tokens].  name: k1 (kl), abs, k2 (mse), k3 (low_var_kl); with a plus
--- ("k3+") the value is the estimator's and the gradient that of k2.
function kl.estimate(name, logp, ref_logp)
  local base, plus = name:match "^(.-)(%+?)$"
  local f = estimators[names[base] or base]
  if not f then rl.raise("kl: expected k1, abs, k2, k3 or one of them with +, got %s", name) end
  local d = logp - ref_logp
  if plus == "" then return f(d) end
  local k2 = estimators.k2(d)
  return k2 - k2:detach() + f(d):detach()
end

--- The whole sum over the vocabulary, of p (log p - log q).  logp, ref_logp [tokens, vocab]
--- -> [tokens]
function kl.full(logp, ref_logp) return (logp:exp() * (logp - ref_logp)):sum(1) end

--- The coefficient of KL in the reward.
--- cfg: { type = "fixed" | "adaptive", kl_coef, target_kl, horizon }.
--- adaptive: beta <- beta (1 + clip(kl / target - 1, -0.2, 0.2) n / horizon).
--- arXiv:1909.08593, section 2.2
function kl.controller(cfg)
  local self = { value = cfg.kl_coef }
  if cfg.type == "adaptive" and not (cfg.horizon and cfg.horizon > 0) then
    rl.raise("kl_ctrl.horizon: expected a number above 0, got %s", tostring(cfg.horizon))
  end
  function self.update(current, n)
    if cfg.type ~= "adaptive" then return self.value end
    local e = math.max(-0.2, math.min(0.2, current / cfg.target_kl - 1))
    self.value = self.value * (1 + e * n / cfg.horizon)
    return self.value
  end
  return self
end

return kl
