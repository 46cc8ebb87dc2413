local T = require "check"
local json = require "rllava.json"
local answers = require "rllava.reward.answer"
local tags = require "rllava.reward.tags"
local rewards = require "rewards"

local reward = rewards.open

--- The largest difference between named scores, as a share of the tolerance.
local function worst_of(got, want, tolerance, case)
  local worst = 0
  for name, value in pairs(want) do
    if type(value) == "string" then
      value = ({ NaN = 0 / 0, Infinity = math.huge })[value] or -math.huge
    end
    local share = got[name] == value and 0 or math.abs((got[name] or math.huge) - value) / tolerance
    if not (share <= 1) then
      error(("%s: %s: expected %s, got %s for %q, truth %s"):format(case.category
        or "batch", name, value,
        tostring(got[name]), tostring(case.response):sub(1, 200),
          json.encode(case.ground_truth or "")), 0)
    end
    worst = math.max(worst, share)
  end
  return worst
end

local function golden(name)
  return json.decode(T.read(T.goldens .. "/rewards/" .. name .. ".json"), name)
end

--- Every case of a golden file by f(case) -> scores, want(case) -> expected ones.
local function check_cases(name, f, want)
  T.golden("rewards/" .. name .. ".json", function()
    local file, worst = golden(name), 0
    for _, case in ipairs(file.cases) do
      local got = f(case)
      local expected = want(case)
      if expected then worst = math.max(worst, worst_of(got, expected, file.tolerance, case)) end
    end
    return worst
  end)
end

--- Rewards whose variants a file checks too: { options, the member of the case that is expected }.
local variants = {
  r1v = { { { format_weight = 0 }, "without_format" } },
  wemath = { { { format_weight = 0 }, "without_format" } },
  agent_code = { { { compat = true }, "scores" } },
}

local function check_reward(name)
  local f = reward(name)
  check_cases(name, function(case) return f(case.response, case.ground_truth, case) end,
    function(case) return case.intended or case.scores end)
  for _, variant in ipairs(variants[name] or {}) do
    local options, member = variant[1], variant[2]
    local g = reward(name, options)
    check_cases(name, function(case) return g(case.response, case.ground_truth, case) end,
      function(case) return case[member] end)
  end
end

local function check_grader()
  check_cases("math_grader", function(case)
    return { accuracy = answers.grade(case.response, case.ground_truth) and 1 or 0 }
  end, function(case) return case.scores end)
end

local function check_metrics()
  local f = reward "wemath_metrics"
  check_cases("wemath_metrics", function(case)
    local list = {}
    for i, input in ipairs(case.inputs) do
      list[i] = { response = input.response, answer = input.ground_truth }
    end
    local got = f(list)
    local all = {}
    for k, v in pairs(got[1]) do all[k] = v end
    for i, one in ipairs(got) do all[i] = one.accuracy end
    return all
  end, function(case)
    local want = {}
    for k, v in pairs(case.metrics) do want[k] = v end
    for i, v in ipairs(case.accuracy) do want[i] = v end
    return want
  end)
end

local own = { math_grader = check_grader, wemath_metrics = check_metrics }
for _, file in ipairs(T.list(T.goldens .. "/rewards")) do
  local name = file:match "^(.*)%.json$"
  if name then (own[name] or check_reward)(name) end
end

