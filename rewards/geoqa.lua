--- The embedded geometry task, strictly: the text inside <answer>...</answer> is the answer, to the
--- letter; a bare number earns nothing.  format: the response is
--- <think>...</think><answer>...</answer>.
--- overall = (1 - format_weight) accuracy + format_weight format
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"
local answers = require "rllava.reward.answer"

local function score(response, answer, row, options)
  local inside = tags.first(response, "answer")
  local accuracy = inside and text.strip(inside) == text.strip(answers.text(answer)) and 1 or 0
  local format = tags.matches(response, "answer") and 1 or 0
  local w = options.format_weight
  return { overall = (1 - w) * accuracy + w * format, accuracy = accuracy, format = format },
    not inside and "no answer tag" or nil
end

return { defaults = { format_weight = 0.1 }, score = score }
