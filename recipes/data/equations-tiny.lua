--- equations-tiny: the written equations as a data set.  @train; @test: new pictures;
--- @test_numbers: equations that training never sees; @demonstrations: equations with an
--- annotator's response, the last fifth of them of mixed quality.
local recipe_file = require "rllava.recipe_file"
local equations = recipe_file "data/equations.lua"
local random = recipe_file "data/random.lua"

local sizes = { train = 2000, test = 400, test_numbers = 400, demonstrations = 7680 }

local function demonstration(i)
  local problem = equations.problem(11, i)
  local r, mixed = random.new("equation demo", i), i > sizes.demonstrations * 0.8
  return problem, equations.demonstration(problem, r, { mixed = mixed })
end

--- split -> the number of rows, and the function that draws row i (from 1); nil: no such split.
local function rows(split)
  if not sizes[split] then return nil end
  return sizes[split], function(i)
    local problem, response
    if split == "demonstrations" then problem, response = demonstration(i)
    else problem = equations.problem(0, i, { split = split }) end
    return { prompt = problem.text, answer = problem.answer, response = response,
      target = not response and equations.demonstration(problem) or nil,
      images = { { rgb = problem.rgb, width = equations.size, height = equations.size } } }
  end
end

return { splits = { "train", "test", "test_numbers", "demonstrations" }, rows = rows }
