--- Do two answers mean the same?  Numbers by value (2/4 is 1/2, 50\% is 0.5), sets and lists
--- without order, tuples and intervals with their brackets, inequalities as intervals, equations up
--- to a factor, matrices by entry, units converted, choices by their letter, words by their
--- spelling.
local text = require "rllava.reward.text"
local clean = require "rllava.reward.clean"
local latex = require "rllava.reward.latex"
local units = require "rllava.reward.units"
local same = require "rllava.reward.same"
local numeric = require "rllava.reward.numeric"
local split = require "rllava.reward.split"

local MAX_LENGTH, MAX_ITEMS, MAX_DEPTH = 2000, 64, 8

local equal

local months = {}
for _, m in ipairs(text.words [[january february march april may june july august september october
  november december jan feb mar apr jun jul aug sep sept oct nov dec]]) do
  months[m] = true
end

local synonyms = { ["does not exist"] = "undefined", dne = "undefined",
  ["doesn't exist"] = "undefined", ["no solutions"] = "no solution", ["\\emptyset"] = "no solution",
  ["empty set"] = "no solution", ["\17 \18"] = "no solution", ["\17\18"] = "no solution",
  infinite = "infinity" }

--- Words without case, quotes and (where no digit stands in them) punctuation.
local function words_of(s)
  s = text.lower(text.strip(s)):gsub("[\"'`{}]", "")
  if not s:find "%d" then s = s:gsub("[.,;:!?]", " ") end
  s = table.concat(text.words(s), " ")
  return synonyms[s] or s
end

--- A date's words in one order; nil for anything else.
local function date(s)
  local list, dated = text.words((s:gsub("[.,]", " "))), false
  for _, w in ipairs(list) do dated = dated or months[w] end
  table.sort(list)
  return dated and table.concat(list, " ") or nil
end

local function equal_words(a, b)
  a, b = words_of(a), words_of(b)
  local d = date(a)
  return a ~= "" and (a == b or d ~= nil and d == date(b))
end

--- The letter of a choice: "B", "(B)", "B.", "B. 12", "Option B" -> "B"; strict: nothing may
--- follow.
local function choice(s, strict)
  s = text.strip(s):gsub("^[Oo]ption ", ""):gsub("^[Cc]hoice ", ""):gsub("^[Aa]nswer:? ", "")
  local letter, rest = s:match "^%(%s*([A-Ja-j])%s*%)(.*)$"
  if not letter then
    letter, rest = s:match "^([A-Ja-j])([.):,].*)$"
    if not letter then letter, rest = s:match "^([A-Ja-j])%s*$", "" end
  end
  if not letter or strict and not rest:find "^[.):,]?%s*$" then return nil end
  return letter:upper()
end

--- A tree scaled by a unit's factors.
local function scaled(tree, unit)
  for _, factor in ipairs(unit[2] or {}) do tree = { op = "mul", tree, { op = "num", factor } } end
  return tree
end

local function ratio(s)
  local a, b, c = s:match "^%s*([%d.]+)%s*:%s*([%d.]+)%s*:?%s*([%d.]*)%s*$"
  if a and c == "" then return "\\frac{" .. a .. "}{" .. b .. "}" end
  return s
end

local function equal_formulas(a, b)
  local unit_a, unit_b
  a, unit_a = units.split(ratio(a))
  b, unit_b = units.split(ratio(b))
  local x, y = latex(a), latex(b)
  if not x or not y then return false end
  if unit_a and unit_b then
    if unit_a[1] ~= unit_b[1] then return false end
    x, y = scaled(x, unit_a), scaled(y, unit_b)
  end
  return same(x, y)
end

--- Is g a constant times f at every point?  positive: a positive one.
local function proportional(f, g, positive)
  local factor
  for point = 1, 5 do
    local a, b = numeric.value(f, point)
    local c, d = numeric.value(g, point)
    if not a or not c or b ~= 0 or d ~= 0 or math.abs(a) < 1e-9 then return false end
    local k = c / a
    if factor and math.abs(k - factor) > 1e-9 * math.abs(factor) or positive and k <= 0 then
      return false
    end
    factor = k
  end
  return factor ~= 0
end

local relation = split.relation

local function is_unknown(s)
  s = text.strip(s)
  return s:find "^%a$" ~= nil or s:find "^%a_{?%w+}?$" ~= nil or s:find "^\\%a+$" ~= nil
    and s ~= "\\pi" and s ~= "\\infty"
    or s:find "^%a%(%a%)$" ~= nil or s:find "^\\angle%s*%a+$" ~= nil or s:find "^%a%a%a?$" ~= nil
end

