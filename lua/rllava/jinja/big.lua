--- Integers without a limit: doubles up to 2^53, beyond it decimal digits in limbs of 10^7.
local json = require "rllava.json"
local V = require "rllava.jinja.value"

local big = {}
local base = 1e7

--- A value -> { sign, limbs, lowest first }.
local function parse(v)
  local text = json.is_number(v) and v.text or ("%d"):format(V.number(v))
  local sign, digits = 1, text:gsub("^[-+]", "")
  if text:sub(1, 1) == "-" then sign = -1 end
  local limbs = { sign = sign }
  for i = #digits, 1, -7 do limbs[#limbs + 1] = tonumber(digits:sub(math.max(1, i - 6), i)) end
  return limbs
end

local function trimmed(a)
  while #a > 1 and a[#a] == 0 do a[#a] = nil end
  return a
end

--- Limbs -> an integer value.
local function value(a)
  trimmed(a)
  local parts = { a.sign < 0 and "-" or "", ("%d"):format(a[#a]) }
  for i = #a - 1, 1, -1 do parts[#parts + 1] = ("%07d"):format(a[i]) end
  local text = table.concat(parts)
  V.spend_text(#text)
  local n = tonumber(text)
  return math.abs(n) < 2 ^ 53 and n or json.number(text)
end

--- -1, 0, 1: |a| against |b|.
local function compare(a, b)
  if #a ~= #b then return #a < #b and -1 or 1 end
  for i = #a, 1, -1 do if a[i] ~= b[i] then return a[i] < b[i] and -1 or 1 end end
  return 0
end

--- |a| + way |b|, where |a| >= |b| if way is -1.
local function sum(a, b, way)
  local c, carry = { sign = a.sign }, 0
  for i = 1, math.max(#a, #b) do
    local d = (a[i] or 0) + way * (b[i] or 0) + carry
    carry = math.floor(d / base)
    c[i] = d - carry * base
  end
  if carry > 0 then c[#c + 1] = carry end
  return trimmed(c)
end

local function add(a, b)
  if a.sign == b.sign then return sum(a, b, 1) end
  if compare(a, b) >= 0 then return sum(a, b, -1) end
  return sum(b, a, -1)
end

local function multiply(a, b)
  V.spend(#a * #b)
  local c = { sign = a.sign * b.sign }
  for i = 1, #a + #b do c[i] = 0 end
  for i = 1, #a do
    local carry = 0
    for j = 1, #b do
      local d = c[i + j - 1] + a[i] * b[j] + carry
      carry = math.floor(d / base)
      c[i + j - 1] = d - carry * base
    end
    c[i + #b] = c[i + #b] + carry
  end
  return trimmed(c)
end

local function power(v, n)
  if n > 1e5 then V.fail("'**': expected an exponent of at most 100000, found %d", n) end
  local a, c = parse(v), { sign = 1, 1 }
  while n > 0 do
    if n % 2 == 1 then c = multiply(c, a) end
    n = math.floor(n / 2)
    if n > 0 then a = multiply(a, a) end
  end
  return value(c)
end

--- floor(a / b) and a mod b by a divisor of one limb or two doubles that are exact.
local function divide(op, a, b)
  local x, y = V.number(a), V.number(b)
  if y == 0 then V.fail("'%s': expected a divisor other than zero, found zero", op) end
  if math.abs(x) < 2 ^ 53 and math.abs(y) < 2 ^ 53 then
    local rest = x % y
    return op == "%" and rest or (x - rest) / y
  end
  if math.abs(y) >= base then
    V.fail("'%s': expected a divisor below 10^7 for so large a number", op)
  end
  local p, q, rest = parse(a), { sign = 1 }, 0
  for i = #p, 1, -1 do
    local d = rest * base + p[i]
    q[i] = math.floor(d / math.abs(y))
    rest = d - q[i] * math.abs(y)
  end
  q.sign = p.sign * (y < 0 and -1 or 1)
  if q.sign < 0 and rest > 0 then
    q, rest = add(q, { sign = -1, 1 }), math.abs(y) - rest
  end
  if op == "//" then return value(q) end
  return y < 0 and -rest or rest
end

--- a op b for two integers: + - * / // % **.
function big.arithmetic(op, a, b)
  local x, y = V.number(a), V.number(b)
  if op == "/" then
    if y == 0 then V.fail "'/': expected a divisor other than zero, found zero" end
    return V.float(x / y)
  end
  if op == "//" or op == "%" then return divide(op, a, b) end
  if op == "**" then
    if y < 0 and x == 0 then V.fail "'**': expected a base other than zero, found zero" end
    if y < 0 then return V.float(x ^ y) end
    return math.abs(x ^ y) < 2 ^ 53 and x ^ y or power(a, y)
  end
  local result = op == "+" and x + y or op == "-" and x - y or x * y
  if math.abs(x) < 2 ^ 53 and math.abs(y) < 2 ^ 53 and math.abs(result) < 2 ^ 53 then
    return result + 0
  end
  local p, q = parse(a), parse(b)
  if op == "*" then return value(multiply(p, q)) end
  if op == "-" then q.sign = -q.sign end
  return value(add(p, q))
end

--- a < b for two integers.
function big.less(a, b)
  local p, q = parse(a), parse(b)
  if p.sign ~= q.sign then return p.sign < q.sign end
  return compare(p, q) * p.sign < 0
end

--- An integer literal -> its value.
function big.integer(digits)
  digits = digits:gsub("^0+(%d)", "%1")
  local n = tonumber(digits)
  return n < 2 ^ 53 and n or json.number(digits)
end

return big
