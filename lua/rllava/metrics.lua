--- The numbers of a step under the names that RLLaVA and verl give them.
local forest = require "rllava.forest"

local metrics = {}

--- { mean, max, min } of a list under name/...
local function spread(out, name, list)
  local sum, max, min = 0, -math.huge, math.huge
  for _, v in ipairs(list) do sum, max, min = sum + v, math.max(max, v), math.min(min, v) end
  if #list == 0 then return end
  out[name .. "/mean"], out[name .. "/max"], out[name .. "/min"] = sum / #list, max, min
end

local function pluck(list, f)
  local out = {}
  for _, x in ipairs(list) do out[#out + 1] = f(x) end
  return out
end

local function share(list, test)
  local n = 0
  for _, x in ipairs(list) do if test(x) then n = n + 1 end end
  return #list > 0 and n / #list or 0
end

--- Lengths of the responses that ended by themselves; of all where none did.
local function ended(responses)
  local lengths, all = {}, {}
  for i, r in ipairs(responses) do
    all[i] = r.n
    if r.finish ~= "length" then lengths[#lengths + 1] = r.n end
  end
  return #lengths > 0 and lengths or all
end

--- The least number that a share of the list does not exceed.
local function quantile(list, share_below)
  local sorted = {}
  for i, v in ipairs(list) do sorted[i] = v end
  table.sort(sorted)
  return sorted[math.max(1, math.ceil(share_below * #sorted))]
end

local function mean_std(list)
  local sum, squares = 0, 0
  for _, v in ipairs(list) do sum = sum + v end
  local mean = sum / math.max(1, #list)
  for _, v in ipairs(list) do squares = squares + (v - mean) ^ 2 end
  return mean, math.sqrt(squares / math.max(1, #list - 1))
end

--- reward/<part> (mean) and reward/<part>/std of what the reward named.
local function parts(out, responses)
  local lists, names = {}, {}
  for _, r in ipairs(responses) do
    for name, v in require("rllava").sorted(r.result.parts or {}) do
      if not lists[name] then lists[name], names[#names + 1] = {}, name end
      table.insert(lists[name], v)
    end
  end
  for _, name in ipairs(names) do
    out["reward/" .. name], out["reward/" .. name .. "/std"] = mean_std(lists[name])
  end
end

--- Groups whose responses all have the same score teach nothing; why: all right, all wrong, or
--- alike.
local function groups(out, batch)
  local flat, high, low, n = 0, 0, 0, 0
  for _, g in ipairs(batch.groups) do
    local first, same = g.responses[1] and g.responses[1].result.overall, true
    for _, r in ipairs(g.responses) do same = same and r.result.overall == first end
    n = n + 1
    if same and first then
      flat = flat + 1
      if first >= 1 then high = high + 1 elseif first <= 0 then low = low + 1 end
    end
  end
  out["group/no_spread"] = flat / n
  out["group/all_right"], out["group/all_wrong"] = high / n, low / n
  out["group/all_alike"] = (flat - high - low) / n
end

--- Share of the groups in which every trained token's advantage is 0.
local function silent_groups(batch)
  local silent = 0
  for _, g in ipairs(batch.groups) do
    local any = false
    for _, r in ipairs(g.responses) do
      local list = r.tokens.advantage
      for t = 1, forest.count(r) do any = any or list[t] ~= 0 end
    end
    silent = silent + (any and 0 or 1)
  end
  return silent / math.max(1, #batch.groups)
end

--- Of demonstrations in groups: prefix/share of all responses that copy tokens, prefix/ratio of
--- their tokens that are copied, group/switched, group/recalled.
local function copies(out, batch)
  local n, ratio = 0, 0
  for _, r in ipairs(batch.responses) do
    if r.copied then n, ratio = n + 1, ratio + r.copied / math.max(1, r.n) end
  end
  if n > 0 then
    out["prefix/share"], out["prefix/ratio"] = n / #batch.responses, ratio / n
  end
  out["group/switched"] = batch.switched
  out["group/recalled"] = batch.recalled and batch.recalled / math.max(1, #batch.groups)
end

--- The responses, but for demonstrations that were copied whole; all where there are no others.
local function sampled(batch)
  local out = {}
  for _, r in ipairs(batch.responses) do
    if not r.copied or r.copied < r.n then out[#out + 1] = r end
  end
  return #out > 0 and out or batch.responses
end

--- timing_s/<part> and tokens a second.
local function times(out, batch, clock)
  for name, seconds in pairs(clock.laps) do out["timing_s/" .. name] = seconds end
  local tokens = 0
  for _, g in ipairs(batch.groups) do tokens = tokens + g.prompt.n end
  for _, r in ipairs(batch.responses) do tokens = tokens + r.n end
  out["timing_s/step"], out["perf/total_num_tokens"] = clock:total(), tokens
  out["perf/throughput"] = tokens / math.max(1e-9, clock:total())
end

--- 1 - Var(returns - values) / Var(returns); 0 where returns do not vary.
local function explained(values, returns)
  local apart = {}
  for t, v in ipairs(values) do apart[t] = returns[t] - v end
  local _, all = mean_std(returns)
  local _, left = mean_std(apart)
  return all > 0 and 1 - (left / all) ^ 2 or 0
end

--- What was sampled and scored; clock (or nil): a stopwatch of the step.  Lengths and scores are
--- those of responses that the policy sampled, at least in part.
function metrics.of_batch(batch, clock)
  local out, rs = {}, sampled(batch)
  spread(out, "response_length", pluck(rs, function(r) return r.n end))
  out["response_length/p95"] = quantile(ended(rs), 0.95)
  out["response_length/clip_ratio"] = share(rs, function(r) return r.finish == "length" end)
  spread(out, "prompt_length", pluck(batch.groups, function(g) return g.prompt.n end))
  if batch.scores then
    local scores = pluck(rs, function(r) return r.result.overall end)
    spread(out, "critic/score", scores)
    spread(out, "critic/rewards", #rs == #batch.sums and batch.sums or scores)
    out["reward/overall"] = out["critic/score/mean"]
    out["reward/failed"] = batch.failed
    parts(out, rs)
    groups(out, batch)
  end
  copies(out, batch)
  if batch.advantage then
    spread(out, "critic/advantages", batch.advantage)
    out["group/zero_advantage"] = silent_groups(batch)
  end
  if batch.returns then spread(out, "critic/returns", batch.returns) end
  if batch.values then
    spread(out, "critic/values", batch.values)
    out["critic/vf_explained_var"] = explained(batch.values, batch.returns)
  end
  out["actor/reward_kl_penalty"], out["actor/reward_kl_penalty_coeff"] = batch.kl, batch.kl_coef
  local sum, n = 0, 0
  for _, r in ipairs(rs) do for _, h in ipairs(r.entropy or {}) do sum, n = sum + h, n + 1 end end
  if n > 0 then out["actor/entropy"] = sum / n end
  if clock then times(out, batch, clock) end
  return out
end

--- val/... of validated responses (see estimate.of_batch) and val_response_length/...; suffix sets
--- other decodings and sets apart.
function metrics.of_validation(batch, suffix)
  local out = {}
  for name, v in pairs(metrics.of_batch(batch)) do
    local length = name:match "^response_length/(.+)$"
    if length then out["val_response_length/" .. length .. suffix] = v end
  end
  require("rllava.estimate").of_batch(out, batch, suffix)
  return out
end

return metrics
