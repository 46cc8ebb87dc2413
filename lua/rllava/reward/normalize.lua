--- The two normal forms in which RLLaVA's grader (mathruler, after the MATH data set) compares
--- answers as text.  Its rules are kept to the letter, odd ones too.
local text = require "rllava.reward.text"
local plain = require "rllava.reward.plain"
local replace, strip = text.replace, text.strip

local normalize = {}

--- "\text{...}" around everything is taken away.
local function unwrap_text(s)
  local inside = s:match "^\\text{(.+)}\n?$"
  return inside and not inside:find("\n", 1, true) and inside or nil
end

--- "\frac12" -> "\frac{1}{2}"; nil where nothing follows a \frac.
local function brace_fractions(s)
  local parts = text.split(s, "\\frac")
  for i = 2, #parts do
    local part = parts[i]
    if part == "" then return nil end
    if part:sub(1, 1) ~= "{" then
      local _, second = text.decode(part, 1)
      if second > #part then return s end
      local _, third = text.decode(part, second)
      local a, b = part:sub(1, second - 1), part:sub(second, third - 1)
      parts[i] = "{" .. a .. "}" .. (b == "{" and b or "{" .. b .. "}") .. part:sub(third)
    end
  end
  return table.concat(parts, "\\frac")
end

--- "\sqrt3" -> "\sqrt{3}"; nil where nothing follows a \sqrt.
local function brace_roots(s)
  local parts = text.split(s, "\\sqrt")
  for i = 2, #parts do
    local part = parts[i]
    if part == "" then return nil end
    if part:sub(1, 1) ~= "{" then
      local _, second = text.decode(part, 1)
      parts[i] = "{" .. part:sub(1, second - 1) .. "}" .. part:sub(second)
    end
  end
  return table.concat(parts, "\\sqrt")
end

local function canonical_integer(s) return s == "0" or s:find "^%-?[1-9]%d*$" ~= nil end

--- "3/4" -> "\frac{3}{4}", for integers written plainly.
local function slash_to_fraction(s)
  local parts = text.split(s, "/")
  if #parts ~= 2 or not canonical_integer(parts[1]) or not canonical_integer(parts[2]) then
    return s
  end
  return "\\frac{" .. parts[1] .. "}{" .. parts[2] .. "}"
end

local removed = { { "\n", "" }, { "\\!", "" }, { "\\\\", "\\" }, { "tfrac", "frac" },
  { "dfrac", "frac" }, { "\\left", "" }, { "\\right", "" }, { "^{\\circ}", "" }, { "^\\circ", "" },
  { "\\$", "" } }
local then_removed = { { "\\%", "" }, { "%", "" }, { " .", " 0." }, { "{.", "{0." } }

local function rewrite(s, rules)
  for _, rule in ipairs(rules) do s = replace(s, rule[1], rule[2]) end
  return s
end

--- The body of the first form; nil where the reference gives up and keeps the text.
local function first_form(s)
  s = rewrite(s, removed)
  local unit = text.split(s, "\\text{ ")
  if #unit > 2 then return nil end
  s = rewrite(unit[1], then_removed)
  if s == "" then return s end
  if s:sub(1, 1) == "." then s = "0" .. s end
  local sides = text.split(s, "=")
  if #sides == 2 and text.length(sides[1]) <= 2 then s = sides[2] end
  s = brace_roots(s)
  s = s and brace_fractions(replace(s, " ", ""))
  if not s then return nil end
  return slash_to_fraction(s == "0.5" and "\\frac{1}{2}" or s)
end

--- First form: LaTeX spelling, without units, percent, degrees and a leading "x=".
function normalize.first(s)
  s = strip(s)
  local inside = unwrap_text(s)
  if inside then s = strip(inside) end
  return first_form(s) or s
end

--- A number as Python's float reads it, or nil.
local function float(s)
  s = strip(s)
  if s:find "\239\188" then                              -- full-width digits
    s = s:gsub("\239\188([\144-\153])", function(c) return string.char(c:byte() - 96) end)
  end
  local body = s:gsub("(%d)_(%d)", "%1%2"):gsub("(%d)_(%d)", "%1%2"):gsub("^[-+]", "", 1)
  if not (body:find "^%d+%.?%d*$" or body:find "^%.%d+$" or body:find "^%d+%.?%d*[eE][-+]?%d+$"
    or body:find "^%.%d+[eE][-+]?%d+$") then return nil end
  local x = tonumber(body)
  return s:sub(1, 1) == "-" and -x or x
