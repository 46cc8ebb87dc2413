--- A whole real model against reference values alone: its numbers as they are read, its tokens,
--- greedy continuations, log-probabilities, entropies and gradients of a text.
local ffi = require "ffi"
local T = require "check"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local policy = require "rllava.policy"
local files = require "rllava.files"
local C, check = rl.C, rl.check

--- |got - want| as a share of tolerance; raises where it is above 1 or not a number.
local function share(what, got, want, tolerance)
  local s = math.abs(got - want) / tolerance
  if not (s <= 1) then
    error(("%s: expected %.9g, got %.9g (tolerance %g)"):format(what, want, got, tolerance), 0)
  end
  return s
end

local function worst_of(what, got, want, tolerance, from)
  local worst = 0
  for i = 1, #want do
    worst = math.max(worst,
      share(("%s: element %d"):format(what, i), got[(from or 0) + i - 1], want[i], tolerance))
  end
  return worst
end

--- Sums and first values of some parameters.
local function parameters(p, golden)
  local worst = 0
  for name, want in require("rllava").sorted(golden.dequantised_samples) do
    local param, n = p.model.params[name], 1
    T.equal(param.shape, { unpack(want.shape) })
    for _, d in ipairs(param.shape) do n = n * d end
    local x, sum, abs_sum = ffi.new("float[?]", n), 0, 0
    check(C.rl_param_get(param.tensor, x))
    for i = 0, n - 1 do sum, abs_sum = sum + x[i], abs_sum + math.abs(x[i]) end
    worst = math.max(worst, share(name .. ": sum", sum, want.sum, 1e-7 * abs_sum),
      share(name .. ": abs_sum", abs_sum, want.abs_sum, 1e-7 * abs_sum),
      worst_of(name .. ": first8", x, want.first8, 1e-8))
  end
  return worst
end

--- Text and ids of each prompt, through the chat template and the tokenizer.
local function prompts(p, golden)
  for i, q in ipairs(golden.prompts) do
    T.equal(p.chat:render(q.messages, { add_generation_prompt = true }), q.text)
    T.equal(p.tokenizer:encode(q.text), { unpack(q.ids) })
    T.equal(p.tokenizer:decode(q.greedy_ids), q.greedy_text)
    if type(q.first_eos_index) == "number" then
      T.equal(q.greedy_ids[q.first_eos_index + 1], p:stop_ids()[1])
    end
  end
end

