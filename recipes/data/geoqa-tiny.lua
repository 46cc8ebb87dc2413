--- geoqa-tiny: the drawn geometry problems as a data set.  @train; @test: new pictures;
--- @test_numbers: combinations of numbers that training never sees.
local recipe_file = require "rllava.recipe_file"
local geoqa = recipe_file "data/geoqa.lua"

local sizes = { train = 2000, test = 400, test_numbers = 400 }

--- split -> the number of rows, and the function that draws row i (from 1); nil: no such split.
local function rows(split)
  if not sizes[split] then return nil end
  return sizes[split], function(i)
    local problem = geoqa.problem(0, i, { split = split })
    return { prompt = problem.question, answer = problem.answer, type = problem.type,
      images = { { rgb = problem.rgb, width = 112, height = 112 } } }
  end
end

return { splits = { "train", "test", "test_numbers" }, rows = rows }
