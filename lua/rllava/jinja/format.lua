--- Text made by a format: "%s %05.1f" % values, and "{0:>8} {name}".format(...).
local unicode = require "rllava.unicode"
local V = require "rllava.jinja.value"
local show = require "rllava.jinja.show"
local get = require "rllava.jinja.get"

local format = {}
local widest = 65536

local function width_of(text, what)
  local n = tonumber(text)
  if n and n > widest then
    V.fail("%s: expected a width of at most %d, found %s", what, widest, text)
  end
  return n
end

--- Fills s to width characters: align "<", ">", "^" or "=" (after the sign).
local function fill(s, width, align, by)
  local missing = (width or 0) - unicode.len(s)
  if missing <= 0 then return s end
  V.spend_text(missing)
  if align == "<" then return s .. by:rep(missing) end
  if align == "^" then
    local left = math.floor(missing / 2)
    return by:rep(left) .. s .. by:rep(missing - left)
  end
  local sign, rest = "", s
  if align == "=" then sign, rest = s:match "^([-+ ]?)(.*)$" end
  return sign .. by:rep(missing) .. rest
end

local function decimal(v) return (show.repr(v == true and 1 or v == false and 0 or v)) end

--- Digits of an integer in base 16 or 8, with its sign.
local function in_base(v, code)
  local n = V.number(v)
  if math.abs(n) > 2 ^ 53 then
    V.fail("%%%s: expected an integer of at most 2^53, found %s", code, show.repr(v))
  end
  if code == "b" then
    local digits, rest = "", math.abs(n)
    repeat digits, rest = rest % 2 .. digits, math.floor(rest / 2) until rest == 0
    return (n < 0 and "-" or "") .. digits
  end
  return (n < 0 and "-" or "") .. ("%" .. code):format(math.abs(n))
end

--- A number by a printf code of C.
local function by_code(v, code, precision, sharp)
  local x = V.number(v)
  if not x then V.fail("%%%s: expected a number, found %s", code, V.type(v)) end
  if code == "d" or code == "i" or code == "u" then
    if V.integer(v) then return decimal(v) end
    if x ~= x or math.abs(x) == math.huge then
      V.fail("%%d: expected a finite number, found %s", V.float_text(x))
    end
    return V.printf("%.0f", x < 0 and math.ceil(x) or math.floor(x))
  end
  if code:find "[xXobB]" then
    if not V.integer(v) then V.fail("%%%s: expected an integer, found %s", code, V.type(v)) end
    local text = in_base(v, code)
    if sharp then text = text:gsub("^(-?)", "%10" .. code) end
    return text
  end
  if x ~= x or math.abs(x) == math.huge then return V.float_text(x) end
  return V.printf(("%%%s.%d%s"):format(sharp and "#" or "", math.min(precision or 6, 99), code), x)
end

--- One value of a % format: flags, width, precision, code.
local function convert(v, flags, width, precision, code)
  local s
  if code == "s" or code == "r" or code == "a" then
    s = code == "s" and show.str(v) or show.repr(v)
    if precision then
      s = table.concat(unicode.chars(s), "", 1, math.min(precision, unicode.len(s)))
    end
    return fill(s, width, flags:find("-", 1, true) and "<" or ">", " ")
  end
  if code == "c" then
    local n = V.integer(v)
    if not n and not (V.text(v) and unicode.len(V.text(v)) == 1) then
      V.fail("%%c: expected an integer or a single character, found %s", V.type(v))
    end
    s = n and unicode.char(math.max(0, n)) or V.text(v)
    return fill(s, width, flags:find("-", 1, true) and "<" or ">", " ")
  end
  s = by_code(v, code, precision, flags:find("#", 1, true))
  if not s:find "^-" then
    s = (flags:find("+", 1, true) and "+" or flags:find(" ", 1, true) and " " or "") .. s
  end
  local left, zero = flags:find("-", 1, true), flags:find("0", 1, true)
  return fill(s, width, left and "<" or zero and "=" or ">", zero and not left and "0" or " ")
end

