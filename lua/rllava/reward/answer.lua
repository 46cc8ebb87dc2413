--- Truths as data sets hold them (text, number, list of alternatives, object), and the graders.
local grade = require "rllava.reward.grade"
local equal = require "rllava.reward.equal"

local answer = {}

--- A number as text: 42, not 42.0.
local function number_text(n)
  if n == math.floor(n) and math.abs(n) < 2 ^ 53 then return ("%d"):format(n) end
  for digits = 15, 17 do
    local s = ("%." .. digits .. "g"):format(n)
    if tonumber(s) == n then return s end
  end
  return tostring(n)
end

--- The truth as text: objects by their member ground_truth, answer or target; null is "".
function answer.text(v)
  if type(v) == "string" then return v end
  if type(v) == "number" then return number_text(v) end
  if type(v) == "boolean" then return v and "True" or "False" end
  if type(v) ~= "table" then return "" end
  if getmetatable(v) and getmetatable(v).__tostring then
    local s = tostring(v)
    return s ~= "null" and s or ""
  end
  for _, key in ipairs { "ground_truth", "answer", "target" } do
    if v[key] ~= nil then return answer.text(v[key]) end
  end
  return v[1] ~= nil and answer.text(v[1]) or ""
end

--- The truths of which any will do: the members of a list, else the one truth.
function answer.alternatives(v)
  if type(v) ~= "table" or v[1] == nil then return { answer.text(v) } end
  local list = {}
  for i, one in ipairs(v) do list[i] = answer.text(one) end
  return list
end

local graders = { rllava = grade, equal = equal }

--- Is the text `given` right?  truth: any JSON value; grader: "rllava" or "equal".
function answer.grade(given, truth, grader)
  local judge = graders[grader or "rllava"]
  if not judge then
    error(("reward: grader: expected 'rllava' or 'equal', got '%s'"):format(tostring(grader)), 0)
  end
  for _, one in ipairs(answer.alternatives(truth)) do
    if judge(given, one) then return true end
  end
  return false
end

return answer
