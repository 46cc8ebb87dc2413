--- equations-tiny: the written equations as a data set.  @train; @test: new pictures;
--- @test_numbers: equations that training never sees; @demonstrations: equations with an
--- annotator's response, the last fifth of them of mixed quality.
local recipe_file = require "rllava.recipe_file"
local equations = recipe_file "data/equations.lua"

return recipe_file "data/drawn.lua".set(equations, {
  sizes = { { "train", 2000 }, { "test", 400 }, { "test_numbers", 400 },
    { "demonstrations", 7680 } },
  clean = 6144, stream = "equation demo",
})
