--- Drawn geometry in the manner of GeoQA: a picture, a question, a whole number as the answer.
--- Seeded: a problem is a function of (seed, index, split).
---
---   geoqa.problem(seed, index, { split = "train" | "test" | "test_numbers" })
---     -> { rgb (112 x 112 x 3 bytes), question, answer (text), type, numbers, right, wrong }
---   geoqa.demonstration(problem, random, { mixed = true }) -> the response of an annotator
---
--- Combinations of (type, numbers) whose hash falls in one sixth never occur in training: they are
--- test_numbers.
local recipe_file = require "rllava.recipe_file"
local sorted = require("rllava").sorted
local annotator = recipe_file "data/annotator.lua"
local geometry = recipe_file "data/geometry.lua"
local random = recipe_file "data/random.lua"
local types = recipe_file "data/geoqa_types.lua"

local geoqa = { size = geometry.size, types = types }

local mix = {}
for name, t in sorted(types) do
  t.name = name
  mix[#mix + 1] = t
end

--- Is this combination kept out of training?
local function held_out(t, n)
  local flags = {}
  for k, v in sorted(n) do
    if type(k) == "string" and v then flags[#flags + 1] = k end
  end
  return random.hash(t.name, table.concat(flags), n[1], n[2] or 0, n[3] or 0) % 6 == 0
end

--- Work shown and its answer, by the right rule or an error.
local function work(rule, read, n)
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
  local read = canvas:reading()
  if t.read then read = t.read(n, read) end
  local right, wrong = work(t.right, read, n), {}
  for i, rule in ipairs(t.wrong) do wrong[i] = work(rule, read, n) end
  return { rgb = canvas.rgb, question = t.question(r, n), answer = right.answer, type = t.name,
    numbers = n, right = right, wrong = wrong }
end

--- An annotator's response; mixed: of mixed quality.
function geoqa.demonstration(problem, r, options)
  return annotator(problem, options and options.mixed and types[problem.type].share or nil, r)
end

return geoqa
