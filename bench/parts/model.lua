--- A model of SmolLM2-135M's shape with random numbers: decoding, the rollout job, prefill,
--- training, whole steps.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local policy = require "rllava.policy"
local shapes = dofile "bench/shapes.lua"
local C = rl.C

local dtypes = { { "f32", C.RL_FLOAT, "float", 4 }, { "bf16", C.RL_HALF, "half", 2 } }

--- Seconds until n responses of so many tokens to each of so many prompts have come.  No prompt
--- comes twice: it would be in the cache.
local function sample(bench, p, dtype, prompts, n, length, tokens, weights)
  local r = require("rllava.rollout").new(p, { at_once = prompts * n, n = n, max_prompt = length,
    max_new = tokens, dtype = dtype, weights = weights })
  r.stop = {}
  local number = 0
  local times = bench.limits.measure(function()
    for i = 1, prompts do
      number = (number + 1) % 1000
      r:submit(shapes.prompt(length, number), { n = n, max_new = tokens, stream = i })
    end
    r:drain()
  end, bench.seconds)
  r:close()
  return times
end

--- Decoding some sequences, and the rollout job of 8 prompts of 128 tokens x 8 samples x 128 new
--- tokens.
local function rollout(bench, p, c, dtype)
  local numbers, quick = shapes.numbers(c), bench.quick
  local peak, memory = bench.machine[dtype[3]], bench.machine.bytes
  local function limit(n)
    return math.min(peak / (2 * numbers), n * memory / (numbers * dtype[4]))
  end
  for _, n in ipairs { 1, 8, 64 } do
    local tokens = quick and 8 or 32
    bench.line(("decode %s, %d at once"):format(dtype[1], n), "tokens/s",
      sample(bench, p, dtype[2], 1, n, 4, tokens), n * tokens, limit(n))
  end
  local new = quick and 8 or 128
  bench.line(("rollout %s, 8 prompts x 8 x %d"):format(dtype[1], new), "tokens/s",
    sample(bench, p, dtype[2], 8, 8, 128, new), 64 * new, limit(64))
  bench.peer("generate", dtype[1])
  local long = quick and 256 or 1024
  bench.line(("prefill %s, %d tokens"):format(dtype[1], long), "tokens/s",
    sample(bench, p, dtype[2], 1, 1, long, 1), long,
    peak / (2 * (numbers - c.vocab_size * c.hidden_size)))
end

--- Decoding by weights of few bits, the head's always 8; one sequence is limited by the memory.
local function few_bits(bench, p, c)
  local head, tokens = c.vocab_size * c.hidden_size, bench.quick and 8 or 32
  for _, w in ipairs { { "int8", 8 }, { "int4", 4 } } do
    local bytes = (shapes.numbers(c) - head) * (w[2] / 8 + 1 / 16) + head * (1 + 1 / 16)
    for _, n in ipairs { 1, 8, 64 } do
      bench.line(("decode %s, %d at once"):format(w[1], n), "tokens/s",
        sample(bench, p, C.RL_FLOAT, 1, n, 4, tokens, w[1]), n * tokens,
        n == 1 and bench.machine.bytes / bytes or nil)
    end
  end
end

--- Training on 8 sequences of 256 tokens, in a process of its own for its memory's sake.
local function training(bench, dtype, flop, peak)
  local told = bench.child(bench.program, "bench/training.lua", dtype[1],
    bench.quick and "quick" or "whole")
  bench.line(("training %s, 8 x 256"):format(dtype[1]), "tokens/s", told.times, told.tokens,
    peak / (3 * flop))
  bench.peer("training", dtype[1])
  bench.value(("  its process at most, %s"):format(dtype[1]), "MiB", told.resident / 2 ^ 20,
    told.states / 2 ^ 20)
end

--- Whole steps of GRPO as TRL runs them: 4 prompts of 47 tokens x 8 samples x 64 new tokens,
--- rewards, update.
local function step(bench, name, config, dtype, peak, peer)
  local folder = shapes.folder(config)
  local trainer, number = shapes.trainer(folder, "trainer.dtype=" .. dtype[1]), 0
  local times = bench.limits.measure(function()
    number = number + 1
    trainer:step(number)
  end, bench.seconds)
  trainer:close()
  files.remove(folder)
  local tokens = 4 * 47 + 32 * 64
  bench.line(("GRPO step of %s, %s"):format(name, dtype[1]), "steps/s", times, 1,
    peak / (8 * shapes.numbers(config) * tokens))
  bench.peer(peer, dtype[1])
end

--- A group of 8 below a prompt of 1000 tokens against the same responses, each with the prompt of
--- its own.
local function shared(bench)
  local p = policy.new(shapes.smollm2(true)):init(1)
  local prompt, tokens = shapes.prompt(1000), 128
  local group, apart = { { prompt = prompt, responses = shapes.responses(8, tokens) } }, {}
  for i, r in ipairs(group[1].responses) do apart[i] = { prompt = prompt, responses = { r } } end
  local updater, algorithm, cfg = shapes.updater(p, C.RL_FLOAT, 8192)
  local function times(groups)
    return bench.limits.measure(function() updater:step(groups, algorithm, cfg, 0) end,
      bench.seconds)
  end
  local one, many = times(group), times(apart)
  bench.line("group of 8, prompt of 1000 shared, f32", "groups/s", one, 1)
  bench.value("  as fast as without sharing, times", "x", many[1] / one[1], 3.8,
    many[2] / one[3], many[3] / one[2])
end

return function(bench)
  local c = shapes.smollm2(bench.quick)
  local p = policy.new(c):init(1)
  p.tokenizer = false
  for _, dtype in ipairs(dtypes) do
    rollout(bench, p, c, dtype)
  end
  few_bits(bench, p, c)
  p = nil
  collectgarbage() collectgarbage()
  for _, dtype in ipairs(dtypes) do
    local peak = bench.machine[dtype[3]]
    training(bench, dtype, 2 * shapes.numbers(c), peak)
    step(bench, "the 135M shape", c, dtype, peak, "grpo")
  end
  step(bench, "a 0.9M shape", shapes.tiny(), dtypes[1], bench.machine.float, "grpo_tiny")
  shared(bench)
end
