--- How far the sampler's log-probs are from the trainer's, on the tokens that the policy sampled
--- and before its weights have moved.  x = log p(trainer) - log p(sampler):
---   kl = mean(-x), k3 = mean(e^x - x - 1), max_abs = max |x|, ess = mean(e^x)^2 / mean(e^2x)
local forest = require "rllava.forest"

local mismatch = {}
local Gap = {}
Gap.__index = Gap

function mismatch.new()
  return setmetatable({ n = 0, kl = 0, k3 = 0, max = 0, w = 0, squares = 0 }, Gap)
end

--- Takes the responses of groups; logp: the trainer's, of all their tokens end to end (C array).
function Gap:add(groups, logp)
  local at = 0
  for _, g in ipairs(groups) do
    for _, r in ipairs(g.responses) do
      local n = forest.count(r)
      local sampled = r.tokens.rollout_logp or r.tokens.old_logp
      for t = 1, sampled and not r.recalled and n or 0 do
        if t > (r.copied or 0) then
          local x = logp[at + t - 1] - sampled[t]
          local w = math.exp(x)
          self.n, self.kl, self.k3 = self.n + 1, self.kl - x, self.k3 + w - x - 1
          self.max = math.max(self.max, math.abs(x))
          self.w, self.squares = self.w + w, self.squares + w * w
        end
      end
      at = at + n
    end
  end
end

--- Adds mismatch/... of all ranks' tokens to found; nothing where none was sampled.
function Gap:into(found, ranks)
  local all = mismatch.new()
  for _, own in ipairs((ranks.gather(self))) do
    for _, sum in ipairs { "n", "kl", "k3", "w", "squares" } do all[sum] = all[sum] + own[sum] end
    all.max = math.max(all.max, own.max)
  end
  if all.n == 0 then return end
  found["mismatch/kl"], found["mismatch/k3"] = all.kl / all.n, all.k3 / all.n
  found["mismatch/max_abs"], found["mismatch/ess"] = all.max, all.w ^ 2 / (all.n * all.squares)
end

return mismatch
