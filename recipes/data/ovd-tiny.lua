--- ovd-tiny: "Find all circles." in drawn pictures, a list of boxes as the answer.  @train; @test:
--- new pictures; @test_apart: among them a shape and colour in a cell where training never asks for
--- it; @demonstrations: as grounding-tiny's.
return require "rllava.recipe_file" "data/finding.lua".set "ovd"
