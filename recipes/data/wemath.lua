--- Knowledge questions in the manner of We-Math: a picture, a composite problem, and a question for
--- each of its steps, all with five choices of which one is right.  Seeded: a question is a
--- function of (seed, index, split).
---
---   wemath.question(seed, index, { split = "train" | "test" | "test_numbers" })
---     -> { rgb (112 x 112 x 3 bytes), text, choices (list of numbers), answer (letter), family,
---          problem (number), key, numbers, right, wrong }
---   wemath.demonstration(question, random, { mixed = true }) -> the response of an annotator
---
--- The questions of a problem follow each other; wemath.cycle questions are one problem of each
--- family.  Combinations of (family, numbers) whose hash falls in one sixth never occur in the
--- training of this task: they are test_numbers.
local recipe_file = require "rllava.recipe_file"
local annotator = recipe_file "data/annotator.lua"
local geometry = recipe_file "data/geometry.lua"
local random = recipe_file "data/random.lua"

local wemath = { size = geometry.size }

--- ---- work shown: each function writes steps and gives the last result ----

local function times(a, b) return ("%d*%d=%d"):format(a, b, a * b), a * b end
local function over(a, b) return ("%d/%d=%d"):format(a, b, a / b), a / b end
local function minus(a, b) return ("%d-%d=%d"):format(a, b, a - b), a - b end
local function plus(a, b) return ("%d+%d=%d"):format(a, b, a + b), a + b end
local function equal(a) return ("equal %d"):format(a), a end

local function double(x) return times(2, x) end
local function four(x) return times(4, x) end
local function half(x) return over(x, 2) end
local function quarter(x) return over(x, 4) end
local function square(x) return times(x, x) end
local function rest(x) return minus(180, x) end

--- A rule whose steps follow each other: each goes on from the result of the one before.
local function chain(first, ...)
  local more = { ... }
  return function(a, b)
    local steps, value = first(a, b)
    for _, rule in ipairs(more) do
      local step
      step, value = rule(value)
      steps = steps .. "," .. step
    end
    return steps, value
  end
end

local perimeter = chain(plus, double)
local mean = chain(plus, half)
local third = chain(plus, rest)
local base = chain(rest, half)

--- ---- families: numbers(r) draws them, draw(c, r, n) the figure (false where labels collide);
--- then the questions: text (%d: the result of the step before), the right rule, typical errors.
--- The last one is the composite ----

local families = {}

local function box(c, x, y, w, h)
  c:polygon { { x, y }, { x + w, y }, { x + w, y + h }, { x, y + h } }
end

--- Labels at a horizontal and a vertical side of a box.
local function sides(c, r, n, x, y, w, h)
  return c:label(n[1], x + w / 2, r:chance(50) and y - 4 or y + h + 4)
    and c:label(n[2], r:chance(50) and x - 4 or x + w + 4, y + h / 2)
end

--- A rectangle with its diagonal: its area, and the half of it.
families.halves = {
  numbers = function(r)
    local a = r:int(2, 12)
    return { a, a % 2 == 0 and r:int(2, 12) or 2 * r:int(1, 6) }
  end,
  draw = function(c, r, n)
    local x, y, w, h = r:int(16, 28), r:int(24, 34), r:int(58, 72), r:int(44, 62)
    box(c, x, y, w, h)
    c:line({ x, y }, { x + w, y + h })
    return sides(c, r, n, x, y, w, h)
  end,
  { text = "Find the area of the rectangle.", right = times, wrong = { perimeter, plus } },
  { text = "The area of the rectangle is %d. Find the area of the triangle.",
    right = half, wrong = { double, equal } },
  { text = "Find the area of the triangle.", right = chain(times, half), wrong = { times, mean } },
}

