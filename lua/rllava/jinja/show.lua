--- Values as text: str, repr and pprint as Python prints them, and tojson.
local json = require "rllava.json"
local unicode = require "rllava.unicode"
local V = require "rllava.jinja.value"

local show = {}
local deepest = 600                        -- levels of nesting; JSON itself allows 512

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\" }

-- Format, private, space and surrogate code points that repr escapes.
local hidden = {
  { 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x600, 0x605 }, { 0x61c, 0x61c }, { 0x6dd, 0x6dd },
  { 0x70f, 0x70f }, { 0x890, 0x891 }, { 0x8e2, 0x8e2 }, { 0x1680, 0x1680 }, { 0x180e, 0x180e },
  { 0x2000, 0x200f }, { 0x2028, 0x202f }, { 0x205f, 0x206f }, { 0x3000, 0x3000 },
  { 0xd800, 0xf8ff }, { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb }, { 0xfffe, 0xffff },
  { 0x110bd, 0x110bd }, { 0x110cd, 0x110cd }, { 0x13430, 0x13438 }, { 0x1bca0, 0x1bca3 },
  { 0x1d173, 0x1d17a }, { 0x1fffe, 0x1ffff }, { 0xe0000, 0xe00ff }, { 0xf0000, 0x10ffff },
}

--- Does repr show the character itself?
function show.printable(c)
  local code = unicode.code(c)
  if code < 0x7f then return code >= 0x20 end
  for _, range in ipairs(hidden) do
    if code < range[1] then return true end
    if code <= range[2] then return false end
  end
  return true
end

local function escape(c)
  if escapes[c] then return escapes[c] end
  if show.printable(c) then return c end
  local code = unicode.code(c)
  return (code < 0x100 and "\\x%02x" or code < 0x10000 and "\\u%04x" or "\\U%08x"):format(code)
end

local function quoted(s)
  local mark = s:find("'", 1, true) and not s:find('"', 1, true) and '"' or "'"
  s = s:gsub("[^\32-\90%[%]\94-\126][\128-\191]*", escape)
  if mark == "'" then s = s:gsub("'", "\\'") end
  return mark .. s .. mark
end

local repr
local function joined(open, items, close, depth)
  local out = {}
  for i, e in ipairs(items) do out[i] = repr(e, depth) end
  return open .. table.concat(out, ", ") .. close
end

local function pairs_of(d, depth)
  local out = {}
  for i, key in ipairs(V.keys(d)) do
    out[i] = repr(key, depth) .. ": " .. repr(V.get(d, key), depth)
  end
  return "{" .. table.concat(out, ", ") .. "}"
end