local function ints(list, n)
  local out = ffi.new("int[?]", n or #list)
  for i, v in ipairs(list) do out[i - 1] = v end
  return out
end

local function same_tokens(got, want)
  for i, id in ipairs(want) do
    if got[i - 1] ~= id then
      error(("greedy: token %d: expected %d, got %d"):format(i, id, got[i - 1]), 0)
    end
  end
end

local function greedy(p, golden)
  local vocab, tolerance = p.config.text_config.vocab_size, golden.tolerance.logprobs_abs
  local engine = check(C.rl_engine_new(p.model.tape, C.RL_FLOAT, 1024, 8, 256, nil, vocab))
  ffi.gc(engine, C.rl_engine_free)
  local of, worst = {}, 0
  for _, q in ipairs(golden.prompts) do
    local ids = ints(q.ids)
    local request = ffi.new("rl_request", { prompt = ids, n = #q.ids, samples = 1,
      max_new = #q.greedy_ids, temperature = 0, top_p = 1 })
    of[check(C.rl_engine_submit(engine, request))] = { q, ids }
  end
  for _ = 1, #golden.prompts do
    local r = check(C.rl_engine_next(engine, 600))
    if r.finish ~= C.RL_LENGTH then error("greedy: " .. ffi.string(r.error), 0) end
    local q = of[r.request][1]
    same_tokens(r.tokens, q.greedy_ids)
    local off = worst_of("greedy_logprobs", r.logp, q.greedy_logprobs, tolerance)
    worst = math.max(worst, off)
    C.rl_engine_forget(engine, r)
  end
  ffi.gc(engine, nil)
  C.rl_engine_free(engine)
  return worst
end

--- The prompts and the text as segments of one batch, every row asked; the last of each answers for
--- id 0.
local function batch_of(lists)
  local b = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  local last, rows = {}, 0
  for k, list in ipairs(lists) do
    local asked = ffi.new("unsigned char[?]", #list + 1)
    ffi.fill(asked, #list + 1, 1)
    check(C.rl_batch_segment(b, -1, ints(list, #list + 1), #list + 1, nil, asked, 1, 0))
    rows = rows + #list
    last[k] = rows - 1
  end
  return b, last, rows
end

local function top5(what, golden, logits, row, vocab, want)
  local data, best, worst = logits:data() + row * vocab, {}, 0
  for i = 0, vocab - 1 do best[i + 1] = i end
  table.sort(best, function(a, b) return data[a] > data[b] end)
  for i, id in ipairs(want.ids) do
    T.equal(best[i], id)
    worst = math.max(worst, share(what, data[id], want.logits[i], golden.tolerance.logits_abs))
  end
  return worst
end

local function logsumexp(data, n)
  local top, sum = -math.huge, 0
  for i = 0, n - 1 do top = math.max(top, data[i]) end
  for i = 0, n - 1 do sum = sum + math.exp(data[i] - top) end
  return top + math.log(sum)
end

local function forward(p, golden)
  local lists = {}
  for i, q in ipairs(golden.prompts) do lists[i] = q.ids end
  lists[#lists + 1] = golden.text.ids
  local batch, last, rows = batch_of(lists)
  local tape = p.model.tape
  local replay = check(C.rl_replay_new(tape, "logp entropy hidden", 0, 0, C.RL_FLOAT))
  ffi.gc(replay, C.rl_replay_free)
  check(C.rl_batch_bind(batch, replay, 1))
  check(C.rl_replay_forward(replay))
  return tensor.scope(function()
    local function output(name) return tensor.own(C.rl_replay_output(replay, name)) end
    local from, tolerance = rows - #golden.text.ids, golden.tolerance.logprobs_abs
    local logp, entropy = output("logp"):data(), output("entropy"):data()
    local worst = math.max(
      worst_of("text.logprobs", logp, golden.text.logprobs, tolerance, from),
      worst_of("text.entropy", entropy, golden.text.entropy, 10 * tolerance, from))
    local embed, vocab = p.model.params["model.embed_tokens.weight"].tensor,
      p.config.text_config.vocab_size
    local answers = tensor.from(ints(last), { #last }, C.RL_INT)
    local logits = output("hidden"):gather(answers):linear(embed)
    for i, q in ipairs(golden.prompts) do
      local sum = logsumexp(logits:data() + (i - 1) * vocab, vocab)
      worst = math.max(worst,
        top5("last_position_top5", golden, logits, i - 1, vocab, q.last_position_top5),
        share("last_position_logsumexp", sum, q.last_position_logsumexp,
          golden.tolerance.logits_abs))
    end
    return math.max(worst, top5("text.last_position_top5", golden, logits, #golden.prompts, vocab,
      golden.text.last_position_top5))
  end)
end

--- The gradient of the text's mean negative log-likelihood.  The reference computed it in f32 and
--- states no error: 0.5% of each parameter's norm is allowed, 0.01% of the whole.
local function gradient(p, golden)
  local n = #golden.text.ids - 1
  local batch = batch_of { golden.text.ids }
  local replay = ffi.gc(check(C.rl_replay_new(p.model.tape, "logp", 1, 0, C.RL_FLOAT)),
    C.rl_replay_free)
  p:zero_grad()
  check(C.rl_batch_bind(batch, replay, 1))
  check(C.rl_replay_forward(replay))
  local loss = tensor.scope(function()
    local w = ffi.new("float[?]", n + 1)
    for i = 0, n - 1 do w[i] = 1 / n end
    local logp = tensor.own(C.rl_replay_output(replay, "logp"))
    local mean = -(logp * tensor.from(w, { n + 1 })):sum()
    mean:backward()
    check(C.rl_replay_backward(replay))
    return mean:data()[0]
  end)
  local worst = math.max(share("text.mean_nll", loss, golden.text.mean_nll,
    golden.tolerance.logprobs_abs),
    share("grad_global_norm", p:grad_norm(), golden.text.grad_global_norm_of_mean_nll,
      1e-4 * p:grad_norm()))
  for name, want in require("rllava").sorted(golden.text.grad_norms) do
    local got = math.sqrt(C.rl_param_grad_squares(p.model.params[name].tensor))
    worst = math.max(worst, share("grad_norms " .. name, got, want, 5e-3 * want))
  end
  return worst
end

--- path: of a .gguf file; golden: what the reference says of it
--- -> the largest error as a share of its tolerance.
return function(path, golden)
  T.equal(files.sha256(path), golden.source.sha256)
  local p = policy.load(path)
  prompts(p, golden)
  return math.max(parameters(p, golden), greedy(p, golden), forward(p, golden), gradient(p, golden))
end
