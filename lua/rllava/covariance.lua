--- How far a token's log-prob and its advantage lie from their means together.  arXiv:2505.22617
local covariance = {}

--- mini: { tokens, logp, advantage: lists } -> (A - mean A)(logp - mean logp) [tokens]
function covariance.of(mini)
  local n, a, l, out = math.max(1, mini.tokens), 0, 0, {}
  for t = 1, mini.tokens do a, l = a + mini.advantage[t], l + mini.logp[t] end
  for t = 1, mini.tokens do out[t] = (mini.advantage[t] - a / n) * (mini.logp[t] - l / n) end
  return out
end

return covariance
