--- Drawn geometry in the manner of GeoQA: a picture, a question, a whole number as the answer.  Seeded: a
--- problem is a function of (seed, index, split).
---
---   geoqa.problem(seed, index, { split = "train" | "test" | "test_numbers" })
---     -> { rgb (112 x 112 x 3 bytes), question, answer (text), type, numbers, right, wrong }
---   geoqa.demonstration(problem, random, { mixed = true }) -> the response of an annotator
---
--- Combinations of (type, numbers) whose hash falls in one sixth never occur in training: they are test_numbers.
local annotator = require "rllava.recipe_file" "data/annotator.lua"
local geometry = require "rllava.recipe_file" "data/geometry.lua"
local random = require "rllava.recipe_file" "data/random.lua"

local geoqa = { size = geometry.size }

--- ---- figures: each draws labels and gives false where they collide ----

local function triangle(r)
  local a, b, c = { r:int(8, 24), r:int(88, 102) }, { r:int(88, 104), r:int(88, 102) }, { r:int(34, 80), r:int(10, 24) }
  if r:chance(40) then for _, p in ipairs { a, b, c } do p[2] = 111 - p[2] end end
  if r:chance(30) then for _, p in ipairs { a, b, c } do p[1], p[2] = p[2], p[1] end end
  return { a, b, c }
end

--- 36% of the way from corner i to the middle of the figure.
local function inside(points, i)
  local x, y = 0, 0
  for _, p in ipairs(points) do x, y = x + p[1] / #points, y + p[2] / #points end
  local p = points[i]
  return p[1] + 0.36 * (x - p[1]), p[2] + 0.36 * (y - p[2])
end

local function corners(canvas, points, texts)
  canvas:polygon(points)
  for i, text in ipairs(texts) do
    local x, y = inside(points, i)
    if text ~= "" and not canvas:label(text, x, y) then return false end
  end
  return true
end

local function step(fmt, ...) return (fmt:format(...)) end
local bare = { "Find ?.", "What is ?" }

--- ---- the types: numbers(r) draws them, draw(c, r, n) the figure; then the question, the right rule and the
--- typical errors as { think, answer } from the numbers as they are read ----

local types = {}

types.trisum = { weight = 2, share = 45,
  numbers = function(r)
    local a = 5 * r:int(4, 26)
    return { a, 5 * r:int(2, math.min(26, (170 - a) / 5)), told = r:chance(25) }
  end,
  draw = function(c, r, n)
    local texts = { n[1], n[2], "?" }
    if n.told then texts = { n[2], "", "?" } end
    for i = 3, 2, -1 do local k = r:int(1, i) texts[i], texts[k] = texts[k], texts[i] end
    return corners(c, triangle(r), texts)
  end,
  question = function(r, n)
    if n.told then return ("One angle of the triangle is %d. Find ?."):format(n[1]) end
    return r:pick { "Find the third angle of the triangle.", bare[1], bare[2] }
  end,
  read = function(n, seen) return n.told and { n[1], n[2] } or seen end,
  right = function(a, b) return step("%d+%d=%d,180-%d=%d", a, b, a + b, a + b, 180 - a - b), 180 - a - b end,
  wrong = { function(a) return step("180-%d=%d", a, 180 - a), 180 - a end,
    function(a, b) return step("%d+%d=%d,360-%d=%d", a, b, a + b, a + b, 360 - a - b), 360 - a - b end } }

types.text = { weight = 1, share = 45, numbers = function(r)
    local a = 5 * r:int(4, 26)
    return { a, 5 * r:int(2, math.min(26, (170 - a) / 5)) }
  end,
  draw = function(c, r) return corners(c, triangle(r), { "", "", "?" }) end,
  question = function(r, n)
    return r:pick { ("Two angles of a triangle are %d and %d. Find the third."):format(n[1], n[2]),
      ("In triangle ABC, A=%d, B=%d. Find C."):format(n[1], n[2]) }
  end,
  read = function(n) return n end, right = types.trisum.right, wrong = types.trisum.wrong }

