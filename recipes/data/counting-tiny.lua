--- counting-tiny: drawn scenes to count in, as a data set.  @train; @test: new pictures;
--- @test_pairs: a colour and a shape that training never asks for together; @demonstrations:
--- problems with an annotator's response, the last 32 x 400 of them of mixed quality.  target: the
--- right response, but for these.
local recipe_file = require "rllava.recipe_file"
local counting = recipe_file "data/counting.lua"
local random = recipe_file "data/random.lua"

local sizes = { train = 2000, test = 400, test_pairs = 400, demonstrations = 32 * 1300 }
local clean = 32 * 900

local function demonstration(i)
  local problem = counting.problem(11, i)
  return problem, counting.demonstration(problem, random.new("demo", i), { mixed = i > clean })
end

--- split -> the number of rows, and the function that draws row i (from 1); nil: no such split.
--- The question comes before the picture: so a cell is as far from the answer in every prompt.
local function rows(split)
  if not sizes[split] then return nil end
  return sizes[split], function(i)
    local problem, response
    if split == "demonstrations" then problem, response = demonstration(i)
    else problem = counting.problem(0, i, { split = split }) end
    return { prompt = problem.question .. "<image>", answer = problem.answer, type = problem.type,
      response = response, target = not response and counting.demonstration(problem) or nil,
      images = { { rgb = problem.rgb, width = counting.size, height = counting.size } } }
  end
end

return { splits = { "train", "test", "test_pairs", "demonstrations" }, rows = rows }