local writers = {
  str = quoted,
  markup = function(v) return "Markup(" .. quoted(v.text) .. ")" end,
  bool = function(v) return v and "True" or "False" end,
  none = function() return "None" end,
  undefined = function() return "Undefined" end,
  int = function(v) return json.is_number(v) and v.text or ("%d"):format(v) end,
  float = function(v) return json.is_number(v) and V.float_text(v.value) or V.float_text(v) end,
  list = function(v, depth) return joined("[", v, "]", depth) end,
  tuple = function(v, depth) return joined("(", v, #v == 1 and ",)" or ")", depth) end,
  dict = pairs_of,
  view = function(v, depth) return v.class .. "([" .. joined("", v.items, "", depth) .. "])" end,
  range = function(v)
    return ("range(%d, %d%s)"):format(v.start, v.stop, v.step ~= 1 and ", " .. v.step or "")
  end,
  generator = function() return "<generator object>" end,
  object = function(v, depth) return v.show and v.show(depth) or "<" .. v.class .. ">" end,
}

function repr(v, depth)
  depth = (depth or 0) + 1
  if depth > deepest then
    V.fail("expected values nested at most %d deep, found deeper ones", deepest)
  end
  local text = writers[V.kind(v)](v, depth)
  V.spend_text(#text + 16)
  return text
end

--- A value as it prints inside a list.
function show.repr(v) return repr(v) end

--- A value as it prints.
function show.str(v)
  if type(v) == "string" then return v end
  local kind = V.kind(v)
  if kind == "markup" then return v.text end
  if kind == "undefined" then return "" end
  return repr(v)
end

--- A dict's keys, sorted by their text.
local function sorted_keys(d)
  local keys = {}
  for i, key in ipairs(V.keys(d)) do keys[i] = key end
  table.sort(keys, function(a, b) return show.str(a) < show.str(b) end)
  return keys
end

--- A copy with the keys of every dict in order.
local function sorted(v, depth)
  local kind = V.kind(v)
  if depth > deepest then
    V.fail("expected values nested at most %d deep, found deeper ones", deepest)
  end
  V.spend(1)
  if kind == "list" or kind == "tuple" then
    local copy = {}
    for i, e in ipairs(v) do copy[i] = sorted(e, depth + 1) end
    return kind == "list" and V.list(copy) or V.tuple(copy)
  end
  if kind ~= "dict" then return v end
  local keys, values = sorted_keys(v), {}
  for i, key in ipairs(keys) do values[i] = sorted(V.get(v, key), depth + 1) end
  return V.dict(keys, values)
end

--- Lines of a value at a column; room: characters that must stay free behind it.
local function broken(v, column, room)
  local text, kind = repr(v), V.kind(v)
  local fits = unicode.len(text) <= 80 - column - room
  if fits or kind ~= "dict" and kind ~= "list" and kind ~= "tuple" then return text end
  local parts = {}
  for i, e in ipairs(kind == "dict" and V.keys(v) or v) do
    local free = i == (kind == "dict" and #V.keys(v) or #v) and room + 1 or 1
    if kind == "dict" then
      local key = repr(e)
      parts[i] = key .. ": " .. broken(V.get(v, e), column + 3 + unicode.len(key), free)
    else parts[i] = broken(e, column + 1, free) end
  end
  local open, close = text:sub(1, 1), kind == "tuple" and #v == 1 and ",)" or text:sub(-1)
  return open .. table.concat(parts, ",\n" .. (" "):rep(column + 1)) .. close
end

--- A value as pprint prints it: keys in order, lines of at most 80 characters where they can be
--- cut.
function show.pretty(v) return broken(sorted(v, 1), 0, 0) end

local json_escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t", ["\b"] = "\\b", ["\f"] = "\\f" }

local function json_string(s, ascii)
  s = s:gsub('[%z\1-\31"\\]', function(c)
    return json_escapes[c] or ("\\u%04x"):format(c:byte())
  end)
  if ascii then
    s = s:gsub("[\194-\244][\128-\191]+", function(c)
      local code = unicode.code(c)
      if code < 0x10000 then return ("\\u%04x"):format(code) end
      code = code - 0x10000
      return ("\\u%04x\\u%04x"):format(0xd800 + math.floor(code / 1024), 0xdc00 + code % 1024)
    end)
  end
  return '"' .. s .. '"'
end

local constants = { inf = "Infinity", ["-inf"] = "-Infinity", nan = "NaN", True = "true",
  False = "false", None = "null" }

--- A key of an object: text, or what Python makes of a number, a boolean or None.
local function json_key(key, options)
  local text = V.text(key)
  if text then return json_string(text, options.ascii) end
  local kind = V.kind(key)
  if kind == "int" or kind == "float" or kind == "bool" or kind == "none" then
    local s = show.str(key)
    return '"' .. (constants[s] or s) .. '"'
  end
  V.fail("tojson: expected a key of text, number, boolean or None, found %s", V.type(key))
end

local write
local function container(parts, open, close, options, depth)
  if #parts == 0 then return open .. close end
  local indent = options.indent
  if not indent then return open .. table.concat(parts, options.comma) .. close end
  V.spend_text(#indent * depth * (#parts + 1))
  local inner, outer = "\n" .. indent:rep(depth), "\n" .. indent:rep(depth - 1)
  return open .. inner .. table.concat(parts, options.comma .. inner) .. outer .. close
end

local function members(v, options, depth)
  local keys, parts = options.sort and sorted_keys(v) or V.keys(v), {}
  for i, key in ipairs(keys) do
    parts[i] = json_key(key, options) .. options.colon .. write(V.get(v, key), options, depth)
  end
  return parts
end

function write(v, options, depth)
  if depth > deepest then
    V.fail("tojson: expected values nested at most %d deep, found deeper ones", deepest)
  end
  local kind, text = V.kind(v)
  if kind == "str" or kind == "markup" then text = json_string(V.text(v), options.ascii)
  elseif kind == "list" or kind == "tuple" then
    local parts = {}
    for i, e in ipairs(v) do parts[i] = write(e, options, depth + 1) end
    text = container(parts, "[", "]", options, depth + 1)
  elseif kind == "dict" then
    text = container(members(v, options, depth + 1), "{", "}", options, depth + 1)
  elseif kind == "int" or kind == "float" or kind == "bool" or kind == "none" then
    local s = show.str(v)
    text = constants[s] or s
  else
    local found = kind == "undefined" and "an undefined one: " .. v.why or V.type(v)
    V.fail("tojson: expected a value that JSON can hold, found %s", found)
  end
  V.spend_text(#text + 16)
  return text
end

--- JSON of a value.  options: ascii (escape all else), indent (text of one level, or nil: one
--- line), comma, colon (separators), sort (keys).
function show.json(v, options) return write(v, options, 0) end

return show
