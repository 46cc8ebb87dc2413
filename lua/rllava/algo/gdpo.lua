--- GDPO: each part of the reward is normalised within the prompt by itself, so that none drowns
--- another; their weighted sum is whitened over the responses of the batch.  arXiv:2601.05242
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"
local rl = require "rllava.ffi"

--- batch.named: { { name, weight, scores [responses] }, ... } in order.
local function decoupled(batch, cfg)
  if not batch.named or #batch.named == 0 then
    rl.raise("gdpo: expected the named parts of a reward, found none")
  end
  local sum = {}
  for _, part in ipairs(batch.named) do
    local own = advantage.by_group(batch, part[3], function(values, n)
      return advantage.normalise(values, n, cfg.norm_by_std)
    end)
    for i, v in ipairs(own) do sum[i] = (sum[i] or 0) + part[2] * v end
  end
  return advantage.spread(batch, (advantage.whiten(sum)))
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean",
                norm_by_std = true },
  needs     = { "named" },
  advantage = decoupled,
  loss      = loss.vanilla,
}
