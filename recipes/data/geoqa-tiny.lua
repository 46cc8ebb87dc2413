--- geoqa-tiny: the drawn geometry problems as a data set.  @train; @test: new pictures;
--- @test_numbers: combinations of numbers that training never sees; @demonstrations: problems with
--- an annotator's response, the last 32 x 650 of them of mixed quality.
local recipe_file = require "rllava.recipe_file"

return recipe_file "data/drawn.lua".set(recipe_file "data/geoqa.lua", {
  sizes = { { "train", 2000 }, { "test", 400 }, { "test_numbers", 400 },
    { "demonstrations", 32 * 3000 } },
  clean = 32 * 2350,
})
