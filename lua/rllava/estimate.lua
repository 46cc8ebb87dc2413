--- What several responses to each prompt say of a policy: pass@k, majority@k, intervals of means.
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"

local estimate = {}

--- The chance that one of k responses is right, of n of which c are: 1 - C(n - c, k) / C(n, k).
--- arXiv:2107.03374, eq. 1
function estimate.pass_at(n, c, k)
  local none = 1
  for i = n - c + 1, n do none = none * (1 - k / i) end
  return n - c < k and 1 or 1 - none
end

--- The answer that most of some responses give, the earliest of equals -> the index of its first.
local function vote(answers, from, to)
  local count, at, best = {}, {}, nil
  for i = from, to do
    local a = answers[i]
    count[a], at[a] = (count[a] or 0) + 1, at[a] or i
  end
  for i = from, to do
    local a = answers[i]
    if not best or count[a] > count[answers[best]] then best = at[a] end
  end
  return best
end

--- The score of the answer that most of k responses give: the mean over the disjoint runs of k
--- among all.  answers: texts; scores: of each.  arXiv:2203.11171
function estimate.majority_at(answers, scores, k)
  local sum, runs = 0, math.floor(#answers / k)
  for i = 1, runs do sum = sum + scores[vote(answers, (i - 1) * k + 1, i * k)] end
  return sum / runs
end

--- What a response answers: the inside of its last <answer>, else of its last \boxed, else its last
--- line.
function estimate.answer(response)
  local found = tags.last(response, "answer") or tags.boxed(response)
    or response:match "([^\n]*)%s*$"
  return text.strip(found)
end

local Z = 1.959964                                      -- of a normal distribution's middle 95%

--- The 95% interval of a mean, from independent values -> low, high.  Of values that are all 0 or 1
--- Wilson's (doi:10.2307/2276774), else mean -+ Z std / sqrt(n).
function estimate.interval(values)
  local n, sum, squares, binary = #values, 0, 0, true
  for _, v in ipairs(values) do sum, binary = sum + v, binary and (v == 0 or v == 1) end
  local p = sum / n
  if binary then
    local middle, wide = p + Z * Z / (2 * n), Z * math.sqrt(p * (1 - p) / n + (Z / (2 * n)) ^ 2)
    return (middle - wide) / (1 + Z * Z / n), (middle + wide) / (1 + Z * Z / n)
  end
  for _, v in ipairs(values) do squares = squares + (v - p) ^ 2 end
  local wide = Z * math.sqrt(squares / math.max(1, n - 1) / n)
  return p - wide, p + wide
end

--- 1, 2, 4, ... below n, and n.
local function counts(n)
  local out, k = {}, 1
  while k < n do out[#out + 1], k = k, 2 * k end
  out[#out + 1] = n
  return out
end

--- The part accuracy of a response, or its whole reward where there is none.
local function score_of(r)
  return r.result.parts and r.result.parts.accuracy or r.result.overall
end

--- Each group's estimate for k responses; groups that have fewer are left out.
local function of_groups(groups, k)
  local pass, majority = {}, {}
  for _, g in ipairs(groups) do
    local n, right, answers, scores = #g.responses, 0, {}, {}
    for i, r in ipairs(g.responses) do
      scores[i], answers[i] = score_of(r), estimate.answer(r.text)
      if scores[i] >= 1 then right = right + 1 end
    end
    if n >= k then
      pass[#pass + 1] = estimate.pass_at(n, right, k)
      majority[#majority + 1] = estimate.majority_at(answers, scores, k)
    end
  end
  return pass, majority
end

local function put(out, name, suffix, values)
  if #values == 0 then return end
  local sum = 0
  for _, v in ipairs(values) do sum = sum + v end
  local low, high = estimate.interval(values)
  out["val/" .. name .. suffix] = sum / #values
  out["val_ci/" .. name .. suffix .. "/low"] = low
  out["val_ci/" .. name .. suffix .. "/high"] = high
end

--- Means over the prompts of a validated batch, with 95% intervals over prompts: out["val/" .. name
--- .. suffix], out["val_ci/" .. name .. suffix .. "/low"] and "/high".  Names: reward_score, each
--- part's <part>_reward, and where a prompt has several responses pass@k and majority@k.
function estimate.of_batch(out, batch, suffix)
  local lists, names, most = { reward_score = {} }, { "reward_score" }, 0
  for _, g in ipairs(batch.groups) do
    local sums = { reward_score = 0 }
    most = math.max(most, #g.responses)
    for _, r in ipairs(g.responses) do
      sums.reward_score = sums.reward_score + r.result.overall
      for part, v in pairs(r.result.parts or {}) do
        local name = part .. "_reward"
        if not lists[name] then lists[name], names[#names + 1] = {}, name end
        sums[name] = (sums[name] or 0) + v
      end
    end
    for name, sum in pairs(sums) do table.insert(lists[name], sum / #g.responses) end
  end
  for _, name in ipairs(names) do put(out, name, suffix, lists[name]) end
  for _, k in ipairs(most > 1 and counts(most) or {}) do
    local pass, majority = of_groups(batch.groups, k)
    put(out, "pass@" .. k, suffix, pass)
    put(out, "majority@" .. k, suffix, majority)
  end
end

return estimate