--- A circle in a square: its diameter, and the perimeter of the square.
families.ring = {
  numbers = function(r) return { r:int(2, 24) } end,
  draw = function(c, r, n)
    local x, y, size = r:int(52, 60), r:int(52, 60), r:int(38, 48)
    c:circle(x, y, size)
    local a, b, far_a, far_b = x - size, y - size, x + size, y + size
    local p = { { a, b }, { far_a, b }, { far_a, far_b }, { a, far_b } }
    for i = 1, 4 do c:line(p[i], p[i % 4 + 1]) end
    c:line({ x, y }, { x + size, y })
    return c:label(n[1], x + size / 2, y - 14)
  end,
  { text = "Find the diameter of the circle.", right = double, wrong = { equal, four } },
  { text = "The diameter of the circle is %d. Find the perimeter of the square.",
    right = four, wrong = { double, equal } },
  { text = "Find the perimeter of the square.",
    right = chain(double, four), wrong = { four, double } },
}

--- A triangle with two angles; a line cuts the third one in half.
families.cut = {
  numbers = function(r)
    local a = r:int(4, 22)
    local most = math.min(11, math.floor((33 - a) / 2))
    return { 5 * a, 5 * (2 * r:int(2, most) - a % 2) }
  end,
  draw = function(c, r, n)
    local a, b = { r:int(4, 14), r:int(92, 104) }, { r:int(96, 107), r:int(92, 104) }
    local top, y = { r:int(40, 70), r:int(6, 14) }, 84
    if r:chance(40) then
      for _, p in ipairs { a, b, top } do p[2] = 111 - p[2] end
      y = 28
    end
    c:polygon { a, b, top }
    c:line(top, { (a[1] + b[1]) / 2, (a[2] + b[2]) / 2 })
    local k = r:int(1, 2)
    return c:label(n[k], a[1] + 22, y) and c:label(n[3 - k], b[1] - 22, y)
  end,
  { text = "Find the third angle of the triangle.", right = third, wrong = { plus, mean } },
  { text = "The third angle is %d. A line cuts it in half. Find ?.",
    right = half, wrong = { rest, equal } },
  { text = "A line cuts the third angle in half. Find ?.",
    right = chain(third, half), wrong = { third, mean } },
}

--- An isosceles triangle with a side extended: the inner angle X, the outer one Y.
families.outer = {
  numbers = function(r) return { 2 * r:int(8, 70) } end,
  draw = function(c, r, n)
    local wide, x, y = r:int(26, 32), r:int(40, 46), r:int(84, 92)
    local a, b, top = { x - wide, y }, { x + wide, y }, { x, r:int(6, 14) }
    c:polygon { a, b, top }
    c:line(b, { 109, y })
    c:tick(a, top)
    c:tick(b, top)
    return c:label(n[1], x, top[2] + 32) and c:label("X", b[1] - 14, y - 12)
      and c:label("Y", b[1] + 22, y - 12)
  end,
  { text = "Two sides are equal. Find X.", right = base, wrong = { rest, half } },
  { text = "X is %d. Find Y.", right = rest, wrong = { equal, double } },
  { text = "Two sides are equal. Find Y.", right = chain(base, rest), wrong = { base, rest } },
}

--- A rectangle and a square of the same perimeter: three steps to the area of the square.
families.same = { steps = 3,
  numbers = function(r)
    local a = r:int(2, 12)
    return { a, 2 * r:int(1, 5) + a % 2 }
  end,
  draw = function(c, r, n)
    local x, y, w, h, s = r:int(18, 30), r:int(16, 24), r:int(58, 70), r:int(28, 36), r:int(28, 36)
    box(c, x, y, w, h)
    box(c, x + r:int(0, 30), 110 - s, s, s)
    return c:label(n[1], x + w / 2, y - 4)
      and c:label(n[2], r:chance(50) and x - 4 or x + w + 4, y + h / 2)
  end,
  { text = "Find the perimeter of the rectangle.", right = perimeter, wrong = { plus, times } },
  { text = "The perimeter of the square is %d. Find its side.",
    right = quarter, wrong = { half, equal } },
  { text = "The side of the square is %d. Find its area.",
    right = square, wrong = { four, double } },
  { text = "The square has the same perimeter. Find its area.",
    right = chain(perimeter, quarter, square), wrong = { times, perimeter } },
}

