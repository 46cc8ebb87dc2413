--- Arithmetic in words: is the last number of the response the answer?  0 or 1; no form is asked
--- for.
local answers = require "rllava.reward.answer"

return function(response, answer)
  local last
  for number in response:gmatch "%-?%d[%d,]*%.?%d*" do last = number end
  local value = last and tonumber((last:gsub(",", "")))
  local right = value ~= nil and value == tonumber(answers.text(answer))
  return right and 1 or 0, not last and "no number" or nil
end
