--- Numbers for trees that have no exact form: complex floating point, with the elementary
--- functions.  A value is two results, real and imaginary part; nil where it is not defined.
local numeric = {}
local abs, floor, sqrt, exp, log, atan2 = math.abs, math.floor, math.sqrt, math.exp, math.log,
  math.atan2

--- Values of the unknowns at the points of comparison: a positive one for odd, a negative for even.
local function unknown(name, point)
  if name == "pi" then return math.pi end
  if name == "e" then return exp(1) end
  local h = 7 * point
  for i = 1, math.min(#name, 64) do h = (h * 31 + name:byte(i)) % 9973 end
  local x = 0.3 + 2.7 * ((h * 0.6180339887498949) % 1)
  return point % 2 == 1 and x or -x
end

local function power(a, b, c, d)
  if a == 0 and b == 0 then
    if d == 0 and c > 0 then return 0, 0 end
    return nil
  end
  if b == 0 and d == 0 and (a > 0 or c == floor(c)) then return a ^ c, 0 end
  local r, t = log(sqrt(a * a + b * b)), atan2(b, a)
  local size, angle = exp(c * r - d * t), d * r + c * t
  return size * math.cos(angle), size * math.sin(angle)
end

local function divide(a, b, c, d)
  local n = c * c + d * d
  if n == 0 then return nil end
  return (a * c + b * d) / n, (b * c - a * d) / n
end

--- n! for whole n up to 170.
local function factorial(n)
  if n < 0 or n ~= floor(n) or n > 170 then return nil end
  local r = 1
  for i = 2, n do r = r * i end
  return r
end

local function binomial(n, k)
  if n ~= floor(n) or k ~= floor(k) or k < 0 or n < k or n > 1000 then return nil end
  local r = 1
  for i = 1, k do r = r * (n - k + i) / i end
  return r
end

local function reciprocal(f)
  return function(x)
    local y = f(x)
    return abs(y) > 1e-12 and 1 / y or nil
  end
end
local function within(f) return function(x) return abs(x) <= 1 and f(x) or nil end end

--- Functions of a real number; nil outside their domain.
local real = {
  sin = math.sin, cos = math.cos,
  tan = function(x) return abs(math.cos(x)) > 1e-12 and math.tan(x) or nil end,
  sec = reciprocal(math.cos), csc = reciprocal(math.sin), cot = reciprocal(math.tan),
  arcsin = within(math.asin), arccos = within(math.acos), arctan = math.atan,
  sinh = math.sinh, cosh = math.cosh, tanh = math.tanh,
  floor = floor, ceil = math.ceil, factorial = factorial,
}

--- Functions of a complex number.
local complex = {
  exp = function(a, b) return exp(a) * math.cos(b), exp(a) * math.sin(b) end,
  ln = function(a, b)
    local r = sqrt(a * a + b * b)
    if r > 0 then return log(r), atan2(b, a) end
  end,
  abs = function(a, b) return sqrt(a * a + b * b), 0 end,
}

local value

local two = {
  add = function(a, b, c, d) return a + c, b + d end,
  sub = function(a, b, c, d) return a - c, b - d end,
  mul = function(a, b, c, d) return a * c - b * d, a * d + b * c end,
  div = divide, pow = power,
  log = function(a, b, c, d)                            -- to the base a
    if b == 0 and d == 0 and a > 0 and a ~= 1 and c > 0 then return log(c) / log(a), 0 end
  end,
  binom = function(a, b, c, d)
    local r = b == 0 and d == 0 and binomial(a, c)
    if r then return r, 0 end
  end,
}

local function apply(x, point, depth)
  local a, b = value(x[1], point, depth)
  if not a then return nil end
  if complex[x.name] then return complex[x.name](a, b) end
  local f = real[x.name]
  local y = f and b == 0 and f(a)
  if y then return y, 0 end
end

function value(x, point, depth)
  if depth > 200 then return nil end
  local op = x.op
  if op == "num" then return tonumber(x[1]), 0 end
  if op == "var" then return unknown(x[1], point), 0 end
  if op == "i" then return 0, 1 end
  if op == "call" then return apply(x, point, depth + 1) end
  local a, b = value(x[1], point, depth + 1)
  if not a then return nil end
  if op == "neg" then return -a, -b end
  if op == "root" then
    if b == 0 and a < 0 and x.degree % 2 == 1 then return -(-a) ^ (1 / x.degree), 0 end
    if a == 0 and b == 0 then return 0, 0 end
    return power(a, b, 1 / x.degree, 0)
  end
  local c, d = value(x[2], point, depth + 1)
  if c and two[op] then return two[op](a, b, c, d) end
end

--- The value of a tree at a point -> real and imaginary part, finite; or nil.
function numeric.value(x, point)
  local a, b = value(x, point, 0)
  if a and b and a - a == 0 and b - b == 0 then return a, b end
end

--- Do two trees agree at the points?  Undefined on both sides says nothing; no point, no agreement.
function numeric.same(x, y, tolerance)
  local seen = false
  for point = 1, 5 do
    local a, b = numeric.value(x, point)
    local c, d = numeric.value(y, point)
    if a and c then
      seen = true
      local size = math.max(abs(a) + abs(b), abs(c) + abs(d))
      if abs(a - c) + abs(b - d) > (tolerance or 1e-10) * math.max(size, 1e-3) then return false end
    elseif (a or c) and point % 2 == 1 then return false end
  end
  return seen
end

return numeric
