--- Advantages from rewards.  Plain numbers in double; a batch here is
---   { lengths = tokens of each response, group = its prompt, rewards = per token [tokens] }
--- and what comes back is per token too.
local advantage = {}

--- Sum of each response's token rewards -> [responses].
function advantage.scores(batch)
  local scores, at = {}, 0
  for i, n in ipairs(batch.lengths) do
    local sum = 0
    for t = at + 1, at + n do sum = sum + batch.rewards[t] end
    scores[i], at = sum, at + n
  end
  return scores
end

--- [responses] -> [tokens]
function advantage.spread(batch, per_response)
  local out = {}
  for i, n in ipairs(batch.lengths) do for _ = 1, n do out[#out + 1] = per_response[i] end end
  return out
end

--- group -> indices of its responses, in order.
function advantage.groups(batch)
  local groups, order = {}, {}
  for i, g in ipairs(batch.group) do
    if not groups[g] then groups[g] = {} order[#order + 1] = g end
    table.insert(groups[g], i)
  end
  return groups, order
end

local function mean_std(values)
  local sum, squares, same = 0, 0, true
  for _, v in ipairs(values) do sum = sum + v same = same and v == values[1] end
  local mean = same and values[1] or sum / #values     -- equal rewards: exactly no advantage
  for _, v in ipairs(values) do squares = squares + (v - mean) ^ 2 end
  return mean, math.sqrt(squares / (#values - 1))
end

--- (r - mean) / (std + 1e-6) among the responses of a prompt, std unbiased; norm_by_std = false leaves the
--- division out.  A group of one keeps its reward.  arXiv:2402.03300, section 4.1.2
function advantage.group_norm(batch, cfg)
  local scores, out = advantage.scores(batch), {}
  for _, members in pairs((advantage.groups(batch))) do
    local values = {}
    for k, i in ipairs(members) do values[k] = scores[i] end
    local mean, std = mean_std(values)
    if #members == 1 then mean, std = 0, 1 end
    local scale = cfg.norm_by_std == false and 1 or std + 1e-6
    for _, i in ipairs(members) do out[i] = (scores[i] - mean) / scale end
  end
  return advantage.spread(batch, out)
end

--- Mean, unbiased variance and whitened values of a list.
function advantage.whiten(values)
  local mean, var = 0, 0
  for _, v in ipairs(values) do mean = mean + v end
  mean = mean / (#values + 1e-8)
  for _, v in ipairs(values) do var = var + (v - mean) ^ 2 end
  var = var / (#values + 1e-8)
  if #values > 1 then var = var * #values / (#values - 1) end
  local out = {}
  for i, v in ipairs(values) do out[i] = (v - mean) / math.sqrt(var + 1e-8) end
  return out, mean, var
end

return advantage
