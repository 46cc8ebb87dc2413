--- A model of SmolLM2-135M's shape with random numbers: decoding, prefill, training; and its plan.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local policy = require "rllava.policy"
local C, check = rl.C, rl.check

local function config(quick)
  return { model_type = "llama", hidden_size = 576, intermediate_size = 1536, num_attention_heads = 9,
    num_hidden_layers = quick and 6 or 30, num_key_value_heads = 3, vocab_size = quick and 8192 or 49152,
    rms_norm_eps = 1e-5, rope_theta = 1e4, tie_word_embeddings = true, eos_token_id = 0 }
end

--- FLOP of a token through the products (forward), bytes of the weights that a step reads.
local function costs(c, bytes)
  local d, kv = c.hidden_size, c.num_key_value_heads * c.hidden_size / c.num_attention_heads
  local numbers = c.num_hidden_layers * (2 * d * d + 2 * d * kv + 3 * d * c.intermediate_size) + c.vocab_size * d
  return 2 * numbers, numbers * bytes
end

local function prompt_of(n)
  local ids = ffi.new("int[?]", n)
  for i = 0, n - 1 do ids[i] = 1 + i % 1000 end
  return { ids = ids, n = n }
end

--- Seconds until n responses of so many tokens to a prompt have come.
local function sample(p, dtype, n, prompt, tokens, seconds, measure)
  local r = require("rllava.rollout").new(p, { at_once = n, n = n, max_prompt = prompt.n, max_new = tokens, dtype = dtype })
  r.stop = {}
  local times = measure(function()
    r:submit(prompt, { n = n, max_new = tokens })
    r:drain()
    r:update(function() end)                            -- what was cached goes
  end, seconds)
  r:close()
  return times
end

local function training(bench, p, name, dtype, flop, peak)
  local rows, tokens = bench.quick and 256 or 1024, nil
  local updater = require("rllava.update").new(p, { optim = { betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0 },
    max_grad_norm = 1, micro_tokens = 8192, temperature = 1, dtype = dtype })
  local responses = {}
  for k = 1, 4 do
    local r = prompt_of(rows / 4 - 16)
    r.tokens, responses[k] = { old_logp = nil, advantage = {} }, r
    for i = 1, r.n do r.tokens.advantage[i] = k - 2.5 end
  end
  local groups = { { prompt = prompt_of(64), responses = responses } }
  tokens = rows
  local cfg = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean", rollout_is = "none" }
  local algorithm = require("rllava.algorithm").load("grpo")
  local loss_cfg = setmetatable(cfg, { __index = algorithm.defaults })
  local times = bench.limits.measure(function() updater:step(groups, algorithm, loss_cfg, 0) end, bench.seconds)
  bench.line("training " .. name .. (", %d rows"):format(tokens), "tokens/s", times, tokens, peak / (3 * flop))
end

return function(bench)
  local measure, quick = bench.limits.measure, bench.quick
  local c = config(quick)
  local p = policy.new(c):init(1)
  p.tokenizer = false
  for _, dtype in ipairs { { "f32", C.RL_FLOAT, "float", 4 }, { "bf16", C.RL_HALF, "half", 2 } } do
    local flop, bytes = costs(c, dtype[4])
    local peak, memory = bench.machine[dtype[3]], bench.machine.bytes
    for _, n in ipairs { 1, 8, 64 } do
      local tokens = quick and 8 or 64
      local times = sample(p, dtype[2], n, prompt_of(4), tokens, bench.seconds, measure)
      bench.line(("decode %s, %d at once"):format(dtype[1], n), "tokens/s", times, n * tokens,
        math.min(peak / flop, n * memory / bytes))
    end
    local long = quick and 256 or 1024
    bench.line(("prefill %s, %d tokens"):format(dtype[1], long), "tokens/s",
      sample(p, dtype[2], 1, prompt_of(long), 1, bench.seconds, measure), long, peak / (flop - 2 * c.vocab_size * c.hidden_size))
    training(bench, p, dtype[1], dtype[2], flop, peak)
  end
end
