--- Equations in one unknown, written on a sheet: 3X+5=20.  Seeded: a function of (seed, index,
--- split).
---
---   equations.problem(seed, index, { split = "train" | "test" | "test_numbers" })
---     -> { rgb (112 x 112 x 3 bytes), text, answer (text), numbers, right, wrong }
---   equations.demonstration(problem, random, { mixed = true }) -> the response of an annotator
---
--- Equations whose hash falls in one sixth never occur in training: they are test_numbers.
local recipe_file = require "rllava.recipe_file"
local annotator = recipe_file "data/annotator.lua"
local geometry = recipe_file "data/geometry.lua"
local random = recipe_file "data/random.lua"

local equations = { size = geometry.size }

--- aX+b=c or aX-b=c, c below 100 -> { a, sign, b, c, x }
local function numbers(r)
  while true do
    local a, x, b, sign = r:int(2, 9), r:int(2, 12), r:int(1, 30), r:pick { 1, -1 }
    local c = a * x + sign * b
    if c >= 1 and c <= 99 then return { a, sign, b, c, x } end
  end
end

local function held_out(n) return random.hash("equations", n[1], n[2], n[3], n[4]) % 6 == 0 end

--- What an annotator shows: the equation as read, b moved to the other side by this sign, and both
--- sides divided by a.
local function work(n, sign, divide)
  local moved = n[4] - sign * n[3]
  local think = ("%s:%d%s%d=%d"):format(n.text, n[4], sign > 0 and "-" or "+", n[3], moved)
  if not divide then return { think = think, answer = tostring(moved) } end
  return { think = ("%s,%d/%d=%d"):format(think, moved, n[1], n[5]), answer = tostring(n[5]) }
end

local function picture(r, text)
  local canvas = geometry.new()
  local x, y = r:int(2, 10), r:int(2, 10)
  canvas:polygon { { x, y }, { 111 - x, y }, { 111 - x, 111 - y }, { x, 111 - y } }
  canvas:label(text, r:int(30, 82), r:int(14, 98))
  return canvas.rgb
end

function equations.problem(seed, index, options)
  local split = options and options.split or "train"
  local r, n = random.new("equations", split, seed, index), nil
  repeat n = numbers(r) until split == "test" or held_out(n) == (split == "test_numbers")
  n.text = ("%dX%s%d=%d"):format(n[1], n[2] > 0 and "+" or "-", n[3], n[4])
  local right, wrong = work(n, n[2], true), { work(n, n[2], false) }
  if n[4] + n[2] * n[3] >= 1 then wrong[2] = work(n, -n[2], false) end
  return { rgb = picture(r, n.text), question = r:pick { "Find X.", "What is X?" },
    answer = right.answer, numbers = n, right = right, wrong = wrong }
end

--- A careless annotator solves 30% of the equations; else forgets the division, or to change the
--- sign as well.
function equations.demonstration(problem, r, options)
  return annotator(problem, options and options.mixed and 30 or nil, r)
end

return equations
