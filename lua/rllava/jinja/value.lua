--- What a template computes with: Python's values over Lua's.
---   str: string; bool: boolean; none: json.null; int, float: numbers, whole floats and integers
---   beyond 2^53 as json.number; list: json.array; dict: table from json or Dict; the rest: below.
local ffi = require "ffi"
local json = require "rllava.json"
local unicode = require "rllava.unicode"

ffi.cdef "int snprintf(char *text, size_t room, const char *format, ...);"

local V = { none = json.null }

--- Stops the rendering with a message; the renderer adds template and line.
function V.fail(message, ...)
  error({ jinja = select("#", ...) > 0 and message:format(...) or message }, 0)
end

-- The work that the template that runs now may still do: values made, 16 bytes of text count as
-- one.
local left = 0

--- Sets the amount of work for one rendering.
function V.allow(work) left = work end

--- Counts n pieces of work.  Refuses what goes beyond the limit.
function V.spend(n)
  left = left - n
  if left < 0 then
    V.fail "expected a template that ends soon, found more work than the limit allows"
  end
end

--- Counts a text of n bytes that is about to be made.
function V.spend_text(n) V.spend(n / 16) end

local Tuple, Dict, Markup, Undefined, Iterator, View, Range, Object = {}, {}, {}, {}, {}, {}, {}, {}
local kinds = { [Tuple] = "tuple", [Dict] = "dict", [Markup] = "markup", [Undefined] = "undefined",
  [Iterator] = "generator", [View] = "view", [Range] = "range", [Object] = "object" }

--- "str", "markup", "int", "float", "bool", "none", "undefined", "list", "tuple", "dict",
--- "generator", "view", "range" or "object".
function V.kind(v)
  local t = type(v)
  if t == "string" then return "str" end
  if t == "table" then
    if v == json.null then return "none" end
    local kind = kinds[getmetatable(v)]
    if kind then return kind end
    if json.is_number(v) then return v.text:find "[%.eEn]" and "float" or "int" end
    return json.is_array(v) and "list" or "dict"
  end
  if t == "boolean" then return "bool" end
  if t == "number" then
    return v == math.floor(v) and math.abs(v) < math.huge and "int" or "float"
  end
  V.fail("expected text, numbers, booleans and tables in the template's variables, found a %s", t)
end
local kind = V.kind

local names = { none = "NoneType", markup = "str" }

--- The name of a value's type as Python has it.
function V.type(v)
  local k = kind(v)
  return (k == "object" or k == "view") and v.class or names[k] or k
end

function V.is_object(v) return getmetatable(v) == Object end
function V.is_dict(v) return kind(v) == "dict" end
function V.is_undefined(v) return getmetatable(v) == Undefined end

function V.list(items) return json.array(items) end
function V.tuple(items) return setmetatable(items, Tuple) end
function V.markup(text) return setmetatable({ text = text }, Markup) end

--- A value that is missing; why: for the message of whoever needs it.
function V.undefined(why, ...)
  return setmetatable({ why = select("#", ...) > 0 and why:format(...) or why }, Undefined)
end

--- Raises because v, an undefined value, was needed.
function V.need(v) V.fail("expected a value, found an undefined one: %s", v.why) end

--- A value that is read once: next() -> the next element, or nil.
function V.iterator(next) return setmetatable({ next = next }, Iterator) end

--- d.keys(), d.values(), d.items().
function V.view(class, items) return setmetatable({ class = class, items = items }, View) end

function V.range(start, stop, step)
  local n = math.max(0, math.ceil((stop - start) / step))
  return setmetatable({ start = start, stop = stop, step = step, n = n }, Range)
end

--- Anything with attributes or a call: class, attr(name) -> value or nil, call(args, kwargs).
function V.object(class, fields)
  fields.class = class
  return setmetatable(fields, Object)
end

--- A float, which stays one if it is whole.
function V.float(x)
  if x == math.floor(x) and math.abs(x) < math.huge then return json.number(V.float_text(x)) end
  return x
end

