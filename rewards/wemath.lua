--- We-Math: accuracy 0..1 (the chosen letter; or the share of the answer's parts that are right),
--- and the form <think>...</think><answer>...</answer>.  The truth may be an object (or its JSON
--- text) with the members answer, ID and key.
---   overall  (1 - format_weight) accuracy + format_weight format; format_weight = 0 leaves it out
local wemath = require "rllava.reward.wemath"
local tags = require "rllava.reward.tags"

local function score(response, answer, row, options)
  local accuracy = wemath.accuracy(response, (wemath.truth(answer)), options.grader)
  local format = tags.matches(response, "answer") and 1 or 0
  local w = options.format_weight
  return { overall = (1 - w) * accuracy + w * format, format = format, accuracy = accuracy }
end

return { defaults = { format_weight = 0.5, grader = "rllava" }, score = score }
