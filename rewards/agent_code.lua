--- One step of an image-repair agent against the step that was wanted (MAT-Coding).
---   the truth answers        F1 of the two answers
---   the truth is code        0.9 for a response that neither answers nor names problems
---   the truth names problems 1 for the same set of quoted labels, 0.5 for the rotation alone of a
---                            pair with rotation90 or rotation180
---   format   <think>...</think> and one <answer>, <code> with a python block, or <problem> set
---   overall  (1 - format_weight) accuracy + format_weight format
--- compat = true: the same set of labels scores 0, as in RLLaVA by mistake.
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"
local answers = require "rllava.reward.answer"
local f1 = require "rllava.reward.f1"

--- Where the first <problem> { is -> the byte after the brace, or nil.
local function opened(s)
  local at = 1
  while true do
    local _, open = s:find("<problem>", at, true)
    if not open then return nil end
    local brace = text.skip_space(s, open + 1)
    if s:sub(brace, brace) == "{" then return brace + 1 end
    at = open + 1
  end
end

--- The quoted labels of the first <problem> { ... } </problem>, sorted.
local function labels(s)
  local list, start = {}, opened(s)
  local shut = start and s:find("}", start, true)
  while shut do
    local after = text.skip_space(s, shut + 1)
    if s:sub(after, after + 9) == "</problem>" then
      for label in s:sub(start, shut - 1):gmatch "'([^']+)'" do list[#list + 1] = label end
      break
    end
    shut = s:find("}", shut + 1, true)
  end
  table.sort(list)
  return list
end

local function holds(list, label)
  for _, one in ipairs(list) do if one == label then return true end end
  return false
end

local function grade_labels(given, truth, compat)
  for _, turn in ipairs { "rotation90", "rotation180" } do
    if #truth == 2 and holds(truth, turn) then
      if #given == 1 and given[1] == turn then return 0.5 end
      break
    end
  end
  local equal = #truth > 0 and table.concat(given, "\0") == table.concat(truth, "\0")
  return equal and not compat and 1 or 0
end

local function accuracy(response, truth, compat)
  local function has(tag) return text.has(response, tag) end
  if text.has(truth, "<answer>") then
    if has "<code>" or has "<problem>" then return 0 end
    return f1.score(tags.unwrap(response, "answer", true), tags.unwrap(truth, "answer", true))
  end
  if text.has(truth, "<code>") then return (has "<answer>" or has "<problem>") and 0 or 0.9 end
  if not text.has(truth, "<problem>") or has "<answer>" or has "<code>" then return 0 end
  return grade_labels(labels(response), labels(truth), compat)
end

--- The byte after tag, where <think>...</think> and white space stand before it; or nil.
local function after_thought(s, tag)
  local at = s:find(tag, 1, true)
  if not at or not text.starts(s, "<think>") then return nil end
  local last = text.skip_back(s, at - 1)
  return last >= 15 and s:sub(last - 7, last) == "</think>" and at + #tag or nil
end

local function code_form(s)
  local i = after_thought(s, "<code>")
  i = i and text.skip_space(s, i)
  if not i or s:sub(i, i + 8) ~= "```python" then return false end
  local _, fence = s:find("```", i + 9, true)
  return fence ~= nil and s:find("</code>", fence + 1, true) ~= nil
end

--- { 'a', 'b' } </problem> and then the end.
local function problem_form(s)
  local i = after_thought(s, "<problem>")
  i = i and text.skip_space(s, i)
  if not i or s:sub(i, i) ~= "{" then return false end
  repeat
    i = text.skip_space(s, i + 1)
    local shut = s:sub(i, i) == "'" and s:find("'", i + 1, true)
    if not shut or shut == i + 1 then return false end
    i = text.skip_space(s, shut + 1)
  until s:sub(i, i) ~= ","
  if s:sub(i, i) ~= "}" then return false end
  local rest = s:sub(text.skip_space(s, i + 1))
  return rest == "</problem>" or rest == "</problem>\n"
end

local function has_form(s)
  for _, tag in ipairs { "<answer>", "<code>", "<think>", "<problem>" } do
    if text.count(s, tag) >= 2 then return false end
  end
  if text.has(s, "<answer>") then return tags.starts(s, "answer") end
  if text.has(s, "<code>") then return code_form(s) end
  return problem_form(s)
end

local function score(response, answer, row, options)
  local right = accuracy(response, answers.text(answer), options.compat)
  local format = has_form(response) and 1 or 0
  local w = options.format_weight
  return { overall = (1 - w) * right + w * format, format = format, accuracy = right }
end

return { defaults = { format_weight = 0.5, compat = false }, score = score }