local names = { "halves", "ring", "cut", "outer", "same" }
local slots = {}                              -- { family's number, question } of each of a cycle
for k, name in ipairs(names) do
  for q in ipairs(families[name]) do slots[#slots + 1] = { k, q } end
end
wemath.cycle = #slots

--- ---- choices ----

local LETTERS = { "A", "B", "C", "D", "E" }
local NEAR = { -20, -10, -5, -4, -2, -1, 1, 2, 4, 5, 10, 20 }

--- Work shown and its result; nil where the rule gives no positive whole number.
local function work(rule, read)
  local steps, value = rule(read[1], read[2])
  if value < 1 or value % 1 ~= 0 then return nil end
  return { think = table.concat(read, ",") .. ":" .. steps, value = value }
end

--- The values of the right rule and of typical errors, then values close by, in an order of chance.
local function choices(r, right, wrong)
  local list, there = { right.value }, { [right.value] = true }
  local function add(value)
    if value < 1 or there[value] then return end
    list[#list + 1], there[value] = value, true
  end
  for _, w in ipairs(wrong) do add(w.value) end
  while #list < 5 do add(right.value + r:pick(NEAR)) end
  for i = 5, 2, -1 do local k = r:int(1, i) list[i], list[k] = list[k], list[i] end
  return list
end

--- Adds to work the search for its value among the choices, and the letter: "8*12=96 A80 B96".
local function choose(w, list)
  for i, v in ipairs(list) do
    w.think = ("%s %s%d"):format(w.think, LETTERS[i], v)
    if v == w.value then
      w.answer = LETTERS[i]
      return
    end
  end
end

--- ---- questions ----

local function held_out(name, n) return random.hash("wemath", name, n[1], n[2] or 0) % 6 == 0 end

--- A problem of a family -> its numbers, its picture.
local function problem(r, name, split)
  local f, n, canvas = families[name], nil, nil
  repeat n = f.numbers(r) until split == "test" or held_out(name, n) == (split == "test_numbers")
  repeat canvas = geometry.new() until f.draw(canvas, r, n)
  return n, canvas
end

--- What question q of a family starts from: the numbers of the picture, or the result of the step
--- before it.
local function given(f, q, read)
  if q == 1 or q == #f then return read end
  local _, value = f[1].right(read[1], read[2])
  for i = 2, q - 1 do _, value = f[i].right(value) end
  return { value }
end

--- The work by the right rule, the works by errors that lead elsewhere.
local function works(question, read)
  local right, wrong = work(question.right, read), {}
  for _, rule in ipairs(question.wrong) do
    local w = work(rule, read)
    if w and w.value ~= right.value then wrong[#wrong + 1] = w end
  end
  return right, wrong
end

function wemath.question(seed, index, options)
  local split = options and options.split or "train"
  local cycle = math.floor((index - 1) / wemath.cycle)
  local k, q = unpack(slots[(index - 1) % wemath.cycle + 1])
  local name, f = names[k], families[names[k]]
  local steps = f.steps or 2
  local n, canvas = problem(random.new("wemath", split, seed, cycle, name), name, split)
  local read = given(f, q, canvas:reading())
  local right, wrong = works(f[q], read)
  local list = choices(random.new("choices", split, seed, index), right, wrong)
  for _, w in ipairs { right, unpack(wrong) } do choose(w, list) end
  local shown = {}
  for i, v in ipairs(list) do shown[i] = ("%s. %d"):format(LETTERS[i], v) end
  return { rgb = canvas.rgb, text = f[q].text:format(read[1]) .. " " .. table.concat(shown, "; "),
    choices = list, answer = right.answer, family = name, problem = cycle * #names + k, numbers = n,
    key = steps .. "steps_" .. (q > steps and "multi" or q), right = right, wrong = wrong }
end

--- A careless annotator uses the right rule in 45% of the steps and 25% of the composites.
function wemath.demonstration(question, r, options)
  local share = options and options.mixed and (question.key:find "multi" and 25 or 45) or nil
  return annotator(question, share, r)
end

return wemath
