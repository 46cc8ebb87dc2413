--- Finding and checking <think>, <answer> and other tags, by plain searches: linear in the text.
local text = require "rllava.reward.text"
local find, sub = string.find, string.sub

local tags = {}

--- The shortest text between open and close, from byte `from` on -> it, the byte after close; or
--- nil.  one_line: it may not hold a line end.
function tags.between(s, open, close, from, one_line)
  local at = find(s, open, from or 1, true)
  local shut, line = 0, one_line and 0 or math.huge
  while at do
    local start = at + #open
    if shut < start then shut = find(s, close, start, true) end
    if not shut then return nil end
    if line < start then line = find(s, "\n", start, true) or math.huge end
    if line > shut then return sub(s, start, shut - 1), shut + #close end
    at = find(s, open, at + 1, true)
  end
end

--- The text of the first <name> ... </name>, or nil; and the byte after it.
function tags.first(s, name, one_line)
  return tags.between(s, "<" .. name .. ">", "</" .. name .. ">", 1, one_line)
end

--- The text of the last <name> ... </name>, counted from the left without overlap, or nil.
function tags.last(s, name)
  local open, close = "<" .. name .. ">", "</" .. name .. ">"
  local last, from = nil, 1
  while true do
    local inside, after = tags.between(s, open, close, from)
    if not inside then return last end
    last, from = inside, after
  end
end

--- The text of the first <name> tag without white space at its ends, or all of s.
function tags.unwrap(s, name, one_line)
  return text.strip(tags.first(s, name, one_line) or s)
end

--- Does s, at byte `at`, read <think>...</think>, white space, <name>...</name>?  -> the byte
--- after the first way to close, or nil.  Later </think> are tried as a regular expression would.
function tags.thought(s, name, at)
  if sub(s, at, at + 6) ~= "<think>" then return nil end
  local open, close = "<" .. name .. ">", "</" .. name .. ">"
  local from = at + 7
  while true do
    local _, shut = find(s, "</think>", from, true)
    if not shut then return nil end
    local start = text.skip_space(s, shut + 1)
    if sub(s, start, start + #open - 1) == open then
      local _, last = find(s, close, start + #open, true)
      return last and last + 1
    end
    from = shut + 1
  end
end

--- Does s start with <think>...</think>, white space, <name>...</name>?
function tags.starts(s, name) return tags.thought(s, name, 1) ~= nil end

--- Is s, from end to end, <think>...</think>, white space, <name>...</name>?
function tags.matches(s, name)
  return tags.starts(s, name) and text.ends(s, "</" .. name .. ">")
end

--- Does s hold <think>...</think>, white space, <name>...</name> anywhere?
function tags.contains(s, name)
  local at = find(s, "<think>", 1, true)
  return at ~= nil and tags.thought(s, name, at) ~= nil
end

--- The inside of the last \boxed{...}, by brace depth, without white space at its ends; or nil.
function tags.boxed(s)
  local at = text.rfind(s, "\\boxed{")
  if not at then return nil end
  local start, depth, i = at + 7, 0, at + 7
  while true do
    i = find(s, "[{}]", i)
    if not i then return nil end
    depth = depth + (sub(s, i, i) == "{" and 1 or -1)
    if depth < 0 then return text.strip(sub(s, start, i - 1)) end
    i = i + 1
  end
end

return tags
