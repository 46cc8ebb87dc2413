--- Operators of templates: arithmetic, comparison, membership, slices.
local unicode = require "rllava.unicode"
local V = require "rllava.jinja.value"
local show = require "rllava.jinja.show"
local big = require "rllava.jinja.big"

local ops = {}
local kind, number = V.kind, V.number

local function both_int(a, b) return V.integer(a) and V.integer(b) end

--- Arithmetic on numbers: exact for integers of any size, double otherwise.  nil: not numbers.
local function arithmetic(op, a, b)
  local x, y = number(a), number(b)
  if not x or not y then return nil end
  V.spend(1)
  if both_int(a, b) then return big.arithmetic(op, a, b) end
  if op == "+" then return V.float(x + y) end
  if op == "-" then return V.float(x - y) end
  if op == "*" then return V.float(x * y) end
  if y == 0 and op ~= "**" then
    V.fail("'%s': expected a divisor other than zero, found zero", op)
  end
  if op == "/" then return V.float(x / y) end
  if op == "//" then return V.float(math.floor(x / y)) end
  if op == "%" then return V.float(x - math.floor(x / y) * y) end
  local power = x ^ y
  if power ~= power and x == x and y == y or x == 0 and y < 0 then
    V.fail "'**': expected a real result, found none"
  end
  if math.abs(power) == math.huge and math.abs(x) < math.huge then
    V.fail "'**': expected a result below 1.8e308"
  end
  return V.float(power)
end

local function refuse(op, a, b)
  for _, v in ipairs { a, b } do if V.is_undefined(v) then V.need(v) end end
  V.fail("'%s': expected operands that go together, found %s and %s", op, V.type(a), V.type(b))
end

