--- The kinds of drawn geometry problem: name -> { weight, share, numbers, draw, question, read,
--- right, wrong }.
---
--- weight: how often it comes; share: percent of right work by careless annotators.
--- numbers(r) draws its numbers n; draw(canvas, r, n) the figure, false where labels collide;
--- question(r, n) asks.  read(n, seen): the numbers that are read; absent: those seen in labels.
--- right(a, b, n, c) -> the work shown, the answer, from the numbers a, b, c that were read;
--- wrong: typical errors, in the same form.
local types = {}

--- ---- figures ----

local function point(r, left, right, top, bottom)
  return { r:int(left, right), r:int(top, bottom) }
end

local function triangle(r)
  local points = { point(r, 8, 24, 88, 102), point(r, 88, 104, 88, 102), point(r, 34, 80, 10, 24) }
  if r:chance(40) then for _, p in ipairs(points) do p[2] = 111 - p[2] end end
  if r:chance(30) then for _, p in ipairs(points) do p[1], p[2] = p[2], p[1] end end
  return points
end

--- 36% of the way from corner i to the middle of the figure.
local function inside(points, i)
  local x, y = 0, 0
  for _, p in ipairs(points) do x, y = x + p[1] / #points, y + p[2] / #points end
  local p = points[i]
  return p[1] + 0.36 * (x - p[1]), p[2] + 0.36 * (y - p[2])
end

--- A polygon with texts inside its corners.
local function corners(canvas, points, texts)
  canvas:polygon(points)
  for i, text in ipairs(texts) do
    local x, y = inside(points, i)
    if text ~= "" and not canvas:label(text, x, y) then return false end
  end
  return true
end

local function shuffled(r, list)
  for i = #list, 2, -1 do
    local k = r:int(1, i)
    list[i], list[k] = list[k], list[i]
  end
  return list
end

--- ---- questions, and work: its steps as text, its value ----

local function ask(r, text) return r:pick { text, "Find ?.", "What is ?" } end

local function same(a) return ("equal %d"):format(a), a end
local function sum(a, b) return ("%d+%d=%d"):format(a, b, a + b), a + b end
local function product(a, b) return ("%d*%d=%d"):format(a, b, a * b), a * b end
local function difference(a, b) return ("%d-%d=%d"):format(a, b, a - b), a - b end
local function supplement(a) return difference(180, a) end
local function distance(a, b) return difference(math.max(a, b), math.min(a, b)) end

--- What is left of whole without a and b.
local function remainder(whole, a, b)
  local rest = whole - a - b
  return ("%d+%d=%d,%d-%d=%d"):format(a, b, a + b, whole, a + b, rest), rest
end

local function third_of_180(a, b) return remainder(180, a, b) end
local function third_of_360(a, b) return remainder(360, a, b) end

--- ---- the types ----

local function two_angles(r)
  local a = 5 * r:int(4, 26)
  return a, 5 * r:int(2, math.min(26, (170 - a) / 5))
end

types.trisum = { weight = 2, share = 45,
  numbers = function(r)
    local a, b = two_angles(r)
    return { a, b, told = r:chance(25) }
  end,
  draw = function(c, r, n)
    local texts = shuffled(r, n.told and { n[2], "", "?" } or { n[1], n[2], "?" })
    return corners(c, triangle(r), texts)
  end,
  question = function(r, n)
    if n.told then return ("One angle of the triangle is %d. Find ?."):format(n[1]) end
    return ask(r, "Find the third angle of the triangle.")
  end,
  read = function(n, seen) return n.told and { n[1], n[2] } or seen end,
  right = third_of_180,
  wrong = { supplement, third_of_360 } }

types.text = { weight = 1, share = 45,
  numbers = function(r) return { two_angles(r) } end,
  draw = function(c, r) return corners(c, triangle(r), { "", "", "?" }) end,
  question = function(r, n)
    return r:pick { ("Two angles of a triangle are %d and %d. Find the third."):format(n[1], n[2]),
      ("In triangle ABC, A=%d, B=%d. Find C."):format(n[1], n[2]) }
  end,
  read = function(n) return n end,
  right = third_of_180,
  wrong = { supplement, third_of_360 } }

types.isos = { weight = 3, share = 35,
  numbers = function(r)
    if r:chance(50) then return { r:int(15, 80), base = true } end
    return { 2 * r:int(8, 70) }
  end,
  draw = function(c, r, n)
    local half, x = r:int(30, 44), r:int(50, 62)
    local base, top = r:int(90, 102), r:int(8, 20)
    if r:chance(40) then base, top = 111 - base, 111 - top end
    local p = { { x - half, base }, { x + half, base }, { x, top } }
    local left = r:chance(50)
    local at_base, at_top = n.base and n[1] or "?", n.base and "?" or n[1]
    local texts = { left and at_base or "", left and "" or at_base, at_top }
    if not corners(c, p, texts) then return false end
    c:tick(p[1], p[3])
    c:tick(p[2], p[3])
    return true
  end,
  question = function(r) return ask(r, "Two sides are equal. Find ?.") end,
  right = function(a, _, n)
    if n.base then
      local first, both = product(2, a)
      local second, top = supplement(both)
      return first .. "," .. second, top
    end
    local first, both = supplement(a)
    return ("%s,%d/2=%d"):format(first, both, both / 2), both / 2
  end,
  wrong = { supplement } }

