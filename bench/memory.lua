--- rllava bench/memory.lua RECIPE [key=value ...]: three steps of a recipe in a process of its own.
--- Prints JSON: bytes that it counted and that were resident at most, and what the plan said.
local C = require("rllava.ffi").C
local json = require "rllava.json"

local recipe, overrides = ..., { select(2, ...) }
if overrides[#overrides] == "work" then table.remove(overrides) end
local before = C.rl_bytes_used()
local trainer = require("rllava.train").open(require("rllava.recipe").load(recipe, overrides))
for step = 1, 3 do trainer:step(step) end
io.write(json.encode(json.object { { "counted", C.rl_bytes_peak() - before },
  { "planned_counted", trainer.plan.counted }, { "resident", C.rl_memory_peak() },
  { "planned", trainer.plan.peak.bytes } }), "\n")
trainer:close()
