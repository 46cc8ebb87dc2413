--- counting-tiny: drawn scenes to count in, as a data set.  @train; @test: new pictures;
--- @test_pairs: a colour and a shape that training never asks for together; @demonstrations:
--- problems with an annotator's response, the last 32 x 400 of them of mixed quality.
local recipe_file = require "rllava.recipe_file"
local counting = recipe_file "data/counting.lua"

return recipe_file "data/drawn.lua".set(counting, {
  sizes = { { "train", 2000 }, { "test", 400 }, { "test_pairs", 400 },
    { "demonstrations", 32 * 1300 } },
  clean = 32 * 900,
  -- The question comes before the picture: so a cell is as far from the answer in every prompt.
  prompt = function(problem) return problem.question .. "<image>" end,
})
