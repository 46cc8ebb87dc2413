--- The numbers of a step under the names that RLLaVA and verl give them.
local C = require("rllava.ffi").C
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

--- Are f(r) of all responses equal?
local function equal(responses, f)
  local first = f(responses[1])
  for _, r in ipairs(responses) do if f(r) ~= first then return false end end
  return true
end

local function overall(r) return r.result.overall end
local function cut_off(r) return r.finish == "length" end
local function untrained(r) return forest.count(r) == 0 end

--- What decides whether a response is right: the part accuracy, or the whole reward.
local function right_by(r) return r.result.parts and r.result.parts.accuracy or r.result.overall end

--- Why the responses of a group have equal scores: "all_truncated", "all_right", "all_wrong",
--- "parts_cancel" (parts of the reward differ, their sum does not) or "all_alike".
local function why_flat(responses)
  if share(responses, cut_off) == 1 then return "all_truncated" end
  for name in require("rllava").sorted(responses[1].result.parts or {}) do
    local function part(r) return r.result.parts[name] end
    if not equal(responses, part) then return "parts_cancel" end
  end
  local value = right_by(responses[1])
  return value >= 1 and "all_right" or value <= 0 and "all_wrong" or "all_alike"
end

local reasons = { "all_truncated", "all_right", "all_wrong", "parts_cancel", "all_alike" }

--- Groups whose responses all have the same score teach nothing: group/no_spread, their share, and
--- why, as shares that add up to it; group/untrained: groups without a token that is trained on.
local function groups(out, batch)
  local count, n, idle = {}, math.max(1, #batch.groups), 0
  for _, g in ipairs(batch.groups) do
    if #g.responses > 0 and equal(g.responses, overall) then
      local why = why_flat(g.responses)
      count[why] = (count[why] or 0) + 1
    end
    if share(g.responses, untrained) == 1 then idle = idle + 1 end
  end
  local flat = 0
  for _, why in ipairs(reasons) do
    out["group/" .. why], flat = (count[why] or 0) / n, flat + (count[why] or 0)
  end
  out["group/no_spread"], out["group/untrained"] = flat / n, idle / n
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

--- timing_s/<part>, timing_per_token_ms/<part> (of sampling by response tokens, else by all),
--- tokens a second, memory.
local function costs(out, batch, clock)
  local prompts, responses, total = 0, 0, clock:total()
  for _, g in ipairs(batch.groups) do prompts = prompts + g.prompt.n end
  for _, r in ipairs(batch.responses) do responses = responses + r.n end
  local tokens = prompts + responses
  for name, seconds in pairs(clock.laps) do
    out["timing_s/" .. name] = seconds
    local n = name == "gen" and responses or tokens
    out["timing_per_token_ms/" .. name] = 1000 * seconds / math.max(1, n)
  end
  out["timing_s/step"], out["perf/time_per_step"] = total, total
  out["perf/total_num_tokens"] = tokens
  out["perf/throughput"] = tokens / math.max(1e-9, total)
  out["perf/max_memory_allocated_gb"] = C.rl_bytes_peak() / 2 ^ 30
  out["perf/cpu_memory_used_gb"] = C.rl_memory_now() / 2 ^ 30
end

--- 1 - Var(returns - values) / Var(returns); 0 where returns do not vary.
local function explained(values, returns)
  local apart = {}
  for t, v in ipairs(values) do apart[t] = returns[t] - v end
  local _, all = mean_std(returns)
  local _, left = mean_std(apart)
  return all > 0 and 1 - (left / all) ^ 2 or 0
end

--- What was sampled and scored; clock (or nil): a stopwatch of the step; max_prompt: tokens that a
--- prompt may have.  Lengths and scores are those of responses that the policy sampled, at least in
--- part.
function metrics.of_batch(batch, clock, max_prompt)
  local out, rs = {}, sampled(batch)
  spread(out, "response_length", pluck(rs, function(r) return r.n end))
  out["response_length/p95"] = quantile(ended(rs), 0.95)
  out["response_length/clip_ratio"] = share(rs, cut_off)
  spread(out, "prompt_length", pluck(batch.groups, function(g) return g.prompt.n end))
  out["prompt_length/clip_ratio"] = max_prompt
    and share(batch.groups, function(g) return g.prompt.n >= max_prompt end)
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
  if clock then costs(out, batch, clock) end
  return out
end

--- val/... of validated responses (see estimate.of_batch), val_response_length/... and
--- val_prompt_length/...; suffix sets other decodings and sets apart.
function metrics.of_validation(batch, suffix)
  local out = {}
  for name, v in pairs(metrics.of_batch(batch)) do
    if name:find "^%a+_length/" then out["val_" .. name .. suffix] = v end
  end
  require("rllava.estimate").of_batch(out, batch, suffix)
  return out
end

return metrics
