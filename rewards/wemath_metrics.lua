--- We-Math over a whole set: the accuracy of each response and, the same in every row, how its
--- steps and composites go together.  With c_i the steps of a problem and c its composite:
---   IK  a step wrong, c wrong     (insufficient knowledge)
---   IG  every step right, c wrong (inadequate generalisation)
---   CM  c right and every step (strict) or some step (loose) right (complete mastery)
---   RM  c right and some step (strict) or every step (loose) wrong (rote memorisation)
---   score = (N - IG/2 - RM - IK) / N;  RM rate = RM / (CM + RM)
--- A problem with a part missing counts in N alone.  Needs all rows in one call.
local wemath = require "rllava.reward.wemath"

--- Rows of one number of steps -> a list of { c_1 .. c_n, multi = c }, in the order of their first
--- step.
local function problems(results, steps)
  local by_key, list = {}, {}
  for _, r in ipairs(results) do
    by_key[r.key] = by_key[r.key] or {}
    if by_key[r.key][r.id] == nil then by_key[r.key][r.id] = r.correct end
  end
  for _, r in ipairs(results) do
    if r.key == steps .. "steps_1" then
      local problem = { r.correct }
      for i = 2, steps do problem[i] = (by_key[steps .. "steps_" .. i] or {})[r.id] end
      problem.multi = (by_key[steps .. "steps_multi"] or {})[r.id]
      problem.steps = steps
      list[#list + 1] = problem
    end
  end
  return list
end

--- How many steps of a problem are right, wrong.
local function count(problem)
  local right, wrong = 0, 0
  for i = 1, problem.steps do
    if problem[i] then right = right + 1 elseif problem[i] == false then wrong = wrong + 1 end
  end
  return right, wrong
end

local function tally(list, t)
  for _, problem in ipairs(list) do
    local right, wrong = count(problem)
    if problem.multi == false then
      if wrong > 0 then t.IK = t.IK + 1 elseif right == problem.steps then t.IG = t.IG + 1 end
    elseif problem.multi then
      if wrong > 0 then t.RM_strict = t.RM_strict + 1 end
      if wrong == problem.steps then t.RM_loose = t.RM_loose + 1 end
      if right > 0 then t.CM_loose = t.CM_loose + 1 end
      if right == problem.steps then t.CM_strict = t.CM_strict + 1 end
    end
  end
end

--- The share of true ones in a list of booleans; nil for none.
local function mean(list)
  local n = 0
  for _, v in ipairs(list) do if v then n = n + 1 end end
  return #list > 0 and n / #list or nil
end

local function step_accuracy(two, three)
  local single, multi = {}, { [2] = {}, [3] = {} }
  for _, list in ipairs { two, three } do
    for _, problem in ipairs(list) do
      for i = 1, problem.steps do if problem[i] ~= nil then single[#single + 1] = problem[i] end end
      local composites = multi[problem.steps]
      if problem.multi ~= nil then composites[#composites + 1] = problem.multi end
    end
  end
  return mean(single), mean(multi[2]), mean(multi[3])
end

local function metrics(results)
  local two, three = problems(results, 2), problems(results, 3)
  local n = #two + #three
  if n == 0 then return {} end
  local t = { IG = 0, IK = 0, RM_loose = 0, RM_strict = 0, CM_loose = 0, CM_strict = 0 }
  tally(two, t)
  tally(three, t)
  local function rate(rm, cm) return rm + cm > 0 and rm / (rm + cm) or 0 end
  local out = {
    wemath_score_strict = (n - 0.5 * t.IG - t.RM_strict - t.IK) / n,
    wemath_score_loose = (n - 0.5 * t.IG - t.RM_loose - t.IK) / n,
    wemath_IK = t.IK / n, wemath_IG = t.IG / n,
    wemath_CM_strict = t.CM_strict / n, wemath_CM_loose = t.CM_loose / n,
    wemath_RM_strict = rate(t.RM_strict, t.CM_strict),
    wemath_RM_loose = rate(t.RM_loose, t.CM_loose),
  }
  local one_step, two_step, three_step = step_accuracy(two, three)
  out.wemath_onestep_acc, out.wemath_twostep_acc = one_step, two_step
  out.wemath_threestep_acc = three_step
  return out
end

--- list of { response = text, answer = truth } -> list of { overall, accuracy, wemath_... }.
local function batch(list, options)
  local scores, results = {}, {}
  for i, one in ipairs(list) do
    local truth, id, key = wemath.truth(one.answer)
    local accuracy = wemath.accuracy(one.response, truth, options.grader)
    scores[i] = { overall = accuracy, accuracy = accuracy }
    if type(key) == "string" and id ~= nil and tostring(id) ~= "null" then
      results[#results + 1] = { id = tostring(id), key = key, correct = accuracy > 0 }
    end
  end
  local common = metrics(results)
  for _, score in ipairs(scores) do
    for name, value in pairs(common) do score[name] = value end
  end
  return scores
end

return { defaults = { grader = "rllava" }, batch = batch }
