--- Units behind a number: "5 cm^2" -> "5", with what they measure and how much one is.
local text = require "rllava.reward.text"

local units = {}

--- name -> { what it measures, how many base units, as digits }
local known = {}
local function define(kind, list)
  for names, factor in list:gmatch "([%a|]+) ([%d./]+)" do
    for name in names:gmatch "[^|]+" do known[name] = { kind, factor } end
  end
end
define("length", [[mm|millimeter|millimetre 0.001 cm|centimeter|centimetre 0.01 dm|decimeter 0.1
  m|meter|metre 1 km|kilometer|kilometre 1000 in|inch|inche 0.0254 ft|foot|feet 0.3048
  yd|yard 0.9144 mi|mile 1609.344]])
define("mass", [[mg|milligram 0.000001 g|gram 0.001 kg|kilogram 1 lb|pound 0.45359237
  oz|ounce 0.028349523125]])
define("time", [[ms 0.001 s|sec|second 1 min|minute 60 h|hr|hour 3600 day 86400 week 604800
  month 2629746 year|yr 31556952]])
define("volume", "ml|mL|milliliter|millilitre 0.001 l|L|liter|litre 1")
define("money", "dollar|usd|USD 1 cent 0.01")
define("angle", "degree|deg 1")
define("speed", "mph 0.44704 kph 0.2777777777777778")
define("plain", "unit 1 percent 0.01")

--- Does the table hold this word, also as a plural?
local function lookup(word)
  return known[word] or known[word:lower()] and #word > 2 and known[word:lower()]
    or #word > 2 and word:sub(-1) == "s"
      and (known[word:sub(1, -2)] or known[word:sub(1, -2):lower()]) or nil
end

local function power_of(factor, n)
  local list = {}
  for k = 1, n do list[k] = factor end
  return list
end

local squares = { square = 2, sq = 2, cubic = 3, cu = 3 }

--- "square cm", "cm^2" -> { what, factors }; nil where a word is none of ours, or there are
--- several.
local function read(words)
  local what, factors, power = {}, {}, nil
  for _, word in ipairs(words) do
    local name, exponent = word:match "^(%a+)%^?{?(%d?)}?$"
    if squares[name] then power = squares[name]
    elseif name ~= "per" and name ~= "of" then
      local unit = name and lookup(name)
      if not unit then return nil end
      local n = tonumber(exponent) or power or 1
      power = nil
      what[#what + 1] = unit[1] .. (n > 1 and n or "")
      for _, f in ipairs(power_of(unit[2], n)) do factors[#factors + 1] = f end
    end
  end
  return #what == 1 and { what[1], factors } or nil
end

--- The place where the words at the end of s begin, or nil: letters, spaces, /, ^2 and dots.
local function tail(s)
  local i = #s
  while i > 0 and s:find("^[%a%s/.^{}%d'-]", i) do i = i - 1 end
  local at = s:find("%a", i + 1)
  while at do
    local before = s:sub(at - 1, at - 1)
    local word = s:match("^%a+", at)
    if at > 1 and s:sub(1, at - 1):find "[%d%)}i]%s*$" and before ~= "\\"
      and not s:sub(1, at - 1):find "\\%a*$" then
      if before:find "%s" or #word > 1 and lookup(word) then return at end
    end
    at = s:find("%f[%a]%a", at + #word)
  end
end

--- s -> s without its unit, and the unit { what, factors }, or { words } for words that are none of
--- ours; only where what stands before is a number or a formula of one.
function units.split(s)
  local at = tail(s)
  if not at or not s:sub(1, at - 1):find "%d" and not s:sub(1, at - 1):find "\\pi" then return s end
  local rest = s:sub(at):gsub("/", " per ")
  if rest:gsub("%^{%d}", ""):find "[{}]" then return s end
  local words = text.words(rest)
  local first = words[1] or ""
  if #first == 1 and not lookup(first) or first == "am" or first == "pm" or first == "a.m." then
    return s
  end
  if first:find "^pi$" or first == "sqrt" or rest:find "[=<>]" then return s end
  local unit = read(words)
  if unit and unit[1] == "plain" and words[#words] == "percent" then
    return s:sub(1, at - 1) .. "%"
  end
  return text.strip(s:sub(1, at - 1)), unit or { text.lower(rest) }
end

return units
