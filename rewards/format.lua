--- The form of a response alone, 0 or 1: <think>...</think><answer>...</answer> from end to end.
--- tag: the name of the second tag ("answer"), or "boxed" for a \boxed{} after the thought.
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"

local function has_form(s, tag)
  if tag ~= "boxed" then return tags.matches(s, tag) end
  local _, thought = s:find("</think>", 8, true)
  local _, box = s:find("\\boxed{", (thought or #s) + 1, true)
  return text.starts(s, "<think>") and box ~= nil and s:find("}", box + 1, true) ~= nil
end

return {
  defaults = { tag = "answer" },
  score = function(response, answer, row, options)
    local format = has_form(response, options.tag) and 1 or 0
    return { overall = format, format = format }
  end,
}
