--- Filters that turn one value into another: defaults, numbers, tojson.
local V = require "rllava.jinja.value"
local show = require "rllava.jinja.show"
local ops = require "rllava.jinja.ops"
local get = require "rllava.jinja.get"
local call = require "rllava.jinja.call"
local unicode = require "rllava.unicode"

local filters = {}

local function def(name, spec, body) filters[name] = call.bound(name, spec, body) end
local function given(v) return v ~= nil and v ~= V.none end
local function is_true(v) return v ~= nil and V.truth(v) end

def("default", "default_value boolean", function(v, default, boolean)
  if V.is_undefined(v) or is_true(boolean) and not V.truth(v) then
    return default == nil and "" or default
  end
  return v
end)
filters.d = filters.default

def("attr", "name!", function(v, name)
  name = call.text(name, "attr")
  if V.is_dict(v) and V.get(v, name) ~= nil then
    return V.undefined("a dict has no attribute '%s'", name)
  end
  return get.attr(v, name)
end)

def("abs", "", function(v)
  if not V.number(v) then ops.negative(v) end
  return V.number(v) < 0 and ops.negative(v) or ops.binary("+", 0, v)
end)

--- The integer that a text spells in a base, or nil.
local function spelled(text, base)
  local sign, digits = unicode.trim(text):gsub("_", ""):match "^([-+]?)(%w+)$"
  if not digits then return nil end
  local prefix = ({ [2] = "^0[bB]", [8] = "^0[oO]", [16] = "^0[xX]" })[base]
  if prefix then digits = digits:gsub(prefix, "") end
  if base == 10 then
    if not digits:find "^%d+$" then return nil end
    local n = require("rllava.jinja.big").integer(digits)
    return sign == "-" and ops.negative(n) or n
  end
  local n = tonumber(digits, base)
  return n and (sign == "-" and -n or n)
end

--- A float from text as Python reads it, or nil.
local function float_of(text)
  text = unicode.trim(text)
  if text:find "^[-+]?%d[%d_]*%.?[%d_]*[eE]?[-+]?%d*$" or text:find "^[-+]?%.%d+[eE]?[-+]?%d*$" then
    return tonumber((text:gsub("_", "")))
  end
  local word = text:lower():match "^[-+]?(%a+)$"
  if word == "inf" or word == "infinity" then
    return text:sub(1, 1) == "-" and -math.huge or math.huge
  end
  return word == "nan" and 0 / 0 or nil
end

local function truncated(x) return x < 0 and math.ceil(x) + 0 or math.floor(x) end

def("int", "default base", function(v, default, base)
  if default == nil then default = 0 end
  base = call.integer(base, "int: base", 10)
  if base ~= 0 and (base < 2 or base > 36) then
    V.fail("int: base: expected 2 to 36, found %d", base)
  end
  if V.is_undefined(v) then V.need(v) end
  local text, n = V.text(v), V.number(v)
  if text then
    n = spelled(text, base == 0 and 10 or base)
    if n then return n end
    n = float_of(text)
  elseif V.kind(v) == "int" then return v end
  if not n or n ~= n or math.abs(n) == math.huge then return default end
  return truncated(n)
end)

def("float", "default", function(v, default)
  if V.is_undefined(v) then V.need(v) end
  local n = V.number(v) or V.text(v) and float_of(V.text(v))
  if not n then return default == nil and V.float(0) or default end
  return V.float(n)
end)

def("round", "precision method", function(v, precision, method)
  precision = call.integer(precision, "round: precision", 0)
  method = method == nil and "common" or V.text(method)
  local x = V.number(v)
  if V.is_undefined(v) then V.need(v) end
  if not x then V.fail("round: expected a number, found %s", V.type(v)) end
  if math.abs(precision) > 300 then V.fail "round: precision: expected at most 300" end
  local scale = 10 ^ math.abs(precision)
  if method == "common" then
    if V.integer(v) and precision >= 0 then return ops.binary("+", 0, v) end
    if precision >= 0 then
      return V.float(tonumber(V.printf("%." .. math.min(precision, 99) .. "f", x)))
    end
    local whole = tonumber(V.printf("%.0f", x / scale)) * scale
    return V.integer(v) and whole or V.float(whole)
  end
  local cut = ({ ceil = math.ceil, floor = math.floor })[method]
  if not cut then V.fail "round: method: expected 'common', 'ceil' or 'floor'" end
  if precision < 0 then return V.float(cut(x / scale) * scale) end
  return V.float(cut(x * scale) / scale)
end)

local json_arguments = "ensure_ascii indent separators sort_keys"
def("tojson", json_arguments, function(v, ascii, indent, separators, sort)
  local options = { ascii = is_true(ascii), sort = is_true(sort), comma = ", ", colon = ": " }
  if given(indent) then
    local n = V.integer(indent)
    if n and n > 1000 then V.fail "tojson: indent: expected at most 1000" end
    options.indent = n and (" "):rep(math.max(0, n)) or call.text(indent, "tojson: indent")
    options.comma = ","
  end
  if given(separators) then
    local pair = V.items(separators)
    if #pair ~= 2 then V.fail("tojson: separators: expected two texts, found %d", #pair) end
    options.comma = call.text(pair[1], "separators")
    options.colon = call.text(pair[2], "separators")
  end
  return show.json(v, options)
end)

return filters