types.ext = { weight = 3, share = 50,
  numbers = function(r)
    local a = 5 * r:int(4, 20)
    local b = 5 * r:int(3, math.min(22, (165 - a) / 5))
    if r:chance(50) then return { a, b } end
    return { a + b, a, outer = true }
  end,
  draw = function(c, r, n)
    local y = r:int(84, 92)
    local points = { { r:int(4, 12), y }, { r:int(62, 70), y }, point(r, 24, 50, 8, 18) }
    c:polygon(points)
    c:line(points[2], { 108, y })
    local at_side, at_top, outer = n[1], n[2], "?"
    if n.outer then at_side, at_top, outer = n[2], "?", n[1] end
    if r:chance(50) then at_side, at_top = at_top, at_side end
    local x1, y1 = inside(points, 1)
    local x3, y3 = inside(points, 3)
    return c:label(at_side, x1, y1) and c:label(at_top, x3, y3) and c:label(outer, 91, y - 14)
  end,
  question = function(r) return ask(r, "One side is extended. Find ?.") end,
  right = function(a, b, n) return (n.outer and distance or sum)(a, b) end,
  wrong = { function(a, b, n)
    local first, value = types.ext.right(a, b, n)
    return ("%s,180-%d=%d"):format(first, value, 180 - value), 180 - value
  end } }

types.par = { weight = 1, share = 50,
  numbers = function(r) return { r:int(25, 155), same = r:chance(50) } end,
  draw = function(c, r, n)
    local y1, y2, x = r:int(32, 40), r:int(74, 82), r:int(50, 60)
    local lean = n[1] < 90 and 14 or -14
    c:line({ 4, y1 }, { 107, y1 })
    c:line({ 4, y2 }, { 107, y2 })
    c:line({ x + lean * 2, 4 }, { x - lean * 2, 107 })
    local known = r:chance(50) and 28 or -28
    local asked = n.same and known or -known
    return c:label(n[1], x + known, y1 + 14) and c:label("?", x + asked, y2 + 14)
  end,
  question = function(r) return ask(r, "The lines are parallel. Find ?.") end,
  right = function(a, _, n) return (n.same and same or supplement)(a) end,
  wrong = { function(a, _, n) return (n.same and supplement or same)(a) end } }

local function perimeter(a, b)
  local both = a + b
  return ("%d+%d=%d,2*%d=%d"):format(a, b, both, both, 2 * both), 2 * both
end

types.rect = { weight = 2, share = 45,
  numbers = function(r) return { r:int(2, 12), r:int(2, 12), area = r:chance(50) } end,
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
  right = function(a, b, n) return (n.area and product or perimeter)(a, b) end,
  wrong = { function(a, b, n) return (n.area and perimeter or product)(a, b) end,
    function(a, b, n) return (n.area and perimeter or sum)(a, b) end } }

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
    local asked = n.radius and "diameter" or "radius"
    return r:pick { "Find the " .. asked .. " of the circle.", "What is the " .. asked .. "?" }
  end,
  right = function(a, _, n)
    if n.radius then return product(2, a) end
    return ("%d/2=%d"):format(a, a / 2), a / 2
  end,
  wrong = { same } }

local triples = { { 3, 4, 5 }, { 6, 8, 10 }, { 5, 12, 13 }, { 9, 12, 15 }, { 8, 15, 17 },
  { 12, 16, 20 }, { 7, 24, 25 }, { 15, 20, 25 }, { 10, 24, 26 }, { 20, 21, 29 } }

types.pyth = { weight = 1, share = 40,
  numbers = function(r)
    local t = r:pick(triples)
    if r:chance(50) then return { t[1], t[2], long = true } end
    return { t[3], t[r:int(1, 2)] }
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
  question = function(r)
    return r:pick { "Find the side ? of the right triangle.", "What is the side ?" }
  end,
  right = function(a, b, n)
    local steps, square = (n.long and sum or distance)(a * a, b * b)
    local side = math.sqrt(square)
    return ("%s,root %d"):format(steps, side), side
  end,
  wrong = { function(a, b, n) return (n.long and sum or distance)(a, b) end } }

types.comp = { weight = 2, share = 45,
  numbers = function(r) return { r:int(5, 85) } end,
  draw = function(c, r, n)
    local x, y = r:int(10, 18), r:int(92, 100)
    c:line({ x, y }, { 106, y })
    c:line({ x, y }, { x, 8 })
    c:line({ x, y }, point(r, 76, 90, 18, 34))
    c:square(x, y, 1, -1)
    local low, high = "?", n[1]
    if r:chance(50) then low, high = high, low end
    return c:label(low, x + 62, y - 20) and c:label(high, x + 24, y - 62)
  end,
  question = function(r) return ask(r, "The angle is right. Find ?.") end,
  right = function(a) return difference(90, a) end,
  wrong = { supplement } }

types.quad = { weight = 1, share = 35,
  numbers = function(r)
    local a, b = 5 * r:int(10, 26), 5 * r:int(10, 26)
    return { a, b, 5 * r:int(10, math.min(26, (350 - a - b) / 5)) }
  end,
  draw = function(c, r, n)
    local points = { point(r, 6, 18, 88, 102), point(r, 92, 104, 88, 102),
      point(r, 84, 102, 10, 24), point(r, 8, 28, 10, 24) }
    return corners(c, points, shuffled(r, { n[1], n[2], n[3], "?" }))
  end,
  question = function(r) return ask(r, "Find the fourth angle ?.") end,
  right = function(a, b, _, c)
    local first, two = sum(a, b)
    local rest, angle = remainder(360, two, c)
    return first .. "," .. rest, angle
  end,
  wrong = { third_of_360 } }

return types