types.isos = { weight = 3, share = 35,
  numbers = function(r)
    if r:chance(50) then return { r:int(15, 80), base = true } end
    return { 2 * r:int(8, 70) }
  end,
  draw = function(c, r, n)
    local half, x = r:int(30, 44), r:int(50, 62)
    local p = { { x - half, r:int(90, 102) }, nil, { x, r:int(8, 20) } }
    p[2] = { x + half, p[1][2] }
    local flip = r:chance(40)
    for _, q in ipairs { p[1], p[3] } do if flip then q[2] = 111 - q[2] end end
    p[2][2] = p[1][2]
    local left = r:chance(50)
    local at_base, at_top = n.base and n[1] or "?", n.base and "?" or n[1]
    local texts = { left and at_base or "", left and "" or at_base, at_top }
    if not corners(c, p, texts) then return false end
    c:tick(p[1], p[3])
    c:tick(p[2], p[3])
    return true
  end,
  question = function(r) return r:pick { "Two sides are equal. Find ?.", bare[1], bare[2] } end,
  right = function(a, _, n)
    if n.base then return step("2*%d=%d,180-%d=%d", a, 2 * a, 2 * a, 180 - 2 * a), 180 - 2 * a end
    return step("180-%d=%d,%d/2=%d", a, 180 - a, 180 - a, (180 - a) / 2), (180 - a) / 2
  end,
  wrong = { function(a) return step("180-%d=%d", a, 180 - a), 180 - a end } }

types.ext = { weight = 3, share = 50,
  numbers = function(r)
    local a = 5 * r:int(4, 20)
    local b = 5 * r:int(3, math.min(22, (165 - a) / 5))
    if r:chance(50) then return { a, b } end
    return { a + b, a, outer = true }
  end,
  draw = function(c, r, n)
    local y = r:int(84, 92)
    local a, b, top = { r:int(4, 12), y }, { r:int(62, 70), y }, { r:int(24, 50), r:int(8, 18) }
    local far = { 108, y }
    c:polygon { a, b, top }
    c:line(b, far)
    local texts = n.outer and { n[2], "?" } or { n[1], n[2] }
    if r:chance(50) then texts[1], texts[2] = texts[2], texts[1] end
    local x1, y1 = inside({ a, b, top }, 1)
    local x3, y3 = inside({ a, b, top }, 3)
    return c:label(texts[1], x1, y1) and c:label(texts[2], x3, y3) and c:label(n.outer and n[1] or "?", 91, y - 14)
  end,
  question = function(r) return r:pick { "One side is extended. Find ?.", bare[1], bare[2] } end,
  right = function(a, b, n)
    if not n.outer then return step("%d+%d=%d", a, b, a + b), a + b end
    local high, low = math.max(a, b), math.min(a, b)
    return step("%d-%d=%d", high, low, high - low), high - low
  end,
  wrong = { function(a, b, n)
    local first, value = types.ext.right(a, b, n)
    return step("%s,180-%d=%d", first, value, 180 - value), 180 - value
  end } }

types.par = { weight = 1, share = 50, numbers = function(r) return { r:int(25, 155), same = r:chance(50) } end,
  draw = function(c, r, n)
    local y1, y2, x = r:int(32, 40), r:int(74, 82), r:int(50, 60)
    local lean = n[1] < 90 and 14 or -14
    c:line({ 4, y1 }, { 107, y1 })
    c:line({ 4, y2 }, { 107, y2 })
    c:line({ x + lean * 2, 4 }, { x - lean * 2, 107 })
    local right = r:chance(50) and 1 or -1
    return c:label(n[1], x + 28 * right, y1 + 14) and c:label("?", x + 28 * right * (n.same and 1 or -1), y2 + 14)
  end,
  question = function(r) return r:pick { "The lines are parallel. Find ?.", bare[1], bare[2] } end,
  right = function(a, _, n)
    if n.same then return step("equal %d", a), a end
    return step("180-%d=%d", a, 180 - a), 180 - a
  end,
  wrong = { function(a, _, n)
    if n.same then return step("180-%d=%d", a, 180 - a), 180 - a end
    return step("equal %d", a), a
  end } }