end

--- Is x a whole number, to 1e-7?
local function is_whole(x)
  return x and x - x == 0 and math.abs(x - math.floor(x + 0.5)) <= 1e-7
end

--- "1,234,567" -> "1234567": commas between a digit and three last digits, from the left.
function normalize.join_thousands(s)
  while true do
    local out, i = {}, 1
    while true do
      local at = s:find("%d,%d%d%d", i)
      if not at then break end
      local next = s:sub(at + 5, at + 5)
      if next:find "%d" then
        out[#out + 1] = s:sub(i, at)
        i = at + 1
      else
        out[#out + 1] = s:sub(i, at) .. s:sub(at + 2, at + 5)
        i = at + 6
      end
    end
    out[#out + 1] = s:sub(i)
    local joined = table.concat(out)
    if joined == s then return s end
    s = joined
  end
end

--- Does s read as a whole number?
function normalize.is_integer(s) return is_whole(float(normalize.join_thousands(s))) or false end

local units = { "degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour", "day",
  "week", "month", "year", "foot", "feet", "inch", "yard" }

--- Every occurrence of a unit goes, with its plural, spaces and exponent.
local function remove_unit(s, unit)
  local at = s:find(unit, 1, true)
  if not at then return s end
  local out, i = {}, 1
  while at do
    out[#out + 1] = s:sub(i, at - 1)
    i = at + #unit
    if s:sub(i, i + 1) == "es" then i = i + 2 end
    if s:sub(i, i) == "s" then i = i + 1 end
    i = s:match("^ *()", i)
    i = s:match("^%^%d+()", i) or i
    at = s:find(unit, i, true)
  end
  return table.concat(out) .. s:sub(i)
end

--- mark, spaces, then tail: all of it becomes new.
local function replace_spaced(s, mark, tail, new)
  local out, i = {}, 1
  while true do
    local at = s:find(mark, i, true)
    if not at then break end
    local after = s:match("^ *()", at + #mark)
    if s:sub(after, after + #tail - 1) == tail then
      out[#out + 1] = s:sub(i, at - 1) .. new
      i = after + #tail
    else
      out[#out + 1] = s:sub(i, at)
      i = at + 1
    end
  end
  return table.concat(out) .. s:sub(i)
end

--- "7 3/4" -> "7+3/4": spaces between digits.
local function join_mixed(s)
  local out, i = {}, 1
  while true do
    local at = s:find("%d ", i)
    if not at then break end
    local after = s:match("^ +()", at + 1)
    local digit = s:match("^%d", after)
    out[#out + 1] = digit and s:sub(i, at) .. "+" .. digit or s:sub(i, after - 1)
    i = digit and after + 1 or after
  end
  return table.concat(out) .. s:sub(i)
end

local words = { { "\\%", "%" }, { "\\$", "$" }, { "$", "" }, { "%", "" }, { " or ", " , " },
  { " and ", " , " }, { "million", "*10^6" }, { "billion", "*10^9" }, { "trillion", "*10^12" } }

--- Second form: plain text in lower case, without units, spaces and braces.
function normalize.second(s)
  s = rewrite(unwrap_text(s) or s, words)
  for _, unit in ipairs(units) do s = remove_unit(s, unit) end
  s = replace_spaced(s, "^", "\\circ", "")
  if s:sub(1, 1) == "{" and s:sub(-1) == "}" then s = s:sub(2, -2) end
  s = s:find(",\\!", 1, true) and replace_spaced(s, ",\\!", "", "") or s
  local x = float(s)
  if is_whole(x) then s = ("%.0f"):format(math.floor(x + 0.5) + 0) end
  if s:find("\\", 1, true) then s = plain(s) or s end
  s = join_mixed(replace_spaced(s, "-", "", "-"))
  s = text.lower((s:gsub("[ {}]", "")))
  if normalize.is_integer(s) then
    local n = float((s:gsub(",", "")))
    s = ("%.0f"):format((n < 0 and math.ceil(n) or math.floor(n)) + 0)
  end
  return s
end

return normalize