--- A list or text n times over.
local function repeated(v, n)
  n = math.max(0, n)
  local text = V.text(v)
  if text then
    V.spend_text(#text * n)
    text = text:rep(n)
    return kind(v) == "markup" and V.markup(text) or text
  end
  V.spend(#v * n)
  local items = {}
  for _ = 1, n do
    for _, e in ipairs(v) do items[#items + 1] = e end
  end
  return kind(v) == "list" and V.list(items) or V.tuple(items)
end

local function is_sequence(v)
  local k = kind(v)
  return k == "str" or k == "markup" or k == "list" or k == "tuple"
end

local function joined_lists(a, b)
  V.spend(#a + #b)
  local items = {}
  for _, e in ipairs(a) do items[#items + 1] = e end
  for _, e in ipairs(b) do items[#items + 1] = e end
  return kind(a) == "list" and V.list(items) or V.tuple(items)
end

local html = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["'"] = "&#39;", ['"'] = "&#34;" }

--- Text for HTML.  Marked-up text is left alone.
function ops.escape(v)
  if kind(v) == "markup" then return v end
  local text = show.str(v)
  V.spend_text(5 * #text)
  return V.markup((text:gsub("[&<>'\"]", html)))
end

local function add(a, b)
  local s, t = V.text(a), V.text(b)
  if s and t then
    V.spend_text(#s + #t)
    if kind(a) == "markup" or kind(b) == "markup" then
      return V.markup(ops.escape(a).text .. ops.escape(b).text)
    end
    return s .. t
  end
  local k = kind(a)
  if k == kind(b) and (k == "list" or k == "tuple") then return joined_lists(a, b) end
end

--- a op b for + - * / // % **.
function ops.binary(op, a, b)
  local v = arithmetic(op, a, b)
  if v ~= nil then return v end
  if op == "+" then v = add(a, b)
  elseif op == "*" then
    if is_sequence(a) and V.integer(b) then return repeated(a, V.integer(b)) end
    if is_sequence(b) and V.integer(a) then return repeated(b, V.integer(a)) end
  elseif op == "%" and V.text(a) then
    return require("rllava.jinja.format").percent(V.text(a), b)
  end
  if v == nil then refuse(op, a, b) end
  return v
end

function ops.negative(v)
  if V.integer(v) then return big.arithmetic("-", 0, v) end
  if not number(v) then
    if V.is_undefined(v) then V.need(v) end
    V.fail("'-': expected a number, found %s", V.type(v))
  end
  return V.float(-number(v))
end

local equal
local function equal_lists(a, b, depth)
  if #a ~= #b then return false end
  for i = 1, #a do if not equal(a[i], b[i], depth) then return false end end
  return true
end

local function equal_dicts(a, b, depth)
  local keys = V.keys(a)
  if #keys ~= #V.keys(b) then return false end
  for _, key in ipairs(keys) do
    local other = V.get(b, key)
    if other == nil or not equal(V.get(a, key), other, depth) then return false end
  end
  return true
end

function equal(a, b, depth)
  V.spend(1)
  if depth > 600 then V.fail "'==': expected values nested at most 600 deep, found deeper ones" end
  local x, y = number(a), number(b)
  if x and y then
    if x ~= y or math.abs(x) < 2 ^ 53 or not both_int(a, b) then return x == y end
    return show.str(a) == show.str(b)
  end
  local s, t = V.text(a), V.text(b)
  if s or t then return s == t end
  local k = kind(a)
  if k ~= kind(b) then return false end
  if k == "list" or k == "tuple" then return rawequal(a, b) or equal_lists(a, b, depth + 1) end
  if k == "dict" then return rawequal(a, b) or equal_dicts(a, b, depth + 1) end
  if k == "range" then return equal_lists(V.items(a), V.items(b), depth + 1) end
  return k == "undefined" or rawequal(a, b)
end

--- a == b.  Numbers compare by value (true is 1), text by characters, undefined to undefined.
function ops.equal(a, b) return equal(a, b, 1) end

local function less(a, b, op)
  V.spend(1)
  local x, y = number(a), number(b)
  if x and y then
    if x == y and math.abs(x) >= 2 ^ 53 and both_int(a, b) then return big.less(a, b) end
    return x < y
  end
  local s, t = V.text(a), V.text(b)
  if s and t then return s < t end
  local k = kind(a)
  if k == kind(b) and (k == "list" or k == "tuple") then
    for i = 1, math.min(#a, #b) do
      if not equal(a[i], b[i], 1) then return less(a[i], b[i], op) end
    end
    return #a < #b
  end
  refuse(op, a, b)
end

--- a < b.
function ops.less(a, b) return less(a, b, "<") end

--- Where needle begins in s from byte `from` on, or nil.  A long needle is searched for by Knuth,
--- Morris and Pratt, so that no text makes it slow.
function ops.find(s, needle, from)
  V.spend_text(#s - (from or 1) + 1 + #needle)
  if #needle < 64 then return s:find(needle, from or 1, true) end
  V.spend(#needle + #s / 8)
  local back, k = { [0] = 0, 0 }, 0
  for i = 2, #needle do
    while k > 0 and needle:byte(k + 1) ~= needle:byte(i) do k = back[k] end
    if needle:byte(k + 1) == needle:byte(i) then k = k + 1 end
    back[i] = k
  end
  k = 0
  for i = from or 1, #s do
    while k > 0 and needle:byte(k + 1) ~= s:byte(i) do k = back[k] end
    if needle:byte(k + 1) == s:byte(i) then k = k + 1 end
    if k == #needle then return i - k + 1, i end
  end
end

--- Is a in b?
function ops.contains(a, b)
  local text = V.text(b)
  if text then
    if not V.text(a) then
      if V.is_undefined(a) then V.need(a) end
      V.fail("'in': expected text to look for in text, found %s", V.type(a))
    end
    return ops.find(text, V.text(a)) ~= nil
  end
  if V.is_dict(b) then return V.get(b, a) ~= nil end
  for e in V.iterate(b) do if ops.equal(a, e) then return true end end
  return false
end

--- Bounds of a slice over n elements: first, last, step (1-based, inclusive).
local function bounds(n, start, stop, step)
  local function at(v, low, high)
    if v < 0 then v = v + n end
    return math.max(low, math.min(v, high))
  end
  if step > 0 then
    return (start and at(start, 0, n) or 0) + 1, stop and at(stop, 0, n) or n
  end
  return (start and at(start, -1, n - 1) or n - 1) + 1, (stop and at(stop, -1, n - 1) or -1) + 2
end

local function bound(v, what)
  if v == nil or v == V.none then return nil end
  local n = V.integer(v)
  if not n then V.fail("slice: %s: expected an integer or None, found %s", what, V.type(v)) end
  return n
end

--- v[start:stop:step].
function ops.slice(v, start, stop, step)
  start, stop, step = bound(start, "start"), bound(stop, "stop"), bound(step, "step") or 1
  if step == 0 then V.fail "slice: step: expected a number other than zero, found zero" end
  local text, k = V.text(v), kind(v)
  if V.is_undefined(v) then V.need(v) end
  if not text and k ~= "list" and k ~= "tuple" and k ~= "range" then
    V.fail("slice: expected text or a list, found %s", V.type(v))
  end
  if text and step == 1 and unicode.ascii(text) then
    local from, to = bounds(#text, start, stop, 1)
    return text:sub(from, to)
  end
  if k == "range" then
    local from, to = bounds(v.n, start, stop, step)
    return V.range(v.start + (from - 1) * v.step,
      v.start + (to - 1 + (step > 0 and 1 or -1)) * v.step,
      step * v.step)
  end
  local items, out = V.items(v), {}
  local from, to = bounds(#items, start, stop, step)
  for i = from, to, step do out[#out + 1] = items[i] end
  if text then return table.concat(out) end
  return k == "tuple" and V.tuple(out) or V.list(out)
end

return ops
