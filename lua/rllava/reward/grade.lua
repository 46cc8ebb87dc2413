--- Does an answer agree with the truth, as RLLaVA grades it?  Equal normal forms, or a tuple whose
--- parts agree, or formulas whose difference is zero.  Unreduced fractions and integers written as
--- formulas do not count.  (For true equivalence see rllava.reward.equal.)
local text = require "rllava.reward.text"
local normalize = require "rllava.reward.normalize"
local formula = require "rllava.reward.formula"
local same = require "rllava.reward.same"

local MAX_LENGTH = 20000

--- The letters in an expression, sqrt and frac left out: at most two may be there to be computed.
local function few_letters(s)
  s = text.replace(text.replace(s, "sqrt", ""), "frac", "")
  local seen, n = {}, 0
  for _, _, code in text.each(s) do
    if text.is_letter(code) and not seen[code] then seen[code], n = true, n + 1 end
    if n > 2 then return false end
  end
  return true
end

--- Is the formula tame?  Towers and exponents of two digits are refused, as in the reference.
local function allowed(s)
  return few_letters(s) and not s:find("^{", 1, true) and not s:find("^(", 1, true)
    and not s:find "%^%d%d" and not s:find "%^%d%^"
end

local function equal_formulas(truth, given)
  if not allowed("(" .. truth .. ")-(" .. given .. ")") then return false end
  local a, b = formula(truth), formula(given)
  return a ~= nil and b ~= nil and same(a, b)
end

--- "-3/4" and the like, with one stray character allowed before the slash and at the end.
local function is_fraction(s)
  local at = s:find("/", 1, true)
  for _ = 1, 2 do
    if not at then return false end
    local above, below = s:sub(1, at - 1), s:sub(at + 1)
    local function short(x) return x:sub(1, text.rfind_character(x) - 1) end
    local function is_below(x) return x:find "^0*[1-9]%d*$" ~= nil end
    if (above:find "^%-?%d+$" or above ~= "" and short(above):find "^%-?%d+$")
      and (is_below(below) or below ~= "" and is_below(short(below))) then return true end
    at = s:find("/", at + 1, true)
  end
  return false
end

--- "(a,b)" or "[a,b)" without inner brackets -> its parts; anything else is one part.
local function split_tuple(s)
  s = normalize.join_thousands(s)
  if s == "" then return {} end
  if #s <= 2 or not s:find "^[%[%]()]" or not s:find "[%[%]()]$"
    or s:sub(2, -2):find "[%[%]()]" then
    return { s }
  end
  local parts = text.split(s:sub(2, -2), ",")
  for i, part in ipairs(parts) do parts[i] = text.strip(part) end
  return parts
end

local function equal_parts(truth, given)
  if is_fraction(truth) and is_fraction(given) then return truth == given end
  if normalize.is_integer(truth) ~= normalize.is_integer(given) then return false end
  return equal_formulas(truth, given)
end

--- given, truth: texts -> true or false.
return function(given, truth)
  if #given > MAX_LENGTH or #truth > MAX_LENGTH then
    return text.strip(given) == text.strip(truth)
  end
  if normalize.first(truth) == normalize.first(given) then return true end
  local a, b = normalize.second(truth), normalize.second(given)
  if a == b then return true end
  if b == "" then return false end
  local truths, givens = split_tuple(a), split_tuple(b)
  if #truths > 1 and (a:sub(1, 1) ~= b:sub(1, 1) or a:sub(-1) ~= b:sub(-1)) then return false end
  if #truths ~= #givens then return false end
  for i, part in ipairs(truths) do
    if not equal_parts(part, givens[i]) then return false end
  end
  return true
end
