--- ReMax: reward to go minus the reward of the greedy response to the same prompt.
--- arXiv:2310.10505, algorithm 1
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"

--- batch.baseline [responses]: the greedy response's reward -> advantages, returns.
local function against_greedy(batch)
  local returns = advantage.returns({ lengths = batch.lengths, rewards = batch.rewards }, 1)
  local baseline, out = advantage.spread(batch, batch.baseline), {}
  for t, r in ipairs(returns) do out[t] = r - baseline[t] end
  return out, returns
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean" },
  needs     = { "greedy" },
  advantage = against_greedy,
  loss      = loss.vanilla,
}
