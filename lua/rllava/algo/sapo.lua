--- SAPO: a soft gate in the place of the clip, sharper for negative advantages.  arXiv:2511.20347
---   l = -A (4 / tau) sigmoid(tau (ratio - 1)),  tau = tau_pos where A >= 0, else tau_neg
local advantage = require "rllava.advantage"

local function soft_gate(b, cfg)
  local d = b.logp - b.old_logp
  local ratio = d:clamp(-20, 20):exp()
  local tau = b.advantage:lt(0):affine(cfg.tau_neg - cfg.tau_pos, cfg.tau_pos)
  local gate = (tau * (ratio - 1)):sigmoid() * 4 / tau
  local value = b:loss(-b.advantage * gate, cfg.agg_mode)
  return value, { pg_loss = value, ppo_kl = b:mean(-d), ratio = b:mean(ratio),
    pg_clipfrac_higher = 0, pg_clipfrac_lower = 0 }
end

return {
  defaults  = { agg_mode = "seq-mean-token-mean", norm_by_std = true, tau_pos = 1, tau_neg = 1.05 },
  needs     = {},
  advantage = advantage.group_norm,
  loss      = soft_gate,
}
