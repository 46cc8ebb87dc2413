--- Supervised training: minus the log-probability of the given responses.
return {
  defaults  = { loss_agg_mode = "token-mean" },
  needs     = {},
  loss = function(b, cfg)
    local value = b:aggregate(-b.logp, cfg.loss_agg_mode)
    return value, { pg_loss = value }
  end,
}
