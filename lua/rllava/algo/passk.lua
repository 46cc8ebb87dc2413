--- Pass@k training: only the best response of a prompt is credited, by how far it is ahead of the
--- second.  arXiv:2503.19595
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"
local rl = require "rllava.ffi"

local function best_only(batch, cfg)
  local scores = advantage.scores(batch)
  return advantage.spread(batch, advantage.by_group(batch, scores, function(values, n)
    if n < 2 then rl.raise("passk: expected at least 2 responses to each prompt, got %d", n) end
    local best, second, out = 1, -math.huge, {}
    for k, v in ipairs(values) do
      if v > values[best] then best = k end
      out[k] = 0
    end
    for k, v in ipairs(values) do if k ~= best then second = math.max(second, v) end end
    local _, std = advantage.mean_std(values)
    out[best] = (values[best] - second) / (cfg.norm_by_std == false and 1 or std + 1e-6)
    return out
  end))
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean",
                norm_by_std = true },
  needs     = {},
  advantage = best_only,
  loss      = loss.vanilla,
}
