--- Exact arithmetic on closed forms, modulo a prime: rationals of any size, unknowns (a random
--- residue each) and square roots, which are kept apart by their radicand.  Two values that agree
--- modulo two primes near 2^26 are equal but for one chance in 10^15.
---   element: { [radicand] = residue }, radicand a square-free integer (-1 stands for i)
local exact = { primes = { 67108859, 67108837 } }
local floor, abs = math.floor, math.abs

local MAX_TERMS, MAX_RADICAND, MAX_DIGITS = 64, 1e12, 1000

local function power(a, n, p)
  local r = 1
  while n > 0 do
    if n % 2 == 1 then r = r * a % p end
    a, n = a * a % p, floor(n / 2)
  end
  return r
end

local function gcd(a, b)
  while b ~= 0 do a, b = b, a % b end
  return a
end
exact.gcd = gcd

local function rational(residue) return residue == 0 and {} or { residue } end

local function is_zero(x) return next(x) == nil end

--- a + c b.
local function add(a, b, c, p)
  local out = {}
  for d, v in pairs(a) do out[d] = v end
  for d, v in pairs(b) do
    local sum = ((out[d] or 0) + c * v) % p
    out[d] = sum ~= 0 and sum or nil
  end
  return out
end

--- sqrt(a) sqrt(b) = c sqrt(d): -> c, d.
local function multiply_radicands(a, b)
  local g = gcd(abs(a), abs(b))
  return (a < 0 and b < 0) and -g or g, (a / g) * (b / g)
end

local function multiply(a, b, p)
  local out, terms = {}, 0
  for da, va in pairs(a) do
    for db, vb in pairs(b) do
      local c, d = multiply_radicands(da, db)
      if abs(d) > MAX_RADICAND then return nil end
      local sum = ((out[d] or 0) + c * (va * vb % p)) % p
      out[d], terms = sum ~= 0 and sum or nil, terms + 1
      if terms > MAX_TERMS * MAX_TERMS then return nil end
    end
  end
  return out
end

--- A prime (or -1) that divides a radicand of x, or nil if x is rational.
local function surd(x)
  local least
  for d in pairs(x) do
    if d ~= 1 and (not least or d < least) then least = d end
  end
  if not least or least < 0 then return least and -1 end
  for q = 2, math.sqrt(least) do if least % q == 0 then return q end end
  return least
end

--- x with sqrt(q) -> -sqrt(q).
local function conjugate(x, q, p)
  local out = {}
  for d, v in pairs(x) do
    local odd = q == -1 and d < 0 or q ~= -1 and d % q == 0
    out[d] = odd and p - v or v
  end
  return out
end

--- 1/x, by multiplying with conjugates until x is rational; nil where x is 0 or too large.
local function inverse(x, p)
  local numerator = { 1 }
  for _ = 1, 12 do
    local q = surd(x)
    if not q then break end
    local other = conjugate(x, q, p)
    numerator, x = multiply(numerator, other, p), multiply(x, other, p)
    if not numerator or not x then return nil end
  end
  if is_zero(x) or surd(x) then return nil end
  return multiply(numerator, { power(x[1], p - 2, p) }, p)
end

--- n = s^2 m with m square-free -> s, m; nil where n is too large to factor.
local function square_part(n)
  if abs(n) > MAX_RADICAND then return nil end
  local s, m, q, rest = 1, n < 0 and -1 or 1, 2, abs(n)
  while q * q <= rest do
    if rest % (q * q) == 0 then s, rest = s * q, rest / (q * q)
    elseif rest % q == 0 then m, rest = m * q, rest / q
    else q = q + 1 end
  end
  return s, m * rest
end

--- The whole k-th root of n, or nil.
local function whole_root(n, k)
  if n < 0 and k % 2 == 0 then return nil end
  local r = floor(abs(n) ^ (1 / k) + 0.5)
  if r ^ k ~= abs(n) then return nil end
  return n < 0 and -r or r
end
exact.whole_root = whole_root

--- Digits of a plain decimal "12.5e-3" -> its residue.
local function decimal(s, p)
  local digits, exponent = s:match "^([%d.]+)[eE]?([-+]?%d*)$"
  if not digits or #digits > MAX_DIGITS then return nil end
  local r, places, dot = 0, 0, false
  for i = 1, #digits do
    local c = digits:byte(i)
    if c == 46 then dot = true
    else
      r = (r * 10 + c - 48) % p
      if dot then places = places + 1 end
    end
  end
  places = (tonumber(exponent) or 0) - places
  if abs(places) > 1e5 then return nil end
  local scale = power(10, abs(places), p)
  return r * (places < 0 and power(scale, p - 2, p) or scale) % p
end