--- values: what comes to the right of %: a tuple, one value, or a dict for %(name)s.
local function taker(values)
  local list, at = V.kind(values) == "tuple" and values or { values }, 0
  return function()
    at = at + 1
    if list[at] == nil then V.fail("%%: expected a value for each place, found %d", #list) end
    return list[at]
  end, function()
    return at >= #list or V.is_dict(values)
  end
end

local codes = {}
for code in ("sracdiuxXoeEfFgG"):gmatch "." do codes[code] = true end

--- text % values, as Python has it.  Refuses unknown codes, too few and too many values.
function format.percent(text, values)
  local take, done = taker(values)
  local function star(s, what)
    if s ~= "*" then return width_of(s, what) end
    local n = V.integer(take())
    if not n then V.fail "%%*: expected an integer" end
    return width_of(tostring(n), what)
  end
  local out, at = {}, 1
  while true do
    local i = text:find("%", at, true)
    out[#out + 1] = text:sub(at, (i or 0) - 1)
    if not i then break end
    local name, flags, width, precision, code, next =
      text:match("^(%b())([-+ #0]*)([%d*]*)%.?([%d*]*)[hlL]?(.)()", i + 1)
    if not name then
      local place = "^([-+ #0]*)([%d*]*)%.?([%d*]*)[hlL]?(.)()"
      flags, width, precision, code, next = text:match(place, i + 1)
    end
    if code == "%" then out[#out + 1] = "%"
    else
      if not codes[code] then
        V.fail("%%: expected a format code, found '%s'", code or "the end")
      end
      local dot = text:sub(i, next):find(".", 1, true)
      width, precision = star(width, "%"), dot and (star(precision, "%") or 0) or nil
      local v
      if name then
        if not V.is_dict(values) then
          V.fail("%%%s: expected a dict, found %s", name, V.type(values))
        end
        v = V.get(values, name:sub(2, -2))
        if v == nil then V.fail("%%%s: expected a key of the dict, found none", name) end
      else v = take() end
      out[#out + 1] = convert(v, flags, width, precision, code)
    end
    at = next
  end
  if not done() then V.fail "%: expected no more values than places, found more" end
  local result = table.concat(out)
  V.spend_text(#result)
  return result
end

--- 1234567 -> 1,234,567
local function grouped(s, mark)
  local sign, digits, rest = s:match "^([-+ ]?)(%d+)(.*)$"
  if not digits then return s end
  digits = digits:reverse():gsub("(%d%d%d)", "%1" .. mark):reverse():gsub("^" .. mark, "")
  return sign .. digits .. rest
end

--- One value by a format specification: [[fill]align][sign][#][0][width][,][.precision][type].
local function by_spec(v, spec)
  local by, align, rest = spec:match "^(.[\128-\191]*)([<>=^])(.*)$"
  if not by then
    by, align, rest = " ", spec:match "^([<>=^]?)(.*)$"
  end
  local pattern = "^([-+ ]?)(#?)(0?)(%d*)([,_]?)%.?(%d*)(.?)$"
  local sign, sharp, zero, width, mark, precision, code = rest:match(pattern)
  if not sign then V.fail("format: expected a format specification, found '%s'", spec) end
  width, precision = width_of(width, "format"), width_of(precision, "format")
  if V.number(v) and (code ~= "" or type(v) ~= "boolean") and code ~= "s" then
    local s
    if code == "" and not precision or code == "n" then s = decimal(v)
    elseif code == "%" then
      s = V.printf("%." .. math.min(precision or 6, 99) .. "f%%", 100 * V.number(v))
    elseif code == "" or ("bdoxXeEfFgGc"):find(code, 1, true) then
      s = by_code(v, code == "" and "g" or code, precision, sharp ~= "")
    else V.fail("format: expected a code for numbers, found '%s'", code) end
    if mark ~= "" then s = grouped(s, mark) end
    if sign ~= "-" and not s:find "^-" then s = sign .. s end
    by = zero ~= "" and align == "" and "0" or by
    return fill(s, width, align ~= "" and align or zero ~= "" and "=" or ">", by)
  end
  if code ~= "" and code ~= "s" then
    V.fail("format: expected a code for text, found '%s'", code)
  end
  local s = show.str(v)
  if precision then
    s = table.concat(unicode.chars(s), "", 1, math.min(precision, unicode.len(s)))
  end
  return fill(s, width, align ~= "" and align or "<", zero ~= "" and align == "" and "0" or by)
end

--- "name.attr[key]" among args and kwargs.
local function field(name, args, kwargs, auto)
  local first, path = name:match "^([^%.%[]*)(.*)$"
  if first == "" then
    first, auto.n = tostring(auto.n), auto.n + 1
  end
  local v
  if first:find "^%d+$" then v = args[tonumber(first) + 1] else v = V.get(kwargs, first) end
  if v == nil then V.fail("format: {%s}: expected a value for it, found none", first) end
  while path ~= "" do
    local attr, rest = path:match "^%.([^%.%[]+)(.*)$"
    local key
    if not attr then
      key, rest = path:match "^%[([^%]]+)%](.*)$"
      if not key then V.fail("format: expected .name or [key], found '%s'", path) end
    end
    v = attr and get.attr(v, attr) or get.item(v, tonumber(key) or key)
    if V.is_undefined(v) then V.need(v) end
    path = rest
  end
  return v
end

--- text.format(...).  args: list; kwargs: dict.
function format.braces(text, args, kwargs)
  local out, at, auto = {}, 1, { n = 0 }
  while true do
    local i = text:find("[{}]", at)
    out[#out + 1] = text:sub(at, (i or 0) - 1)
    if not i then break end
    if text:sub(i + 1, i + 1) == text:sub(i, i) then
      out[#out + 1], at = text:sub(i, i), i + 2
    else
      local body, next = text:match("^{([^{}]*)}()", i)
      if not body then
        V.fail("format: expected a field in braces, found '%s'", text:sub(i, i + 8))
      end
      local name, how, spec = body:match "^([^!:]*)!?([rsa]?):?(.*)$"
      local v = field(name, args, kwargs, auto)
      if how ~= "" then v = how == "s" and show.str(v) or show.repr(v) end
      out[#out + 1], at = by_spec(v, spec), next
    end
  end
  local result = table.concat(out)
  V.spend_text(#result)
  return result
end

return format
