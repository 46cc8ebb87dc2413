--- The number that a response states, looked for as math-verify does: a \boxed{} first, then what
--- follows the word "answer" (a tag counts) within 50 characters, then the last formula or number
--- of the text.  Numbers count only at the start, after white space or after "=".
local latex = require "rllava.reward.latex"
local clean = require "rllava.reward.clean"
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"

local MAX_LENGTH, MAX_EXPRESSION, NEAR = 20000, 100, 50

--- The formula of a piece of text, or nil.
local function read(s) return #s <= MAX_EXPRESSION and latex(clean(s)) or nil end

--- A plain number at byte i -> its digits, the byte after it; nil where there is none.
local function number_at(s, i)
  local sign = s:match("^%-", i) or ""
  local at = i + #sign
  local first, after = s:match("^([1-9]%d?%d?)[ ,]()%d%d%d%f[%D]", at)
  if first then
    local digits = { sign, first }
    repeat
      digits[#digits + 1] = s:match("^%d%d%d%f[%D]", after)
      if not digits[#digits] or #digits[#digits] ~= 3 then break end
      after = after + 4
    until not s:find("^[ ,]", after - 1)
    local fraction = s:match("^%.%d+", after - 1) or ""
    return table.concat(digits) .. fraction, after - 1 + #fraction
  end
  local whole = s:match("^%d+", at) or ""
  local fraction = s:match("^[.,]%d+", at + #whole) or ""
  if whole == "" and (fraction == "" or fraction:sub(1, 1) == "," or sign ~= "") then return nil end
  return sign .. whole .. fraction:gsub(",", "."), at + #whole + #fraction
end

--- A formula of digits and operators at byte i, closed by a stop, a space or the end -> it, the
--- byte after.
local function expression_at(s, i)
  local run = s:sub(i, i + MAX_EXPRESSION):match "^%-?%(?%-?%d[%d.%s+%-*/^()]*"
  if not run or not run:find("[+%-*/^()]", 2) then return nil end
  for last = #run, 2, -1 do
    local piece, next = run:sub(1, last), s:sub(i + last, i + last)
    local closed = next == "" or next:find "[.,:%s)$]" or s:find("^%*%*[.,:%s)$]", i + last)
      or i + last + 1 == #s
      and s:sub(-2) == "**"
    if closed and piece:find "^%-?%(?%-?%d[%d.%s+%-*/^()]*[+%-*/^()][%d.%s+%-*/^()]+" then
      return piece, i + last
    end
  end
end

--- What stands at byte i -> tree, the byte after it; nil where it is no formula or number.
local function value_at(s, i)
  local piece, after = expression_at(s, i)
  local tree = piece and not piece:find "%d%s+%d" and read(piece)
  if tree then return tree, after end
  local sign = s:match("^[$]", i) or s:match("^€", i) or s:match("^£", i) or s:match("^¥", i) or ""
  local digits
  digits, after = number_at(s, i + #sign)
  if not digits then return nil end
  return read(digits), after
end

--- for i in starts(s, from, to): the bytes where a number may begin.
local function starts(s, from, to)
  local at = from
  return function()
    while at <= to do
      local i = at
      at = at + 1
      local before = i > 1 and text.decode(s, text.rfind_character(s, i - 1))
      if i == 1 or before == 61 or text.is_space(before) then
        return s:match("^%*%*()", i) or i
      end
    end
  end
end

--- $ ... $ from byte `from` on, on one line -> tree, the byte after.
local function dollars(s, from, to)
  local at = s:find("$", from, true)
  while at and at <= to do
    local shut = s:find("$", at + 1, true)
    if not shut then return nil end
    local inside = s:sub(at + 1, shut - 1)
    local tree = inside ~= "" and not inside:find "\n" and not s:sub(at - 1, at - 1):find "%d"
      and read(inside)
    if tree then return tree, shut + 1 end
    at = shut
  end
end

--- \frac{1}{2} with plain numbers, from byte `from` on -> tree, the byte after.
local function fraction(s, from, to)
  local at = s:find("\\frac{", from, true)
  while at and at <= to do
    local piece, after = s:match("^(\\frac{%-?%d+[.,]?%d*}{%-?%d+[.,]?%d*})()", at)
    if piece then return read(piece), after end
    at = s:find("\\frac{", at + 1, true)
  end
end

--- The one of two values that ends later.
local function later(tree, after, other, other_after)
  if other and (not tree or other_after > after) then return other, other_after end
  return tree, after
end

--- The value after the word "answer": of the last such word that has one.
local function after_answer(s)
  local lower, at, found = s:lower(), 1, nil
  while true do
    local first, last = lower:find("answer", at, true)
    if not first then return found end
    at = last + 1
    local stop = math.min(#s, last + NEAR)
    local tree, after = dollars(s, last + 1, stop)
    tree, after = later(tree, after, fraction(s, last + 1, stop))
    local line = s:find("\n", last + 1, true) or #s + 1
    for i in starts(s, last + 1, math.min(stop + 1, line + 1)) do
      local value, stops = value_at(s, i)
      if value and not s:find("^%s*=", stops) then
        tree, after = later(tree, after, value, stops)
        break
      end
    end
    if tree then found, at = tree, math.max(at, after) end
  end
end

--- The last formula or number of the text, or the last $ ... $, whichever ends later.
local function last_value(s)
  local found, ends, from = nil, 0, 1
  for _, one in ipairs { dollars, fraction } do
    local tree, after = one(s, 1, #s)
    while tree do
      found, ends = later(found, ends, tree, after)
      tree, after = one(s, after, #s)
    end
  end
  for i in starts(s, 1, #s) do
    if i >= from then
      local tree, after = value_at(s, i)
      if tree then
        from = after
        if after > ends then found, ends = tree, after end
      end
    end
  end
  return found
end

--- s -> tree of the number it states, or nil.
return function(s)
  if #s > MAX_LENGTH then s = s:sub(-MAX_LENGTH) end
  local boxed = tags.boxed(s)
  return boxed and read(boxed) or after_answer(s) or last_value(s)
end
