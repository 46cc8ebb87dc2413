--- Supervised training: minus the log-probability of the given responses.
return {
  supervised = true,
  defaults  = { agg_mode = "token-mean" },
  needs     = {},
  loss = function(b, cfg)
    local value = b:aggregate(-b.logp, cfg.agg_mode)
    return value, { pg_loss = value, pg_clipfrac_higher = 0, pg_clipfrac_lower = 0, ppo_kl = 0 }
  end,
}