--- An inequality in one unknown as an interval's text "(-\infty,3]", or nil.
local function interval_of(r)
  if #r.signs == 1 then
    local left, sign, right = r.sides[1], r.signs[1], r.sides[2]
    if is_unknown(right) then
      left, right = right, left
      sign = ({ ["<"] = ">", [">"] = "<", ["<="] = ">=", [">="] = "<=" })[sign]
    end
    if not is_unknown(left) or not sign then return nil end
    if sign == ">" or sign == ">=" then
      return (sign == ">" and "(" or "[") .. right .. ",\\infty)"
    end
    if sign == "<" or sign == "<=" then
      return "(-\\infty," .. right .. (sign == "<" and ")" or "]")
    end
    return nil
  end
  if #r.signs ~= 2 or not is_unknown(r.sides[2]) then return nil end
  local a, b, low, high = r.signs[1], r.signs[2], r.sides[1], r.sides[3]
  if a:sub(1, 1) == ">" and b:sub(1, 1) == ">" then a, b, low, high = b, a, high, low end
  if a == "=" or b == "=" or a:sub(1, 1) ~= b:sub(1, 1) then return nil end
  return (#a == 1 and "(" or "[") .. low .. "," .. high .. (#b == 1 and ")" or "]")
end

--- "x = 5" -> "5" where the other side is no relation; "x \in A" -> "A".
local function right_side(s)
  local inside = s:match "^%s*%a%s*\\in%s*(.+)$"
  if inside then return inside end
  local r = relation(s)
  if r and #r.signs == 1 and r.signs[1] == "=" and is_unknown(r.sides[1]) then return r.sides[2] end
  if r and r.signs[1] == "=" and not r.sides[1]:find "%a" then return r.sides[#r.sides] end
  return s
end

local function difference(r)
  local a, b = latex(r.sides[1]), latex(r.sides[2])
  return a and b and { op = "sub", a, b }
end

local function equal_relations(a, b, depth)
  if #a.signs == 1 and #b.signs == 1 and a.signs[1] == b.signs[1] then
    local f, g = difference(a), difference(b)
    if f and g and proportional(f, g, a.signs[1] ~= "=") then return true end
  end
  local x, y = interval_of(a), interval_of(b)
  if x and y then return equal(x, y, depth + 1) end
  if #a.signs ~= #b.signs or #a.sides > 8 then return false end
  for i, side in ipairs(a.sides) do
    if a.signs[i] ~= b.signs[i] or not equal(side, b.sides[i], depth + 1) then return false end
  end
  return true
end

--- Every item of a has its own partner in b.
local function equal_sets(a, b, depth)
  if #a ~= #b or #a > MAX_ITEMS then return false end
  local used = {}
  for _, item in ipairs(a) do
    local found
    for k, other in ipairs(b) do
      if not used[k] and equal(item, other, depth + 1) then found = k break end
    end
    if not found then return false end
    used[found] = true
  end
  return true
end

local function equal_rows(a, b, depth)
  if #a ~= #b or #a > MAX_ITEMS then return false end
  for i, item in ipairs(a) do if not equal(item, b[i], depth + 1) then return false end end
  return true
end

local function items_of(list)
  local out = {}
  for _, item in ipairs(list) do
    for _, one in ipairs(split.signs(right_side(item))) do out[#out + 1] = one end
  end
  return out
end

--- "x < 1 or x > 3", a list of inequalities, as the union of its intervals; else what it was.
local function as_union(x)
  if x.kind ~= "list" or #x < 2 then return x end
  local union = { kind = "union" }
  for i, item in ipairs(x) do
    local r = relation(item)
    union[i] = r and interval_of(r)
    if not union[i] then return x end
  end
  return union
end

--- Both as structures: sets, lists, tuples, unions, matrices -> true, false; nil where neither is
--- one.
local function equal_structures(a, b, depth)
  local x, y = split.structure(a), split.structure(b)
  if not x and not y then return nil end
  x, y = as_union(x or { kind = "list", a }), as_union(y or { kind = "list", b })
  if x.kind == "set" or x.kind == "list" then
    if y.kind ~= "set" and y.kind ~= "list" then return false end
    return equal_sets(items_of(x), items_of(y), depth)
  end
  if x.kind ~= y.kind then return false end
  if x.kind == "union" then return equal_sets(x, y, depth) end
  if x.kind == "matrix" then
    if #x ~= #y then return false end
    for i, row in ipairs(x) do if not equal_rows(row, y[i], depth) then return false end end
    return x.bars == y.bars
  end
  return x.open == y.open and x.close == y.close and equal_rows(x, y, depth)
end

function equal(a, b, depth)
  a, b = text.strip(a), text.strip(b)
  if a == b then return a ~= "" end
  if depth > MAX_DEPTH or a == "" or b == "" then return false end
  if equal_words(a, b) then return true end
  local letter = choice(a, true)
  if letter and (#b > 1 or #a > 1) and choice(b) == letter then return true end
  local r, q = relation(a), relation(b)
  if r and q then
    if equal_relations(r, q, depth) then return true end
    if not text.has(a, ",") and not text.has(b, ",") then return false end
  elseif r or q then
    local x, y = right_side(a), right_side(b)
    if x ~= a or y ~= b then return equal(x, y, depth + 1) end
    local interval = interval_of(r or q)
    if interval then return equal(r and interval or a, q and interval or b, depth + 1) end
  end
  local x, y = right_side(a), right_side(b)
  if (x ~= a or y ~= b) and not (r and q) then return equal(x, y, depth + 1) end
  local structures = equal_structures(a, b, depth)
  if structures ~= nil then return structures end
  return equal_formulas(a, b)
end

--- given, truth: texts -> true or false.
return function(given, truth)
  if #given > MAX_LENGTH or #truth > MAX_LENGTH then
    return text.strip(given) == text.strip(truth) and text.strip(given) ~= ""
  end
  return equal(clean(truth), clean(given), 0)
end
