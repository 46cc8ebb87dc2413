--- Counting: the number that the response states against the true one, and the form.
---   accuracy  1 where the numbers agree, or the answer is the truth to the letter
---   format    the whole response is <think>...</think><answer>...</answer>
---   overall   (1 - format_weight) accuracy + format_weight format
--- strict = true: only what stands in <answer>...</answer> counts, as a number by itself.
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"
local answers = require "rllava.reward.answer"
local found = require "rllava.reward.found"
local numeric = require "rllava.reward.numeric"

--- Do two trees have the same value, to six decimals?
local function agree(a, b)
  local x = a and numeric.value(a, 1)
  local y = b and numeric.value(b, 1)
  return x ~= nil and y ~= nil and math.abs(x - y) < 5e-7
end

local function is_right(response, truth, strict)
  local given = tags.unwrap(response, "answer", true)
  if strict then
    return tags.first(response, "answer") ~= nil
      and answers.grade(text.strip(tags.first(response, "answer")), tags.unwrap(truth, "answer"),
        "equal")
  end
  return agree(found(response), found(truth)) or given == tags.unwrap(truth, "answer", true)
end

local function score(response, answer, row, options)
  local accuracy = is_right(response, answers.text(answer), options.strict) and 1 or 0
  local format = tags.matches(response, "answer") and 1 or 0
  local w = options.format_weight
  return { overall = (1 - w) * accuracy + w * format, format = format, accuracy = accuracy }
end

return { defaults = { format_weight = 0.5, strict = false }, score = score }
