--- The arithmetic: products, attention, the head of log-probabilities, each in f32 and bf16.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local nn = require "rllava.nn"
local C, check = rl.C, rl.check

local D, N = 576, 1536                              -- of SmolLM2-135M's feed-forward layer
local HEADS, KV, HEAD_DIM, VOCAB = 9, 3, 64, 49152

local dtypes = { { "f32", "float", "RL_FLOAT", 4 }, { "bf16", "half", "RL_HALF", 2 } }

--- A model of one layer, its parameters random, for training -> replay.
local function replay_of(build, output, dtype)
  local m = nn.model {}
  build(m)
  for i, name in ipairs(m.names) do check(C.rl_param_normal(m.params[name].tensor, i, 0, 0.02)) end
  local r = ffi.gc(check(C.rl_replay_new(m.tape, output, 1, 0, dtype)), C.rl_replay_free)
  return r, m
end

local function both(bench, name, r, peak, flop, factor, limit)
  local function rate(run, label, work, most)
    bench.line(name .. label, "GFLOP/s", bench.limits.measure(run, bench.seconds), work / 1e9,
      most / 1e9)
  end
  rate(function() check(C.rl_replay_forward(r)) end, "", flop, limit or peak)
  if not factor then return end
  rate(function() check(C.rl_replay_backward(r)) end, ", backward", factor * flop, peak)
end

--- y = x w^T of some rows and its backward pass, beside the peak or, where the weights come from
--- memory, the roofline.
local function gemm(bench, rows, k, n, dtype)
  local r = replay_of(function(m)
    local scale = m:param("scale", k)
    m:output("y", m:linear("w", n, k)(m:floats("x", "tokens", k) * scale))
  end, "y", C[dtype[3]])
  local x = ffi.new("float[?]", rows * k, 0.5)
  check(C.rl_replay_rows(r, "tokens", rows))
  check(C.rl_replay_bind(r, "x", x))
  local weights, peak = k * n * dtype[4], bench.machine[dtype[2]]
  both(bench, ("product %s, %d x %d -> %d"):format(dtype[1], rows, k, n), r, peak, 2 * rows * k * n,
    rows >= 32 and 2, bench.limits.roof(peak, bench.machine.bytes, 2 * rows * k * n,
      weights > bench.limits.CACHE and weights or 0))
end

--- A batch of one prompt and responses -> batch, its rows, what each sees in all.
local function forest(prompt, responses, tokens)
  local b = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  local none = ffi.new("int[?]", math.max(prompt, tokens))
  local asked = ffi.new("unsigned char[?]", tokens, 1)
  for i = 0, tokens - 1 do asked[i] = 1 end
  local root = check(C.rl_batch_segment(b, -1, none, prompt, nil, nil, 0, 1))
  for _ = 1, responses do check(C.rl_batch_segment(b, root, none, tokens, nil, asked, 1, 0)) end
  local n = tokens - 1
  local seen = prompt * (prompt + 1) / 2 + responses * (n * prompt + n * (n + 1) / 2)
  return b, C.rl_batch_tokens(b), seen
end

--- Attention and the head together hang on a batch: the head alone is measured by few rows of text.
local function attention(bench, dtype)
  local prompt, responses, tokens = bench.quick and 256 or 1024, 8, bench.quick and 64 or 256
  local r = replay_of(function(m)
    local ids, segments = m:ints("ids", "tokens"), m:table "segments"
    local x = ids:embedding(m:param("q", 1, HEADS * HEAD_DIM)):heads(HEAD_DIM)
    local kv = ids:embedding(m:param("k", 1, KV * HEAD_DIM)):heads(HEAD_DIM)
    m:output("y", x:attention(kv, kv, segments, HEAD_DIM ^ -0.5))
    local rows = m:ints("answers", "answers")
    m:output("unused", m:floats("pixels", "tokens", 1):gather(rows))
    m:table "pairs"
    m:ints("positions", "tokens")
  end, "y", C[dtype[3]])
  local b, _, seen = forest(prompt, responses, tokens)
  check(C.rl_batch_bind(b, r, 1))
  check(C.rl_replay_bind(r, "pixels", ffi.new("float[?]", C.rl_batch_tokens(b))))
  both(bench, ("attention %s, %d + %d x %d"):format(dtype[1], prompt, responses, tokens), r,
    bench.machine[dtype[2]], 4 * seen * HEADS * HEAD_DIM, 2.5)
end

local function head(bench, dtype)
  local rows = bench.quick and 64 or 512
  local r = replay_of(function(m)
    local ids, x = m:ints("ids", "tokens"), nil
    m:table "segments"
    m:ints("positions", "tokens")
    x = ids:embedding(m:param("h", 1, D)):gather(m:ints("answers", "answers"))
    m:output("logp", x:logprob(m:param("w", VOCAB, D), m:table "pairs"))
  end, "logp", C[dtype[3]])
  local b = forest(2, 1, rows)
  check(C.rl_batch_bind(b, r, 1))
  both(bench, ("log-prob head %s, %d x %d -> %d"):format(dtype[1], rows, D, VOCAB), r,
    bench.machine[dtype[2]], 2 * rows * D * VOCAB, 3)
end

return function(bench)
  for _, dtype in ipairs(dtypes) do
    for _, rows in ipairs { 1, 8, 32, 64, 256, 2048 } do gemm(bench, rows, D, N, dtype) end
    gemm(bench, 8, D, VOCAB, dtype)
    gemm(bench, 2048, 2048, 2048, dtype)
    attention(bench, dtype)
    head(bench, dtype)
  end
end
