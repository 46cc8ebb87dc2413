--- A real checkpoint, SmolLM2-135M-Instruct, against the reference: RLLAVA_SMOLLM2 names its folder
--- or .gguf file; else it is the one that recipes/grpo_arithmetic.lua fetches.
local ffi = require "ffi"
local T = require "check"
local json = require "rllava.json"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local C, check = rl.C, rl.check

local path = T.goldens .. "/models/smollm2-135m/smollm2-135m.json"

--- The weights: where the environment says, beside the golden values, or as the recipe has them.
local function weights()
  local given = os.getenv "RLLAVA_SMOLLM2"
  if given then return given end
  for _, name in ipairs(T.list(T.goldens .. "/models/smollm2-135m")) do
    if name:find "%.gguf$" then return T.goldens .. "/models/smollm2-135m/" .. name end
  end
  local ok, file = pcall(require("rllava.model_source").find, "smollm2-135m")
  return ok and file or nil
end

local function near(name, got, want, tolerance)
  local worst = 0
  for i, w in ipairs(want) do
    local share = math.abs(got[i] - w) / tolerance
    if not (share <= 1) then error(("%s: element %d: expected %.9g, got %.9g"):format(name, i, w, got[i]), 0) end
    worst = math.max(worst, share)
  end
  return worst
end

--- Sums and first numbers of dequantised tensors.
local function samples(p, golden)
  local worst = 0
  for name, want in require("rllava").sorted(golden.dequantised_samples) do
    local w, n = p.model.params[name].tensor, 1
    for _, d in ipairs(want.shape) do n = n * d end
    local values, sum, first = ffi.new("float[?]", n), 0, {}
    check(C.rl_param_get(w, values))
    for i = 0, n - 1 do sum = sum + values[i] end
    for i = 1, #want.first8 do first[i] = values[i - 1] end
    worst = math.max(worst, near(name, first, want.first8, 1e-6), near(name, { sum }, { want.sum }, 1e-6 * want.abs_sum))
  end
  return worst
end

--- Every row of ids asked for its next token (the last one for id 0) -> a batch.
local function lay(ids)
  local n = #ids
  local batch, asked = ffi.gc(C.rl_batch_new(), C.rl_batch_free), ffi.new("unsigned char[?]", n + 1)
  ffi.fill(asked, n + 1, 1)
  check(C.rl_batch_segment(batch, -1, ffi.new("int[?]", n + 1, ids), n + 1, nil, asked, 1, 0))
  return batch
end

--- The largest logits of a row of hidden numbers: at most so many of the tokens given.
local function logits_of(p, hidden, row)
  local x = hidden:gather(tensor.ints { row }):linear(p.model.params["model.embed_tokens.weight"].tensor)
  return x:data()
end

local function top5(p, hidden, row, want, tolerance)
  local z, got = logits_of(p, hidden, row), {}
  for i, id in ipairs(want.ids) do got[i] = z[id] end
  return near("top5", got, want.logits, tolerance)
end

local function text(p, golden)
  local t, n, worst = golden.text, #golden.text.ids, 0
  local replay = ffi.gc(check(C.rl_replay_new(p.model.tape, "logp entropy hidden", 1, 1, C.RL_FLOAT)), C.rl_replay_free)
  local batch = lay(t.ids)
  p:zero_grad()
  check(C.rl_batch_bind(batch, replay, 1))
  check(C.rl_replay_forward(replay))
  tensor.scope(function()
    local function output(name) return tensor.own(C.rl_replay_output(replay, name)) end
    local logp, entropy, w, sum = output "logp", output "entropy", {}, 0
    for i = 1, n do w[i] = i < n and -1 / (n - 1) or 0 end
    for i = 0, n - 2 do sum = sum - logp:data()[i] end
    worst = math.max(near("logprobs", logp:totable(), t.logprobs, golden.tolerance.logprobs_abs),
      near("entropy", entropy:totable(), t.entropy, golden.tolerance.logprobs_abs),
      near("mean_nll", { sum / (n - 1) }, { t.mean_nll }, golden.tolerance.logprobs_abs),
      top5(p, output "hidden", n - 1, t.last_position_top5, golden.tolerance.logits_abs));
    (logp * tensor.tensor(w)):sum():backward()
    check(C.rl_replay_backward(replay))
  end)
  for name, want in require("rllava").sorted(t.grad_norms) do
    want = type(want) == "table" and want.norm or want
    local got = math.sqrt(C.rl_param_grad_squares(p.model.params[name].tensor))
    worst = math.max(worst, near("gradient of " .. name, { got }, { want }, math.max(1e-4 * want, 1e-5)))
  end
  return math.max(worst, near("gradient", { p:grad_norm() }, { t.grad_global_norm_of_mean_nll }, 1e-4 * p:grad_norm()))
end

local function prompts(p, golden)
  local e = ffi.gc(check(C.rl_engine_new(p.model.tape, C.RL_FLOAT, 2048, 8, 512, nil, 0)), C.rl_engine_free)
  for _, q in ipairs(golden.prompts) do
    local ids = ffi.new("int[?]", #q.ids, q.ids)
    check(C.rl_engine_submit(e, ffi.new("rl_request", { prompt = ids, n = #q.ids, samples = 1, max_new = #q.greedy_ids,
      temperature = 0, top_p = 1 })))
  end
  local worst = 0
  for _ = 1, #golden.prompts do
    local r = check(C.rl_engine_next(e, 300))
    local want, got = golden.prompts[r.request + 1], {}
    for i, id in ipairs(want.greedy_ids) do
      if r.tokens[i - 1] ~= id then error(("greedy_ids: element %d: expected %d, got %d"):format(i, id, r.tokens[i - 1]), 0) end
      got[i] = r.logp[i - 1]
    end
    worst = math.max(worst, near("greedy_logprobs", got, want.greedy_logprobs, golden.tolerance.logprobs_abs))
    C.rl_engine_forget(e, r)
  end
  C.rl_engine_free(ffi.gc(e, nil))
  return worst
end

if #T.list(path) > 0 then
  T.golden(path, function()
    local folder = weights()
    if not folder then T.skip "its weights are not here: RLLAVA_SMOLLM2 names their folder or .gguf file" end
    local golden, p = json.decode(T.read(path), path), require("rllava.policy").load(folder)
    return math.max(samples(p, golden), text(p, golden), prompts(p, golden))
  end)
end
