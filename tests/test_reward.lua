local T = require "check"
local json = require "rllava.json"
local answers = require "rllava.reward.answer"
local tags = require "rllava.reward.tags"

--- A reward file's function with its options filled in: f(response, answer, row) -> number or table.
local function reward(name, options)
  local file = dofile("rewards/" .. name .. ".lua")
  if type(file) == "function" then return file end
  local all = {}
  for k, v in pairs(file.defaults or {}) do all[k] = v end
  for k, v in pairs(options or {}) do
    assert(file.defaults[k] ~= nil, "unknown option " .. k)
    all[k] = v
  end
  if file.batch then return function(list) return file.batch(list, all) end end
  return function(response, answer, row) return file.score(response, answer, row, all) end
end

--- The largest difference between named scores, as a share of the tolerance.
local function worst_of(got, want, tolerance, case)
  local worst = 0
  for name, value in pairs(want) do
    if type(value) == "string" then value = ({ NaN = 0 / 0, Infinity = math.huge })[value] or -math.huge end
    local share = got[name] == value and 0 or math.abs((got[name] or math.huge) - value) / tolerance
    if not (share <= 1) then
      error(("%s: %s: expected %s, got %s for %q, truth %s"):format(case.category or "batch", name, value,
        tostring(got[name]), tostring(case.response):sub(1, 200), json.encode(case.ground_truth or "")), 0)
    end
    worst = math.max(worst, share)
  end
  return worst
end

local function golden(name) return json.decode(T.read(T.goldens .. "/rewards/" .. name .. ".json"), name) end

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

local function scores(case) return case.scores end

--- How a case of each file is scored, and what is expected; files of other names use the reward as it is.
local special = {
  math_grader = { function(case)
    return { accuracy = answers.grade(case.response, case.ground_truth) and 1 or 0 }
  end },
}

for _, file in ipairs(T.list(T.goldens .. "/rewards")) do
  local name = file:match "^(.*)%.json$"
  if name and special[name] then check_cases(name, special[name][1], special[name][2] or scores)
  elseif name and io.open("rewards/" .. name .. ".lua") then
    local f
    check_cases(name, function(case)
      f = f or reward(name)
      return f(case.response, case.ground_truth, case)
    end, scores)
  end
end
