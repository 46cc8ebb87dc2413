--- DAPO's soft overlong punishment, to be added to another reward: 0 up to max_length - buffer
--- tokens, then falling in a line to -factor at max_length.  arXiv:2503.14476, eq. 13.
local length = require "rllava.reward.length"

return {
  defaults = { max_length = 20480, buffer = 4096, factor = 1 },
  score = function(response, answer, row, options)
    local penalty = length.overlong_penalty(length.of(row), options.max_length, options.buffer)
    return { overall = options.factor * penalty, overlong = penalty }
  end,
}
