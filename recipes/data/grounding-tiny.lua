--- grounding-tiny: "Where is the blue circle?" in drawn pictures, a box as the answer.  @train;
--- @test: new pictures; @test_apart: a shape and colour in a cell where training never asks for it;
--- @demonstrations: annotators of this task and of ovd-tiny.
return require "rllava.recipe_file" "data/finding.lua".set "grounding"
