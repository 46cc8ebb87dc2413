--- rllava bench/training.lua DTYPE whole|quick [work]: one job in a process of its own, since its
--- memory is measured: GRPO's update of the 135M shape on 8 sequences of 256 tokens.  Prints JSON:
--- times, tokens, bytes resident at most, and bytes of weights, gradients and moments.
local C = require("rllava.ffi").C
local json = require "rllava.json"
local policy = require "rllava.policy"
local limits, shapes = dofile "bench/limits.lua", dofile "bench/shapes.lua"

local dtype, size, work = ...
local quick = size == "quick"
if work then limits.clock = os.clock end
limits.PATIENCE = quick and 3 or 40
local SEQUENCES, LENGTH, MICRO = 8, 256, 256

local p = policy.new(shapes.smollm2(quick)):init(1)
local updater, algorithm, cfg = shapes.updater(p, dtype == "bf16" and C.RL_HALF or C.RL_FLOAT,
  MICRO)
local groups = {}
for i, r in ipairs(shapes.responses(SEQUENCES, LENGTH)) do
  groups[i] = { prompt = shapes.prompt(1), responses = { r } }
end
local times = limits.measure(function() updater:step(groups, algorithm, cfg, 0) end,
  quick and 0.1 or 1)
io.write(json.encode(json.object { { "times", json.array(times) }, { "tokens", SEQUENCES * LENGTH },
  { "resident", C.rl_memory_peak() }, { "states", 16 * p:size() } }), "\n")