--- A residue for an unknown, the same for the same name.
local function unknown(name, p)
  local h = 40503
  for i = 1, math.min(#name, 64) do h = (h * 31 + name:byte(i)) % p end
  return (power(h + 2, 65537, p) + 7919) % p
end

--- base^n for an integer n, by squaring; nil for 0^0, 1/0 and what is too large.
local function power_of(base, n, p)
  if abs(n) > 2 ^ 53 or n < 0 and is_zero(base) then return nil end
  if n == 0 then return not is_zero(base) and { 1 } or nil end
  if n < 0 then base, n = inverse(base, p), -n end
  if not base then return nil end
  if not surd(base) then return rational(power(base[1] or 0, n, p)) end
  local result = { 1 }
  while n > 0 do
    if n % 2 == 1 then result = multiply(result, base, p) end
    base, n = multiply(base, base, p), floor(n / 2)
    if not result or not base then return nil end
  end
  return result
end

local function fraction(n, d)
  if d < 0 then n, d = -n, -d end
  local g = gcd(abs(n), d)
  if d == 0 or abs(n) > 2 ^ 53 or d > 2 ^ 53 then return nil end
  return n / g, d / g
end

local fraction_rules = {
  add = function(a, b, c, d) return fraction(a * d + c * b, b * d) end,
  sub = function(a, b, c, d) return fraction(a * d - c * b, b * d) end,
  mul = function(a, b, c, d) return fraction(a * c, b * d) end,
  div = function(a, b, c, d) return fraction(a * d, b * c) end,
  pow = function(a, b, c, d)
    if d ~= 1 or abs(c) > 1024 then return nil end
    if c < 0 then a, b, c = b, a, -c end
    return fraction(a ^ c, b ^ c)
  end,
}

--- A tree of numbers -> numerator, denominator > 0, without common factor; nil where it holds
--- anything else or they leave the integers below 2^53.
function exact.rational(x)
  if x.op == "num" then
    local whole, part, exponent = x[1]:match "^(%d*)%.?(%d*)[eE]?([-+]?%d*)$"
    if not whole or #x[1] > 20 then return nil end
    local e = (tonumber(exponent) or 0) - #part
    if abs(e) > 15 then return nil end
    return fraction((tonumber(whole .. part) or 0) * 10 ^ math.max(e, 0), 10 ^ math.max(-e, 0))
  end
  local rule = fraction_rules[x.op]
  if not rule and x.op ~= "neg" then return nil end
  local a, b = exact.rational(x[1])
  if not a then return nil end
  if x.op == "neg" then return -a, b end
  local c, d = exact.rational(x[2])
  if c then return rule(a, b, c, d) end
end

--- The k-th root of a rational number n/d: exact where it is a square root or comes out whole.
local function root(k, node, p)
  local n, d = exact.rational(node)
  if not n then return nil end
  if k ~= 2 then
    local rn, rd = whole_root(n, k), whole_root(d, k)
    return rn and rd and multiply(rational(rn % p), { power(rd % p, p - 2, p) }, p)
  end
  if abs(n) * d > 2 ^ 53 then return nil end
  local s, m = square_part(n * d)
  if not s then return nil end
  if m == 0 then return {} end
  return { [m] = s % p * power(d % p, p - 2, p) % p }
end

local evaluate

--- a + c b for the two parts of a node.
local function sum(x, c, p, depth)
  local a, b = evaluate(x[1], p, depth), evaluate(x[2], p, depth)
  return a and b and add(a, b, c, p)
end

local rules = {
  num = function(x, p)
    local r = decimal(x[1], p)
    return r and rational(r)
  end,
  var = function(x, p) return rational(unknown(x[1], p)) end,
  i = function() return { [-1] = 1 } end,
  add = function(x, p, depth) return sum(x, 1, p, depth) end,
  sub = function(x, p, depth) return sum(x, p - 1, p, depth) end,
  neg = function(x, p, depth)
    local a = evaluate(x[1], p, depth)
    return a and add({}, a, p - 1, p)
  end,
  mul = function(x, p, depth)
    local a, b = evaluate(x[1], p, depth), evaluate(x[2], p, depth)
    return a and b and multiply(a, b, p)
  end,
  div = function(x, p, depth)
    local a, b = evaluate(x[1], p, depth), evaluate(x[2], p, depth)
    b = b and inverse(b, p)
    return a and b and multiply(a, b, p)
  end,
  pow = function(x, p, depth)
    local n, d = exact.rational(x[2])
    if not n then return nil end
    local base
    if d == 1 then base = evaluate(x[1], p, depth) else base = root(d, x[1], p) end
    return base and power_of(base, n, p)
  end,
  root = function(x, p) return root(x.degree, x[1], p) end,
  opaque = function(x, p, depth)                       -- a function of which nothing is known
    local a = evaluate(x[1], p, depth)
    if not a or surd(a) then return nil end
    return rational(unknown(x.name .. "(" .. tostring(a[1] or 0) .. ")", p))
  end,
}

function evaluate(x, p, depth)
  local rule = rules[x.op]
  if not rule or depth > 200 then return nil end
  return rule(x, p, depth + 1)
end

--- A tree -> its element modulo p; nil where it has no exact form here.
function exact.element(x, p) return evaluate(x, p, 0) end

--- Are two elements equal?
function exact.same(a, b)
  for d, v in pairs(a) do if b[d] ~= v then return false end end
  for d, v in pairs(b) do if a[d] ~= v then return false end end
  return true
end

return exact
