--- Filters over text: case, trimming, wrapping, escaping, formatting.
local V = require "rllava.jinja.value"
local show = require "rllava.jinja.show"
local ops = require "rllava.jinja.ops"
local call = require "rllava.jinja.call"
local unicode = require "rllava.unicode"
local methods = require "rllava.jinja.methods"
local format = require "rllava.jinja.format"

local filters = {}

local function given(v) return v ~= nil and v ~= V.none end
local function is_true(v) return v ~= nil and V.truth(v) end

--- A filter that takes anything as text.
local function def(name, spec, body)
  filters[name] = call.bound(name, spec, function(v, ...)
    local s = show.str(v)
    V.spend_text(#s)
    return body(s, ...)
  end)
end

def("string", "", function(s) return s end)
for _, name in ipairs { "upper", "lower", "capitalize" } do def(name, "", unicode[name]) end

--- Words begin after white space, - ( { [ <.
def("title", "", function(s)
  local out, first = {}, true
  for i, c in ipairs(unicode.chars(s)) do
    local between = unicode.is_space(c) or c:find "^[-%({%[<]$" ~= nil
    out[i] = between and c or first and unicode.upper(c) or unicode.lower(c)
    first = between
  end
  return table.concat(out)
end)

def("trim", "chars", function(s, chars)
  return unicode.strip(s, given(chars) and unicode.set(call.text(chars, "trim")) or nil, true, true)
end)

def("replace", "old! new! count", function(s, old, new, count)
  return methods.str.replace(s, { show.str(old), show.str(new), given(count) and count or -1 })
end)

def("center", "width", function(s, width) return methods.str.center(s, { width or 80 }) end)

filters.format = function(v, args, kwargs)
  if #args > 0 and kwargs then
    V.fail "format: expected arguments by place or by name, found both"
  end
  return format.percent(show.str(v), kwargs or V.tuple(args))
end

filters.join = call.bound("join", "d attribute", function(v, by, attribute)
  if given(attribute) then
    v = require("rllava.jinja.filters").map(v, {}, V.dict({ "attribute" }, { attribute }))
  end
  local parts = V.items(v)
  by = by == nil and "" or show.str(by)
  for i, e in ipairs(parts) do
    parts[i] = show.str(e)
    V.spend_text(#parts[i] + #by)
  end
  return table.concat(parts, by)
end)

local function lines_of(s) return methods.str.splitlines(s, {}) end

def("indent", "width first blank", function(s, width, first, blank)
  local by = width == nil and "    " or V.text(width)
  if not by then
    local n = math.max(0, call.integer(width, "indent: width"))
    V.spend_text(n)
    by = (" "):rep(n)
  end
  local lines = lines_of(s .. "\n")
  V.spend_text(#lines * #by)
  for i, line in ipairs(lines) do
    if i == 1 and is_true(first) or i > 1 and (line ~= "" or is_true(blank)) then
      lines[i] = by .. line
    end
  end
  return table.concat(lines, "\n")
end)

def("truncate", "length killwords end leeway", function(s, length, kill, tail, leeway)
  length = call.integer(length, "truncate: length", 255)
  tail = tail == nil and "..." or call.text(tail, "truncate: end")
  leeway = given(leeway) and call.integer(leeway, "truncate: leeway") or 5
  local keep = length - unicode.len(tail)
  if keep < 0 then
    V.fail("truncate: length: expected at least %d, found %d", unicode.len(tail), length)
  end
  if unicode.len(s) <= length + leeway then return s end
  local head = ops.slice(s, 0, keep)
  return (is_true(kill) and head or head:match "^(.*) " or head) .. tail
end)

--- Pieces that a line may end behind: words with their hyphens, white space.
local function pieces(s, hyphens)
  local list, word, space = {}, {}, nil
  local function flush()
    if #word > 0 then list[#list + 1] = table.concat(word) end
    word = {}
  end
  local chars = unicode.chars(s)
  for i, c in ipairs(chars) do
    local is_space = c:find "^%s$" ~= nil
    if is_space ~= space then flush() end
    space, word[#word + 1] = is_space, c
    local before, behind = chars[i - 1], chars[i + 1]
    local hyphen = c == "-" and hyphens and before and behind
    if hyphen and unicode.is_letter(before) and unicode.is_letter(behind) then flush() end
  end
  flush()
  return list
end

--- One line of text -> lines of at most width characters.
local function wrapped(s, width, long, hyphens)
  local lines, line, n = {}, {}, 0
  local function flush()
    while #line > 0 and line[#line]:find "^%s" do line[#line] = nil end
    if #line > 0 then lines[#lines + 1] = table.concat(line) end
    line, n = {}, 0
  end
  for _, piece in ipairs(pieces(s, hyphens)) do
    local size = unicode.len(piece)
    if n + size > width and not (piece:find "^%s" and n == 0) then
      if size > width and long and not piece:find "^%s" then
        while size > width - n do
          local room = math.max(1, width - n)
          line[#line + 1] = ops.slice(piece, 0, room)
          piece, size = ops.slice(piece, room), size - room
          flush()
        end
      else flush() end
    end
    if size > 0 and not (piece:find "^%s" and n == 0 and #lines > 0) then
      line[#line + 1], n = piece, n + size
    end
  end
  flush()
  return lines
end

local wrap_arguments = "width break_long_words wrapstring break_on_hyphens"
def("wordwrap", wrap_arguments, function(s, width, long, by, hyphens)
  width = call.integer(width, "wordwrap: width", 79)
  if width < 1 then V.fail "wordwrap: width: expected at least 1" end
  by = given(by) and call.text(by, "wordwrap: wrapstring") or "\n"
  long, hyphens = long == nil or V.truth(long), hyphens == nil or V.truth(hyphens)
  local out = {}
  for i, line in ipairs(lines_of(s)) do
    out[i] = table.concat(wrapped(line, width, long, hyphens), by)
  end
  V.spend_text(#s * (1 + #by))
  return table.concat(out, by)
end)

def("wordcount", "", function(s)
  local n, inside = 0, false
  for _, c in ipairs(unicode.chars(s)) do
    local word = unicode.is_word(c)
    if word and not inside then n = n + 1 end
    inside = word
  end
  return n
end)

filters.escape = call.bound("escape", "", ops.escape)
filters.e = filters.escape
def("forceescape", "", ops.escape)
def("safe", "", V.markup)

local entities = { lt = "<", gt = ">", amp = "&", quot = '"', apos = "'", nbsp = "\194\160" }
local function unescape(s)
  return (s:gsub("&(#?[xX]?)(%w+);", function(mark, name)
    if mark == "" then return entities[name] end
    local code = tonumber(name, mark == "#" and 10 or 16)
    return code and unicode.char(code)
  end))
end

--- Text without comments and tags, white space as single blanks, entities resolved.
def("striptags", "", function(s)
  local out, at = {}, 1
  while true do
    local i = s:find("<", at, true)
    local comment = i and s:sub(i, i + 3) == "<!--"
    local stop = i and s:find(comment and "-->" or ">", i, true)
    if not stop then break end
    out[#out + 1], at = s:sub(at, i - 1), stop + (comment and 3 or 1)
  end
  out[#out + 1] = s:sub(at)
  return unescape(table.concat(methods.str.split(table.concat(out), {}), " "))
end)

local function quoted(v, query)
  local s = show.str(v):gsub("[^%w_.~/%-]", function(c) return ("%%%02X"):format(c:byte()) end)
  return query and s:gsub("/", "%%2F"):gsub("%%20", "+") or s
end

filters.urlencode = call.bound("urlencode", "", function(v)
  if V.text(v) or not V.is_iterable(v) then return (quoted(v)) end
  local parts = {}
  for _, pair in ipairs(V.is_dict(v) and methods.dict.items(v, {}).items or V.items(v)) do
    pair = V.items(pair)
    if #pair ~= 2 then V.fail "urlencode: expected pairs of a key and a value" end
    parts[#parts + 1] = quoted(pair[1], true) .. "=" .. quoted(pair[2], true)
  end
  V.spend(#parts)
  return table.concat(parts, "&")
end)

filters.xmlattr = call.bound("xmlattr", "autospace", function(v, space)
  if not V.is_dict(v) then V.fail("xmlattr: expected a dict, found %s", V.type(v)) end
  local parts = {}
  for _, key in ipairs(V.keys(v)) do
    local value = V.get(v, key)
    if show.str(key):find "[%s/>=]" then
      V.fail("xmlattr: expected a key without spaces, / > =, found '%s'", show.str(key))
    end
    if value ~= V.none and not V.is_undefined(value) then
      parts[#parts + 1] = ops.escape(key).text .. '="' .. ops.escape(value).text .. '"'
    end
  end
  local text = table.concat(parts, " ")
  return (text ~= "" and (space == nil or V.truth(space))) and " " .. text or text
end)

filters.filesizeformat = call.bound("filesizeformat", "binary", function(v, binary)
  local bytes = V.number(v) or tonumber(V.text(v) or "")
  if not bytes then V.fail("filesizeformat: expected a number, found %s", V.type(v)) end
  local base, unit = is_true(binary) and 1024 or 1000, is_true(binary) and "iB" or "B"
  if bytes == 1 then return "1 Byte" end
  if bytes < base then return ("%d Bytes"):format(bytes) end
  for i, prefix in ipairs { "k", "M", "G", "T", "P", "E", "Z", "Y" } do
    if i == 1 and base == 1024 then prefix = "K" end
    if bytes < base ^ (i + 1) or prefix == "Y" then
      return V.printf("%.1f", bytes / base ^ i) .. " " .. prefix .. unit
    end
  end
end)

filters.pprint = call.bound("pprint", "", function(v) return show.pretty(v) end)

return filters
