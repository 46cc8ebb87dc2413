--- R1-V: the answer in <answer> tags against the truth, and the form of the response.
---   format   the response is <think>...</think><answer>...</answer> and nothing else
---   accuracy the first <answer> (the whole response without one) agrees with the truth
---   overall  (1 - format_weight) accuracy + format_weight format
--- grader: "rllava" (its rules) or "equal" (the same value however written); format_weight = 0 is
--- the variant without format.
local tags = require "rllava.reward.tags"
local answers = require "rllava.reward.answer"
local text = require "rllava.reward.text"

local function unwrap(v)
  if type(v) ~= "string" then return v end
  return tags.unwrap(v, "answer")
end

local function score(response, answer, row, options)
  local format = tags.matches(response, "answer") and 1 or 0
  local inside = tags.first(response, "answer")
  local accuracy = answers.grade(text.strip(inside or response), unwrap(answer), options.grader)
    and 1 or 0
  local w = options.format_weight
  return { overall = (1 - w) * accuracy + w * format, format = format, accuracy = accuracy },
    not inside and "no answer tag" or nil
end

return { defaults = { format_weight = 0.5, grader = "rllava" }, score = score }