--- A number by a printf format for doubles, rounded as C does (LuaJIT's own rounds 2.25 to 2.3).
function V.printf(pattern, x)
  local text = ffi.new "char[512]"
  local n = ffi.C.snprintf(text, 512, pattern, ffi.cast("double", x))
  return ffi.string(text, math.min(n, 511))
end

--- A float as Python's repr: the shortest decimal that reads back, 1e+16 from 16 digits on.
function V.float_text(x)
  if x ~= x then return "nan" end
  if math.abs(x) == math.huge then return x > 0 and "inf" or "-inf" end
  local text
  for digits = 0, 16 do
    text = ("%." .. digits .. "e"):format(x)
    if tonumber(text) == x then break end
  end
  local sign, whole, part, exponent = text:match "^(-?)(%d)%.?(%d*)e([-+]%d+)$"
  local e, all = tonumber(exponent), whole .. part
  if e < -4 or e >= 16 then
    return sign .. whole .. (part ~= "" and "." .. part or "")
      .. ("e%s%02d"):format(exponent:sub(1, 1), math.abs(e))
  end
  if e < 0 then return sign .. "0." .. ("0"):rep(-e - 1) .. all end
  all = all .. ("0"):rep(e + 1 - #all)
  return sign .. all:sub(1, e + 1) .. "." .. (#all > e + 1 and all:sub(e + 2) or "0")
end

--- The number that v is (booleans count as 0 and 1), or nil.
function V.number(v)
  if type(v) == "number" then return v end
  if type(v) == "boolean" then return v and 1 or 0 end
  return json.is_number(v) and v.value or nil
end

--- The integer that v is, or nil.
function V.integer(v)
  local k = kind(v)
  return (k == "int" or k == "bool") and V.number(v) or nil
end

--- The string of a str or of marked-up text, or nil.
function V.text(v)
  if type(v) == "string" then return v end
  return getmetatable(v) == Markup and v.text or nil
end

--- What a key of a dict is compared by.  Refuses lists and dicts.
local function hash(v)
  local k = kind(v)
  if k == "str" then return v end
  if k == "markup" then return v.text end
  if k == "none" then return v end
  if k == "tuple" then
    local parts = { "\0t" }
    for i, e in ipairs(v) do parts[i + 1] = #tostring(hash(e)) .. ":" .. tostring(hash(e)) end
    return table.concat(parts)
  end
  if k == "int" and json.is_number(v) then return "\0i" .. v.text end
  local number = V.number(v)
  if number then return number == number and number or "\0nan" end
  if k == "list" or k == "dict" then V.fail("expected a key that can be hashed, found a %s", k) end
  return v
end

--- A dict from lists of keys and values; a key that comes again takes the later value.
function V.dict(keys, values)
  local d = setmetatable({ at = {}, keys = {}, values = {} }, Dict)
  for i, key in ipairs(keys or {}) do V.put(d, key, values[i]) end
  return d
end

--- Adds a member to a dict that the renderer itself made.
function V.put(d, key, value)
  local h = hash(key)
  local i = d.at[h]
  if not i then
    i = #d.keys + 1
    d.at[h], d.keys[i] = i, key
  end
  d.values[i] = value
end

--- d[key], or nil.
function V.get(d, key)
  if getmetatable(d) == Dict then
    local i = d.at[hash(key)]
    return i and d.values[i]
  end
  return rawget(d, hash(key))
end

--- The keys of a dict, in order; its values in the same.
function V.keys(d)
  local keys = getmetatable(d) == Dict and d.keys or json.keys(d)
  V.spend(#keys)
  return keys
end

function V.values(d)
  local list = {}
  for i, key in ipairs(V.keys(d)) do list[i] = V.get(d, key) end
  return list
end

--- Is v true in a condition?
function V.truth(v)
  local k = kind(v)
  if k == "bool" then return v end
  if k == "str" then return v ~= "" end
  if k == "none" or k == "undefined" then return false end
  if k == "int" or k == "float" then return V.number(v) ~= 0 end
  if k == "list" or k == "tuple" then return #v > 0 end
  if k == "dict" then return next(getmetatable(v) == Dict and v.keys or v) ~= nil end
  if k == "markup" then return v.text ~= "" end
  if k == "view" then return #v.items > 0 end
  return k ~= "range" or v.n > 0
end

--- The number of elements of v.  Refuses what has none.
function V.len(v)
  local k = kind(v)
  if k == "str" or k == "markup" then
    V.spend_text(#V.text(v))
    return unicode.len(V.text(v))
  end
  if k == "list" or k == "tuple" then return #v end
  if k == "dict" then return #V.keys(v) end
  if k == "undefined" then return 0 end
  if k == "range" then return v.n end
  if k == "view" then return #v.items end
  if k == "object" and v.length then return v.length() end
  V.fail("expected a value with a length, found %s", V.type(v))
end

local function from_list(items)
  local i = 0
  return function()
    i = i + 1
    return items[i]
  end
end

--- The characters of a text; every one counts as work.
local function characters(s)
  V.spend(#s)
  return unicode.chars(s)
end

--- v's elements one by one: a function that gives the next, or nil at the end.
function V.iterate(v)
  local k = kind(v)
  if k == "list" or k == "tuple" then return from_list(v) end
  if k == "dict" then return from_list(V.keys(v)) end
  if k == "generator" then return v.next end
  if k == "view" then return from_list(v.items) end
  if k == "undefined" then return function() end end
  if k == "str" or k == "markup" then return from_list(characters(V.text(v))) end
  if k == "range" then
    local i = -1
    return function()
      i = i + 1
      if i < v.n then return v.start + i * v.step end
    end
  end
  if k == "object" and v.next then return v.next end
  V.fail("expected something to iterate over, found %s", V.type(v))
end

function V.is_iterable(v)
  local k = kind(v)
  if k == "object" then return v.next ~= nil end
  return not (k == "int" or k == "float" or k == "bool" or k == "none")
end

--- All elements of v in a plain Lua list.
function V.items(v)
  local list, n = {}, 0
  for e in V.iterate(v) do
    V.spend(1)
    n = n + 1
    list[n] = e
  end
  return list
end

return V
