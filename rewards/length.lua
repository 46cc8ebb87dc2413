--- The length of a response: 1 from least to most tokens, falling to 0 over slack tokens outside.
local length = require "rllava.reward.length"

return {
  defaults = { least = 1, most = 1024, slack = 256 },
  score = function(response, answer, row, options)
    local value = length.window(length.of(row), options.least, options.most, options.slack)
    return { overall = value, length = value }
  end,
}
