--- Advantages from rewards.  Plain numbers in double; a batch here is a list of responses, their
--- tokens end to end:
---   lengths [responses], group [responses]: the prompt of each
---   rewards [tokens] and, where they are known apart from these, their sums [responses]
---   gap [tokens]: true where tokens of others stand before a token (or nil)
---   values [tokens], baseline [responses] where the algorithm needs them
--- What comes back is [tokens]: advantages, and returns where they differ.
local rl = require "rllava.ffi"

local advantage = {}

--- Sum of each response's token rewards -> [responses].
function advantage.scores(batch)
  if batch.sums then return batch.sums end
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

--- Lists of the indices of each group's responses, groups in the order of their coming.
function advantage.groups(batch)
  local groups, list = {}, {}
  for i, g in ipairs(batch.group) do
    if not groups[g] then
      groups[g] = {}
      list[#list + 1] = groups[g]
    end
    table.insert(groups[g], i)
  end
  return list
end

--- Mean and unbiased deviation.  Equal values: exactly their value, so that no advantage is left.
local function mean_std(values)
  local sum, squares, same = 0, 0, true
  for _, v in ipairs(values) do sum = sum + v same = same and v == values[1] end
  local mean = same and values[1] or sum / #values
  for _, v in ipairs(values) do squares = squares + (v - mean) ^ 2 end
  return mean, math.sqrt(squares / (#values - 1))
end
advantage.mean_std = mean_std
function advantage.mean(values) return (mean_std(values)) end

--- Refuses an algorithm's list of advantages that holds what is no finite number.
function advantage.expect_finite(name, list)
  for t, v in ipairs(list) do
    if v - v ~= 0 then
      rl.raise("algorithm %s: advantage: expected finite numbers, got %s at token %d of %d", name,
        tostring(v), t, #list)
    end
  end
end

--- f(values of a group, its size, its indices) -> a list of the same length; all of them put
--- together -> [responses].
function advantage.by_group(batch, values, f)
  local out = {}
  for _, members in ipairs(advantage.groups(batch)) do
    local own = {}
    for k, i in ipairs(members) do own[k] = values[i] end
    local found = f(own, #members, members)
    for k, i in ipairs(members) do out[i] = found[k] end
  end
  return out
end

local function map(values, f)
  local out = {}
  for k, v in ipairs(values) do out[k] = f(v) end
  return out
end

--- (r - mean) / (std + 1e-6) of values; one alone keeps its value.
function advantage.normalise(values, n, by_std)
  local mean, std = mean_std(values)
  if n == 1 then mean, std = 0, 1 end
  local scale = by_std == false and 1 or std + 1e-6
  return map(values, function(v) return (v - mean) / scale end)
end

--- (r - mean) / (std + 1e-6) among the responses of a prompt, std unbiased; norm_by_std = false
--- leaves the division out.  A group of one keeps its reward.  arXiv:2402.03300, section 4.1.2
function advantage.group_norm(batch, cfg)
  local scores = advantage.scores(batch)
  return advantage.spread(batch, advantage.by_group(batch, scores, function(values, n)
    return advantage.normalise(values, n, cfg.norm_by_std)
  end))
end

--- r minus the mean of the others of its prompt.  arXiv:2402.14740, eq. 6
function advantage.leave_one_out(batch)
  local scores = advantage.scores(batch)
  return advantage.spread(batch, advantage.by_group(batch, scores, function(values, n)
    if n == 1 then return values end
    local mean = mean_std(values)
    return map(values, function(v) return (v - mean) * n / (n - 1) end)
  end))
end

--- r minus a baseline a group: baseline(values, indices) -> a number; 0 for a group of one.
function advantage.minus(batch, baseline)
  return advantage.by_group(batch, advantage.scores(batch), function(values, n, members)
    local base = n == 1 and 0 or baseline(values, members)
    return map(values, function(v) return v - base end)
  end)
end

--- Reward to go, G_t = r_t + gamma G_{t+1}, over trained tokens: credit passes over those of others
--- between them, as in a run, but for where batch.gap says so, as RLLaVA has it.
function advantage.returns(batch, gamma)
  local out, at = {}, 0
  for _, n in ipairs(batch.lengths) do
    local after = 0
    for t = at + n, at + 1, -1 do
      after = batch.rewards[t] + gamma * after
      out[t] = after
      if batch.gap and batch.gap[t] then after = 0 end      -- what stands before it is another turn
    end
    at = at + n
  end
  return out
end

--- Generalised advantage estimation, whitened -> advantages, returns.  arXiv:1506.02438, eq. 16
---   delta_t = r_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lam A_{t+1},  R = A + V
function advantage.gae(batch, cfg)
  local out, returns, at, values = {}, {}, 0, batch.values
  if not values then rl.raise("gae: expected the critic's values, found none") end
  for _, n in ipairs(batch.lengths) do
    local next_value, after = 0, 0
    for t = at + n, at + 1, -1 do
      after = batch.rewards[t] + cfg.gamma * next_value - values[t] + cfg.gamma * cfg.lam * after
      next_value, out[t], returns[t] = values[t], after, after + values[t]
    end
    at = at + n
  end
  return advantage.whiten(out), returns
end

--- Mean, unbiased variance and whitened values of a list.
function advantage.whiten(values)
  local mean, var = 0, 0
  for _, v in ipairs(values) do mean = mean + v end
  mean = mean / (#values + 1e-8)
  for _, v in ipairs(values) do var = var + (v - mean) ^ 2 end
  var = var / (#values + 1e-8)
  if #values > 1 then var = var * #values / (#values - 1) end
  return map(values, function(v) return (v - mean) / math.sqrt(var + 1e-8) end), mean, var
end

return advantage
