--- Methods of text, as Python has them.
local unicode = require "rllava.unicode"
local V = require "rllava.jinja.value"
local show = require "rllava.jinja.show"
local ops = require "rllava.jinja.ops"
local call = require "rllava.jinja.call"
local format = require "rllava.jinja.format"

local str = {}

--- A method of text: body(s, ...).
local function text(name, spec, body)
  str[name] = call.bound(name, spec, function(v, ...)
    local s = V.text(v)
    V.spend_text(#s)
    return body(s, ...)
  end)
end

for _, name in ipairs { "upper", "lower", "title", "capitalize", "swapcase", "casefold" } do
  text(name, "", unicode[name])
end

local function stripper(name, left, right)
  text(name, "chars", function(s, chars)
    local drop = chars and chars ~= V.none and unicode.set(call.text(chars, name)) or nil
    return unicode.strip(s, drop, left, right)
  end)
end
stripper("strip", true, true)
stripper("lstrip", true, false)
stripper("rstrip", false, true)

--- The part of s between two positions in characters, and how many characters come before it.
local function part(s, from, to)
  if from == nil and to == nil then return s, 0 end
  local n = unicode.len(s)
  local first = call.integer(from ~= V.none and from or nil, "start", 0)
  if first < 0 then first = math.max(0, first + n) end
  if first > n then return nil end
  return ops.slice(s, from or V.none, to or V.none), first
end

local function affix(name, at_end)
  text(name, "fix! start end", function(s, fix, from, to)
    local piece = part(s, from, to)
    local list = V.kind(fix) == "tuple" and fix or { fix }
    for _, f in ipairs(list) do
      f = call.text(f, name)
      local there = piece and (at_end and (f == "" and f or piece:sub(-#f)) or piece:sub(1, #f))
      if there == f then return true end
    end
    return false
  end)
end
affix("startswith", false)
affix("endswith", true)

local function last(s, needle)
  if needle == "" then return #s + 1 end
  local i = ops.find(s:reverse(), needle:reverse())
  return i and #s - i - #needle + 2
end

local function finder(name, find, strict)
  text(name, "sub! start end", function(s, sub, from, to)
    local piece, before = part(s, from, to)
    local i = piece and find(piece, call.text(sub, name))
    if i then return before + unicode.len(piece:sub(1, i - 1)) end
    if strict then V.fail("%s: expected a text that holds %s, found none", name, show.repr(sub)) end
    return -1
  end)
end
finder("find", ops.find)
finder("rfind", last)
finder("index", ops.find, true)
finder("rindex", last, true)

text("count", "sub! start end", function(s, sub, from, to)
  local piece = part(s, from, to)
  sub = call.text(sub, "count")
  if not piece then return 0 end
  if sub == "" then return unicode.len(piece) + 1 end
  local n, at = 0, 1
  while true do
    local i = ops.find(piece, sub, at)
    if not i then return n end
    n, at = n + 1, i + #sub
  end
end)

--- s with the first count occurrences of old replaced.
local function replace(s, old, new, count)
  old, new = call.text(old, "replace"), call.text(new, "replace")
  count = call.integer(count ~= V.none and count or nil, "count", -1)
  if count < 0 then count = math.huge end
  if old == "" then
    local out = unicode.chars(s)
    V.spend_text((#new + 1) * math.min(count, #out + 1) + #s)
    V.spend(#out)
    for i, c in ipairs(out) do out[i] = (i <= count and new or "") .. c end
    return table.concat(out) .. (#out < count and new or "")
  end
  local out, at, n = {}, 1, 0
  while n < count do
    local i = ops.find(s, old, at)
    if not i then break end
    V.spend_text(#new + 16)
    out[#out + 1], out[#out + 2] = s:sub(at, i - 1), new
    at, n = i + #old, n + 1
  end
  out[#out + 1] = s:sub(at)
  return table.concat(out)
end
text("replace", "old! new! count", replace)

--- Words between white space; at most count cuts, from the left or the right.
local function split_space(s, count, from_right)
  local words, cuts = {}, 0
  local rest = unicode.strip(s, nil, not from_right, from_right)
  while rest ~= "" do
    if cuts == count then
      words[#words + 1] = rest
      break
    end
    local from, to = 1, #rest
    if from_right then
      while to > 0 do
        local at = to
        while at > 1 and rest:byte(at) >= 128 and rest:byte(at) < 192 do at = at - 1 end
        if unicode.is_space(rest:sub(at, to)) then break end
        to = at - 1
      end
      words[#words + 1], rest = rest:sub(to + 1), unicode.strip(rest:sub(1, to), nil, false, true)
    else
      while from <= to do
        local c = rest:match("^.[\128-\191]*", from)
        if unicode.is_space(c) then break end
        from = from + #c
      end
      words[#words + 1] = rest:sub(1, from - 1)
      rest = unicode.strip(rest:sub(from), nil, true, false)
    end
    V.spend_text(#rest + 16)
    cuts = cuts + 1
  end
  return words
end

local function split_by(s, mark, count, find)
  local words, from_right = {}, find == last
  while count ~= 0 do
    local i = find(s, mark)
    if not i then break end
    words[#words + 1] = from_right and s:sub(i + #mark) or s:sub(1, i - 1)
    s = from_right and s:sub(1, i - 1) or s:sub(i + #mark)
    V.spend_text(#s + 16)
    count = count - 1
  end
  words[#words + 1] = s
  return words
end

local function splitter(name, from_right)
  text(name, "sep maxsplit", function(s, sep, count)
    count = call.integer(count, "maxsplit", -1)
    local words
    if sep == nil or sep == V.none then words = split_space(s, count, from_right)
    else
      if call.text(sep, name) == "" then
        V.fail("%s: expected a separator, found an empty text", name)
      end
      words = split_by(s, V.text(sep), count, from_right and last or ops.find)
    end
    if from_right then
      for i = 1, math.floor(#words / 2) do
        words[i], words[#words + 1 - i] = words[#words + 1 - i], words[i]
      end
    end
    return V.list(words)
  end)
end
splitter("split", false)
splitter("rsplit", true)

local line_ends = unicode.set "\n\r\v\f\28\29\30\194\133\226\128\168\226\128\169"
text("splitlines", "keepends", function(s, keep)
  local lines, line, chars = {}, {}, unicode.chars(s)
  V.spend(#chars)
  local i = 1
  while i <= #chars do
    local c = chars[i]
    if c == "\r" and chars[i + 1] == "\n" then c, i = "\r\n", i + 1 end
    if c == "\r\n" or line_ends[c] then
      lines[#lines + 1] = table.concat(line) .. (keep and V.truth(keep) and c or "")
      line = {}
    else line[#line + 1] = c end
    i = i + 1
  end
  if #line > 0 then lines[#lines + 1] = table.concat(line) end
  return V.list(lines)
end)

local function parter(name, find)
  text(name, "sep!", function(s, sep)
    local i = find(s, call.text(sep, name))
    if sep == "" then V.fail("%s: expected a separator, found an empty text", name) end
    if not i then return V.tuple(find == last and { "", "", s } or { s, "", "" }) end
    return V.tuple { s:sub(1, i - 1), sep, s:sub(i + #sep) }
  end)
end
parter("partition", ops.find)
parter("rpartition", last)

text("removeprefix", "fix!", function(s, fix)
  fix = call.text(fix, "removeprefix")
  return s:sub(1, #fix) == fix and s:sub(#fix + 1) or s
end)
text("removesuffix", "fix!", function(s, fix)
  fix = call.text(fix, "removesuffix")
  return fix ~= "" and s:sub(-#fix) == fix and s:sub(1, -#fix - 1) or s
end)

local function filler(name, place)
  text(name, "width! by", function(s, width, by)
    width, by = call.integer(width, "width"), by and call.text(by, name) or " "
    if unicode.len(by) ~= 1 then
      V.fail("%s: expected one character to fill with, found %s", name, show.repr(by))
    end
    local missing = math.max(0, width - unicode.len(s))
    V.spend_text(missing * #by)
    local left = place(missing, width)
    return by:rep(left) .. s .. by:rep(missing - left)
  end)
end
filler("ljust", function() return 0 end)
filler("rjust", function(missing) return missing end)
filler("center", function(missing, width)
  return math.floor(missing / 2) + (missing % 2 == 1 and width % 2 == 1 and 1 or 0)
end)
text("zfill", "width!", function(s, width)
  local missing = math.max(0, call.integer(width, "width") - unicode.len(s))
  V.spend_text(missing)
  local sign, rest = s:match "^([-+]?)(.*)$"
  return sign .. ("0"):rep(missing) .. rest
end)
text("expandtabs", "tabsize", function(s, size)
  size = call.integer(size, "tabsize", 8)
  local out, column = {}, 0
  for i, c in ipairs(unicode.chars(s)) do
    out[i] = c
    if c == "\t" then
      local n = size > 0 and size - column % size or 0
      V.spend_text(n)
      out[i], column = (" "):rep(n), column + n
    else column = (c == "\n" or c == "\r") and 0 or column + 1 end
  end
  return table.concat(out)
end)

--- join: the elements must be text.
text("join", "items!", function(s, items)
  local parts = V.items(items)
  for i, e in ipairs(parts) do
    if not V.text(e) then V.fail("join: element %d: expected text, found %s", i - 1, V.type(e)) end
    parts[i] = V.text(e)
    V.spend_text(#parts[i] + #s)
  end
  return table.concat(parts, s)
end)

--- Do all characters, at least one, satisfy the test?
local function all(name, test)
  text(name, "", function(s)
    for _, c in ipairs(unicode.chars(s)) do if not test(c) then return false end end
    return s ~= "" or name == "isascii" or name == "isprintable"
  end)
end
local is_letter, is_number = unicode.is_letter, unicode.is_number
all("isalpha", is_letter)
all("isalnum", function(c) return is_letter(c) or is_number(c) end)
all("isdigit", unicode.is_digit)
all("isdecimal", unicode.is_decimal)
all("isnumeric", is_number)
all("isspace", unicode.is_space)
all("isascii", unicode.ascii)
all("isprintable", show.printable)
text("isidentifier", "", function(s)
  for _, c in ipairs(unicode.chars(s)) do if not unicode.is_word(c) then return false end end
  return s:find "^%D" ~= nil
end)

local function case_test(name, wrong, right)
  text(name, "", function(s)
    local found = false
    for _, c in ipairs(unicode.chars(s)) do
      if wrong(c) then return false end
      found = found or right(c)
    end
    return found
  end)
end
case_test("islower", unicode.is_upper, unicode.is_lower)
case_test("isupper", unicode.is_lower, unicode.is_upper)
text("istitle", "", function(s) return s == unicode.title(s) and s:lower() ~= s:upper() end)

function str.format(v, args, kwargs) return format.braces(V.text(v), args, kwargs) end
text("format_map", "map!", function(s, map) return format.braces(s, {}, map) end)

return str
