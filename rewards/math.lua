--- Mathematics: the answer in \boxed{} (or in <answer> tags) against the truth, and the form of the
--- response.  accuracy, format in {0, 1}; overall = (1 - format_weight) accuracy + format_weight
--- format.
---
---   tag            "boxed": the last \boxed{}, without one the text "None", as RLLaVA grades it
---                  "answer": what stands in <answer>...</answer>, and nothing else
---                  "auto": the tag if there is one, else the box, else nothing
---   grader         "rllava": RLLaVA's rules (2/4 is not 1/2, 50\% is 50)
---                  "equal": the same value or set, however it is written
---   format_weight  share of the form in overall
---
--- The form: <think>...</think>, then \boxed{...} with tag = "boxed"; otherwise
--- <think>...</think><answer>...</answer> and nothing around it.
local text = require "rllava.reward.text"
local tags = require "rllava.reward.tags"
local answers = require "rllava.reward.answer"

local defaults = { tag = "boxed", grader = "rllava", format_weight = 0.1 }

--- White space around <, > and / goes, so that "< think >" is a tag.
local function squeeze(s)
  local out, i = {}, 1
  while true do
    local at = s:find("[<>/]", i)
    if not at then break end
    local last = text.skip_back(s:sub(i, at - 1), at - i)
    out[#out + 1] = s:sub(i, i + last - 1) .. s:sub(at, at)
    i = text.skip_space(s, at + 1)
  end
  return table.concat(out) .. s:sub(i)
end

local function has_form(s, tag)
  if tag ~= "boxed" then return tags.matches(s, "answer") end
  if not text.starts(s, "<think>") then return false end
  local _, thought = s:find("</think>", 8, true)
  local _, box = s:find("\\boxed{", (thought or #s) + 1, true)
  return box ~= nil and s:find("}", box + 1, true) ~= nil
end

--- The answer that the response gives, or nil.
local function given(s, tag)
  if tag == "boxed" then return tags.boxed(s) or "None" end
  local inside = tags.first(s, "answer")
  if inside or tag == "answer" then return inside and text.strip(inside) end
  return tags.boxed(s)
end

local function score(response, answer, row, options)
  local s = options.tag == "boxed" and squeeze(response) or response
  local format = has_form(s, options.tag) and 1 or 0
  local found = given(s, options.tag)
  local accuracy = found and answers.grade(found, answer, options.grader) and 1 or 0
  local w = options.format_weight
  return { overall = (1 - w) * accuracy + w * format, format = format, accuracy = accuracy },
    not found and "no answer" or nil
end

return { defaults = defaults, score = score }