local function area(a, b) return step("%d*%d=%d", a, b, a * b), a * b end
local function perimeter(a, b) return step("%d+%d=%d,2*%d=%d", a, b, a + b, a + b, 2 * (a + b)), 2 * (a + b) end
local function half(a, b) return step("%d+%d=%d", a, b, a + b), a + b end

types.rect = { weight = 2, share = 45, numbers = function(r) return { r:int(2, 12), r:int(2, 12), area = r:chance(50) } end,
  draw = function(c, r, n)
    local x, y, w, h = r:int(16, 28), r:int(24, 34), r:int(58, 72), r:int(44, 62)
    c:polygon { { x, y }, { x + w, y }, { x + w, y + h }, { x, y + h } }
    return c:label(n[1], x + w / 2, r:chance(50) and y - 4 or y + h + 4)
      and c:label(n[2], r:chance(50) and x - 4 or x + w + 4, y + h / 2)
  end,
  question = function(r, n)
    if n.area then return r:pick { "Find the area of the rectangle.", "What is the area?" } end
    return r:pick { "Find the perimeter of the rectangle.", "What is the perimeter?" }
  end,
  right = function(a, b, n) return (n.area and area or perimeter)(a, b) end,
  wrong = { function(a, b, n) return (n.area and perimeter or area)(a, b) end,
    function(a, b, n) return (n.area and perimeter or half)(a, b) end } }

types.circ = { weight = 2, share = 50,
  numbers = function(r)
    if r:chance(50) then return { r:int(2, 49), radius = true } end
    return { 2 * r:int(2, 49) }
  end,
  draw = function(c, r, n)
    local x, y, size = r:int(52, 60), r:int(52, 60), r:int(38, 48)
    c:circle(x, y, size)
    c:line({ n.radius and x or x - size, y }, { x + size, y })
    return c:label(n[1], n.radius and x + size / 2 or x, y - 14)
  end,
  question = function(r, n)
    if n.radius then return r:pick { "Find the diameter of the circle.", "What is the diameter?" } end
    return r:pick { "Find the radius of the circle.", "What is the radius?" }
  end,
  right = function(a, _, n)
    if n.radius then return step("2*%d=%d", a, 2 * a), 2 * a end
    return step("%d/2=%d", a, a / 2), a / 2
  end,
  wrong = { function(a) return step("equal %d", a), a end } }

local triples = { { 3, 4, 5 }, { 6, 8, 10 }, { 5, 12, 13 }, { 9, 12, 15 }, { 8, 15, 17 }, { 12, 16, 20 }, { 7, 24, 25 },
  { 15, 20, 25 }, { 10, 24, 26 }, { 20, 21, 29 } }
types.pyth = { weight = 1, share = 40,
  numbers = function(r)
    local t = r:pick(triples)
    if r:chance(50) then return { t[1], t[2], long = true } end
    local k = r:int(1, 2)
    return { t[3], t[k] }
  end,
  draw = function(c, r, n)
    local x, y, w, h = r:int(16, 24), r:int(88, 94), r:int(66, 78), r:int(60, 74)
    c:polygon { { x, y }, { x + w, y }, { x, y - h } }
    c:square(x, y, 1, -1)
    local legs = n.long and { n[1], n[2] } or { n[2], "?" }
    if r:chance(50) then legs[1], legs[2] = legs[2], legs[1] end
    return c:label(legs[1], x + w / 2, y + 6) and c:label(legs[2], x - 4, y - h / 2)
      and c:label(n.long and "?" or n[1], x + w / 2 + 16, y - h / 2 - 8)
  end,
  question = function(r) return r:pick { "Find the side ? of the right triangle.", "What is the side ?" } end,
  right = function(a, b, n)
    local high, low = math.max(a, b), math.min(a, b)
    if n.long then
      local c = math.sqrt(a * a + b * b)
      return step("%d+%d=%d,root %d", a * a, b * b, a * a + b * b, c), c
    end
    local rest = high * high - low * low
    return step("%d-%d=%d,root %d", high * high, low * low, rest, math.sqrt(rest)), math.sqrt(rest)
  end,
  wrong = { function(a, b, n)
    if n.long then return half(a, b) end
    local high, low = math.max(a, b), math.min(a, b)
    return step("%d-%d=%d", high, low, high - low), high - low
  end } }

