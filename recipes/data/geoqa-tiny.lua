--- geoqa-tiny: the drawn geometry problems as a data set.  @train; @test: new pictures; @test_numbers:
--- combinations of numbers that training never sees; @demonstrations: problems with an annotator's
--- response, the last 32 x 650 of them of mixed quality.  target: the right response, but for these.
local recipe_file = require "rllava.recipe_file"
local geoqa = recipe_file "data/geoqa.lua"
local random = recipe_file "data/random.lua"

local sizes = { train = 2000, test = 400, test_numbers = 400, demonstrations = 32 * 3000 }
local clean = 32 * 2350

local function demonstration(i)
  local problem = geoqa.problem(11, i)
  return problem, geoqa.demonstration(problem, random.new("demo", i), { mixed = i > clean })
end

--- split -> the number of rows, and the function that draws row i (from 1); nil: no such split.
local function rows(split)
  if not sizes[split] then return nil end
  return sizes[split], function(i)
    local problem, response
    if split == "demonstrations" then problem, response = demonstration(i)
    else problem = geoqa.problem(0, i, { split = split }) end
    return { prompt = problem.question, answer = problem.answer, type = problem.type,
      response = response, target = not response and geoqa.demonstration(problem) or nil,
      images = { { rgb = problem.rgb, width = geoqa.size, height = geoqa.size } } }
  end
end

return { splits = { "train", "test", "test_numbers", "demonstrations" }, rows = rows }