--- Lines of a .jsonl file, decoded.
local function lines(path)
  local list = {}
  for line in T.read(path):gmatch "[^\n]+" do list[#list + 1] = json.decode(line, path) end
  return list
end

--- math/: the share of right ones; at least 95% of the pairs by their column `equal`.
local function check_share(name, least, is_right)
  local path = T.goldens .. "/math/" .. name
  if #T.list(path) == 0 then return end
  T.test("math/" .. name, function()
    local right, list = 0, lines(path)
    for _, case in ipairs(list) do if is_right(case) then right = right + 1 end end
    print(("%s math/%s  %d of %d right"):format(right >= least * #list and "ok"
      or "not ok", name, right, #list))
    assert(right >= least * #list, name .. ": too few are right")
  end)
end

check_share("pairs.jsonl", 0.95, function(case)
  return answers.grade(case.answer, case.gold, "equal") == case.equal
end)
check_share("pairs.jsonl", 0.95, function(case)
  return answers.grade(case.answer, case.gold, "rllava") == case.mathruler
end)
check_share("extract.jsonl", 1, function(case)
  return (tags.boxed(case.text) or "None") == case.mathruler_boxed
end)

local function graded(given, truth) return answers.grade(given, truth, "equal") end

T.test("numbers are compared exactly, of any size", function()
  assert(graded("12345678901234567890123.0", "12345678901234567890123"))
  assert(not graded("12345678901234567890123", "12345678901234567890124"))
  assert(graded("1267650600228229401496703205376", "2^{100}"))
  assert(not graded("1267650600228229401496703205377", "2^{100}"))
  assert(graded("9^{9^9}", "9^{9^9}+0") and not graded("9^{9^9}", "9^{9^9}+1"))
  assert(not graded("0.3333333333333333", "1/3") and graded("0.\\overline{3}", "1/3"))
end)

T.test("roots, pi and i are numbers of their own", function()
  assert(graded("\\sqrt2-1", "\\frac{1}{1+\\sqrt 2}") and graded("1+\\sqrt2", "\\sqrt{3+2\\sqrt2}"))
  assert(graded("(1+i)^2", "2i") and graded("2i", "\\sqrt{-4}"))
  assert(not graded("14.6969384566990690", "6\\sqrt{6}")
    and not graded("3.141592653589793", "\\pi"))
  assert(graded("\\cos 15^\\circ", "\\frac{\\sqrt{6}+\\sqrt{2}}{4}"))
end)

T.test("sets, lists, inequalities and equations are compared by what they mean", function()
  assert(graded("x<-1 or x>1", "(-\\infty,-1)\\cup(1,\\infty)"))
  assert(graded("\\{1,2\\}", "x=1 \\text{ or } x=2") and not graded("1,1,2", "1,2,2"))
  assert(graded("x^2=1", "(x-1)(x+1)=0") and not graded("x^2=2", "(x-1)(x+1)=0"))
  assert(graded("180 minutes", "3 hours") and not graded("14 apples", "14 oranges"))
  assert(not graded("1/0", "1/0+1") and not graded("0,5", "0.5"))
end)

T.test("the embedded task wants its answer in the tag, to the letter", function()
  local f = reward "geoqa"
  local function parts(response) local s = f(response, 45, {})
    return { s.overall, s.accuracy, s.format }
  end
  T.near(parts "<think>90-45</think><answer>45</answer>", { 1, 1, 1 }, 1e-12)
  T.near(parts "<answer>45</answer>", { 0.9, 1, 0 }, 1e-12)
  T.near(parts "<think>x</think><answer>45.0</answer>", { 0.1, 0, 1 }, 1e-12)
  T.near(parts "45", { 0, 0, 0 }, 1e-12)
  T.near(parts "\\boxed{45}", { 0, 0, 0 }, 1e-12)
end)

T.test("mathematics: the place of the answer and the grader are options", function()
  local function accuracy(response, truth, options)
    return reward("math", options)(response, truth, {}).accuracy
  end
  T.equal(accuracy("<answer>7</answer>", "7"), 0)
  T.equal(accuracy("<answer>7</answer>", "7", { tag = "answer" }), 1)
  T.equal(accuracy("\\boxed{7}", 7, { tag = "answer" }), 0)
  T.equal(accuracy("\\boxed{7}", 7, { tag = "auto" }), 1)
  T.equal(accuracy("\\boxed{2/4}", { "1/2", "3" }), 0)
  T.equal(accuracy("\\boxed{2/4}", { "1/2", "3" }, { grader = "equal" }), 1)
  T.raises("grader: expected 'rllava' or 'equal', got 'exact'", function()
    accuracy("\\boxed{1}", "1", { grader = "exact" })
  end)
end)

T.test("format looks at the form alone", function()
  local f, g = reward "format", reward("format", { tag = "boxed" })
  T.equal(f("<think>a</think>\n<answer>b</answer>", "").overall, 1)
  T.equal(f("<think>a</think><answer>b</answer> c", "").overall, 0)
  T.equal({ g("<think>a</think> \\boxed{b}", "").overall, g("\\boxed{b}", "").overall }, { 1, 0 })
end)

T.test("grounding maps boxes between the picture's sizes", function()
  local row = { image_sizes = { { original = { 200, 100 }, resized = { 100, 50 } } } }
  local f = reward("grounding", { scale = "resized", truth = "original" })
  T.near(f("[10, 10, 20, 20]", { 20, 20, 40, 40 }, row).accuracy, 1, 1e-12)
  T.raises("expected the picture's sizes in row.image_sizes",
    function() f("[1,1,2,2]", { 1, 1, 2, 2 }, {}) end)
  local strict = reward("grounding", { strict = true })
  T.equal(strict("<", "[0,0,1,1]", {}).format, 0)
  local marked = "<|object_ref_start|>a<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>"
  T.equal(strict(marked .. "<|im_end|>", "[1,2,3,4]", {}).overall, 1)
end)

T.test("similar queries of a search agent score by their trigrams", function()
  local f = reward "agent_search"
  local function accuracy(query)
    return f("<think>t</think><search>" .. query
      .. "</search>", "<search>height of the eiffel tower</search>", {}).accuracy
  end
  T.near(accuracy "Height of the Eiffel Tower", 1, 1e-12)
  assert(accuracy "height of eiffel tower" > 0.7)
  T.equal(accuracy "population of paris", 0)
end)

T.test("the tool bonus of an agent can be tied to a right answer", function()
  local row = { step_reward = 1 }
  local response = "<think>t</think><answer>wrong</answer>"
  for _, name in ipairs { "agent_search_agentic", "agent_code_agentic", "deepeyes_visual" } do
    T.equal({ reward(name)(response, "right", row).tool,
      reward(name, { gate = true })(response, "right", row).tool },
      { 1, 0 })
  end
end)

for _, name in ipairs(T.list(T.goldens .. "/algorithms")) do
  if name:find "^overlong" then
    T.golden("algorithms/" .. name .. " (reward)", function()
      local g, worst = json.decode(T.read(T.goldens .. "/algorithms/" .. name)), 0
      local want = g.outputs.overlong_reward or g.outputs.soft_punishment    -- before the factor
      local f = reward("overlong", { max_length = g.config.max_response_length,
        buffer = g.config.overlong_buffer_length,
        factor = g.outputs.overlong_reward and g.config.overlong_penalty_factor or 1 })
      for i, n in ipairs(g.inputs.response_length.data) do
        local got = f("", "", { response_length = n }).overall
        worst = math.max(worst, math.abs(got - want.data[i]) / 1e-6)
      end
      return worst
    end)
  end
end

T.test("overlong: free up to the buffer, -1 at the limit and beyond", function()
  local f = reward("overlong", { max_length = 100, buffer = 20, factor = 2 })
  local function at(n) return f("", "", { response_length = n }).overall end
  T.near({ at(0), at(80), at(90), at(100), at(1000) }, { 0, 0, -1, -2, -2 }, 1e-12)
  T.raises("row.response_length: expected a number, got nil", function() f("", "", {}) end)
end)

T.test("length: 1 inside its bounds, falling to 0 over the slack", function()
  local f = reward("length", { least = 10, most = 20, slack = 10 })
  local function at(n) return f("", "", { response_length = n }).overall end
  T.near({ at(0), at(5), at(10), at(20), at(25), at(40) }, { 0, 0.5, 1, 1, 0.5, 0 }, 1e-12)
end)
