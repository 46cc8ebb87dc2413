--- The head alone: a tape whose rows are given logits, so that log-prob, entropy and their
--- gradients show.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local nn = require "rllava.nn"
local tensor = require "rllava.tensor"
local C, check = rl.C, rl.check

local function identity(n)
  local x = ffi.new("float[?]", n * n)
  for i = 0, n - 1 do x[i * n + i] = 1 end
  return x
end

local function record(rows, vocab)
  local m = nn.model {}
  local logits, w = m:param("logits", math.max(rows, vocab), vocab),
    m:param("identity", vocab, vocab)
  m:ints("positions", "tokens")
  m:table "segments"
  local h = m:ints("ids", "tokens"):embedding(logits)
  m:head(h, function(x) return x end, w)
  check(C.rl_param_set(w, identity(vocab)))
  C.rl_param_train(w, 0)
  return m, logits
end

return function(c)
  local rows, vocab = c.shape.logits[1], c.shape.logits[2]
  local m, logits = record(rows, vocab)
  local values = ffi.new("float[?]", math.max(rows, vocab) * vocab, c.input.logits)
  check(C.rl_param_set(logits, values))
  local batch, one = ffi.gc(C.rl_batch_new(), C.rl_batch_free), ffi.new("unsigned char[2]", 0, 1)
  for r = 1, rows do
    local ids = ffi.new("int[2]", r - 1, c.input.labels[r])
    check(C.rl_batch_segment(batch, -1, ids, 2, nil, one, 1, 0))
  end
  local replay = ffi.gc(check(C.rl_replay_new(m.tape, "logp entropy", 1, 0, C.RL_FLOAT)),
    C.rl_replay_free)
  local worst = 0
  for _, which in ipairs { { "logp", "log_prob" }, { "entropy", "entropy" } } do
    C.rl_param_zero_grad(logits)
    check(C.rl_batch_bind(batch, replay, c.config.temperature))
    check(C.rl_replay_forward(replay))
    local x = tensor.own(C.rl_replay_output(replay, which[1]))
    worst = math.max(worst, c:compare(which[2], x:totable()));
    (x * tensor.tensor(c.input["upstream_" .. which[2]])):sum():backward()
    check(C.rl_replay_backward(replay))
    local grad = tensor.own(C.rl_grad_of(logits)):totable()
    for i = #grad, rows * vocab + 1, -1 do grad[i] = nil end
    worst = math.max(worst, c:compare("grad_logits_from_" .. which[2], grad))
  end
  return worst
end