types.comp = { weight = 2, share = 45, numbers = function(r) return { r:int(5, 85) } end,
  draw = function(c, r, n)
    local x, y = r:int(10, 18), r:int(92, 100)
    c:line({ x, y }, { 106, y })
    c:line({ x, y }, { x, 8 })
    c:line({ x, y }, { r:int(76, 90), r:int(18, 34) })
    c:square(x, y, 1, -1)
    local low = r:chance(50)
    return c:label(low and n[1] or "?", x + 62, y - 20) and c:label(low and "?" or n[1], x + 24, y - 62)
  end,
  question = function(r) return r:pick { "The angle is right. Find ?.", bare[1], bare[2] } end,
  right = function(a) return step("90-%d=%d", a, 90 - a), 90 - a end,
  wrong = { function(a) return step("180-%d=%d", a, 180 - a), 180 - a end } }

types.quad = { weight = 1, share = 35,
  numbers = function(r)
    local a, b = 5 * r:int(10, 26), 5 * r:int(10, 26)
    local room = 350 - a - b
    return { a, b, 5 * r:int(10, math.min(26, room / 5)) }
  end,
  draw = function(c, r, n)
    local p = { { r:int(6, 18), r:int(88, 102) }, { r:int(92, 104), r:int(88, 102) }, { r:int(84, 102), r:int(10, 24) },
      { r:int(8, 28), r:int(10, 24) } }
    local texts = { n[1], n[2], n[3], "?" }
    for i = 4, 2, -1 do local k = r:int(1, i) texts[i], texts[k] = texts[k], texts[i] end
    return corners(c, p, texts)
  end,
  question = function(r) return r:pick { "Find the fourth angle ?.", bare[1], bare[2] } end,
  right = function(a, b, n, c)
    return step("%d+%d=%d,%d+%d=%d,360-%d=%d", a, b, a + b, a + b, c, a + b + c, a + b + c, 360 - a - b - c), 360 - a - b - c
  end,
  wrong = { function(a, b) return step("%d+%d=%d,360-%d=%d", a, b, a + b, a + b, 360 - a - b), 360 - a - b end } }

geoqa.types = types
local mix = {}
for name, t in require("rllava").sorted(types) do t.name = name mix[#mix + 1] = t end

--- ---- problems ----

--- Is this combination kept out of training?
local function held_out(t, n)
  local flag = ""
  for k, v in require("rllava").sorted(n) do if type(k) == "string" and v then flag = flag .. k end end
  return random.hash(t.name, flag, n[1], n[2] or 0, n[3] or 0) % 6 == 0
end

--- Work shown and its answer, by the right rule or an error.
local function work(t, rule, read, n)
  local steps, answer = rule(read[1], read[2], n, read[3])
  return { think = table.concat(read, ",") .. ":" .. steps, answer = tostring(answer) }
end

function geoqa.problem(seed, index, options)
  local split = options and options.split or "train"
  local r = random.new("geoqa", split, seed, index)
  local t = r:weighted(mix)
  local n, canvas
  repeat n = t.numbers(r) until split == "test" or held_out(t, n) == (split == "test_numbers")
  repeat canvas = geometry.new() until t.draw(canvas, r, n)
  local read = t.read and t.read(n, canvas:reading()) or canvas:reading()
  local right = work(t, t.right, read, n)
  local wrong = {}
  for i, rule in ipairs(t.wrong) do wrong[i] = work(t, rule, read, n) end
  return { rgb = canvas.rgb, question = t.question(r, n), answer = right.answer, type = t.name, numbers = n,
    right = right, wrong = wrong }
end

--- An annotator's response; mixed: of mixed quality.
function geoqa.demonstration(problem, r, options)
  return annotator(problem, options and options.mixed and types[problem.type].share or nil, r)
end

return geoqa
