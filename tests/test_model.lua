--- Models against the reference implementation: forward, gradients, AdamW, greedy continuation.
local ffi = require "ffi"
local T = require "check"
local Case = require "model_case"
local json = require "rllava.json"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local policy = require "rllava.policy"
local weights = require "rllava.weights"
local model_source = require "rllava.model_source"
local wheel = require "rllava.wheel"
local C, check = rl.C, rl.check

local root = T.goldens .. "/models"

local function exists(path)
  local f = io.open(path)
  if f then f:close() end
  return f ~= nil
end

local function same_ints(name, got, want, n)
  for i = 0, n - 1 do
    if got[i] ~= want[i] then
      error(("%s: element %d: expected %d, got %s"):format(name, i, want[i], tostring(got[i])), 0)
    end
  end
end

--- ---- forward ----

-- Golden names that are outputs of the tape; video.X are the same rows for videos.
local hidden = { inputs_embeds = "inputs_embeds", hidden_layer0 = "hidden_layer0",
  layer1_input = "layer1_input", hidden_last = "hidden_last", hidden_final_norm = "hidden" }

local function output_of(name)
  if hidden[name] then return hidden[name] end
  local part = name:match "^video%.(.*)$"
  return part and "vision_" .. part or name:find "^vision_" and name or nil
end

local function outputs_asked(case)
  local list, seen = { "logp", "entropy", "hidden" }, { hidden = true }
  for name in require("rllava").sorted(case.meta.tensors) do
    local output = output_of(name)
    if output and not seen[output] then seen[output], list[#list + 1] = true, output end
  end
  return table.concat(list, " ")
end

--- Rows of a vision output that belong to one kind of medium, in their order: [from, count] in
--- shares of the whole.
local function vision_rows(case, kind)
  local runs, at = {}, 0
  for _, g in ipairs(case.grids) do
    local patches = g[1] * g[2] * g[3]
    if g.kind == kind then runs[#runs + 1] = { at, patches } end
    at = at + patches
  end
  return runs, at
end

local function compare_vision(case, name, x)
  local kind = name:find "^video%." and "video" or "image"
  local runs, total = vision_rows(case, kind)
  local data, numbers, list = x:data(), x:numel() / total, {}
  for _, run in ipairs(runs) do
    for i = run[1] * numbers, (run[1] + run[2]) * numbers - 1 do list[#list + 1] = data[i] end
  end
  return case:compare(name, ffi.new("float[?]", #list, list), #list)
end

local function compare_logits(case, x)
  local c = case.policy
  local name = c.model.params["lm_head.weight"] and "lm_head.weight" or "model.embed_tokens.weight"
  local rows = case.t.logits_rows
  if rows then x = x:gather(tensor.from(rows.data, { rows.n }, C.RL_INT)) end
  local y = x:linear(c.model.params[name].tensor)
  return case:compare("logits", y:data(), y:numel())
end

--- The last row of a sequence has no label: its log-probability is 0 in the goldens.
local function compare_logprobs(case, x)
  local data = x:data()
  for _, seq in ipairs(case.sequences) do data[seq.from + seq.n - 1] = 0 end
  return case:compare("logprobs", data, x:numel())
end

local function forward(case)
  local tape = case.policy.model.tape
  local replay = check(C.rl_replay_new(tape, outputs_asked(case), 0, 0, C.RL_FLOAT))
  ffi.gc(replay, C.rl_replay_free)
  local batch = case:batch()
  check(C.rl_batch_bind(batch, replay, 1))
  check(C.rl_replay_forward(replay))
  return tensor.scope(function()
    local function output(name) return tensor.own(C.rl_replay_output(replay, name)) end
    local entropy = output "entropy"
    local worst = math.max(compare_logits(case, output "hidden"),
      compare_logprobs(case, output "logp"),
      case:compare("entropy", entropy:data(), entropy:numel()))
    for name in require("rllava").sorted(case.meta.tensors) do
      local output_name = output_of(name)
      if output_name then
        local x = output(output_name)
        local off = hidden[name] and case:compare(name, x:data(), x:numel())
          or compare_vision(case, name, x)
        worst = math.max(worst, off)
      end
    end
    return worst
  end)
end

--- ---- gradients ----

local function training_replay(p, recompute)
  return ffi.gc(check(C.rl_replay_new(p.model.tape, "logp", 1, recompute or 0, C.RL_FLOAT)),
    C.rl_replay_free)
end

local function param(p, key)
  local found = p.model.params[weights.canonical(key)]
  return check(found and found.tensor or nil)
end

local function gradients(case)
  local p = case.policy
  p:zero_grad()
  local losses = case:backward(training_replay(p), case:batch())
  local worst = case:compare("loss", ffi.new("double[?]", #losses, losses), #losses)
  worst = math.max(worst, case:compare("grad_global_norm", ffi.new("double[1]", p:grad_norm()), 1))
  for key in require("rllava").sorted(case.meta.tensors) do
    local name = key:match "^grad%.(.*)$"
    if name then
      local g = tensor.own(C.rl_grad_of(param(p, name)))
      worst = math.max(worst, case:compare(key, g:data(), g:numel()))
    end
  end
  for key, g in require("rllava").sorted(case.meta.grad_norms) do
    local want = tonumber(g.norm) or 0
    local got = math.sqrt(C.rl_param_grad_squares(param(p, key)))
    local share = math.abs(got - want) / (not tonumber(g.norm) and 1e-30 or want < 1e-3 and 1e-5
      or 1e-4 * want)
    if not (share <= 1) then
      error(("grad_norms %s: expected %.9g, got %.9g"):format(key, want, got), 0)
    end
    worst = math.max(worst, share)
  end
  return worst
end

local function all_gradients(p)
  local out = {}
  for _, name in ipairs(p.model.names) do
    local g = C.rl_param_grad_squares(p.model.params[name].tensor) > 0
      and tensor.own(C.rl_grad_of(p.model.params[name].tensor))
    out[#out + 1] = g and ffi.string(g:data(), 4 * g:numel()) or ""
  end
  return out
end

--- Recomputing activations changes no bit.
local function recomputed(case)
  local p, found = case.policy, {}
  for recompute = 0, 1 do
    p:zero_grad()
    case:backward(training_replay(p, recompute), case:batch())
    found[recompute] = all_gradients(p)
  end
  T.equal(found[1], found[0])
end

--- ---- three AdamW steps ----

local function adamw(case, folder)
  local told = case.meta.info.adamw
  local p = policy.load(folder)
  local list, n = p:tensors()
  local o = check(C.rl_adamw_new(list, n, told.betas[1], told.betas[2], told.eps, 32))
  ffi.gc(o, C.rl_adamw_free)
  local decay, worst = ffi.new("double[?]", n), 0
  local losses, norms = ffi.new("double[3]"), ffi.new("double[3]")
  for i = 0, n - 1 do decay[i] = told.weight_decay end
  local replay, batch = training_replay(p), case:batch()
  for step = 1, 3 do
    for _, x in ipairs(case:backward(replay, batch)) do losses[step - 1] = losses[step - 1] + x end
    local norm = p:grad_norm()
    norms[step - 1] = norm
    check(C.rl_adamw_step(o, told.lr, decay, math.min(1, told.max_grad_norm / (norm + 1e-6))))
    for name in require("rllava").sorted(case.meta.tensors) do
      local key = name:match("^adamw_step" .. step .. "%.(.*)$")
      if key then
        local w = param(p, key)
        local values = ffi.new("float[?]", case.t[name].n)
        check(C.rl_param_get(w, values))
        worst = math.max(worst, case:compare(name, values, case.t[name].n))
      end
    end
  end
  return math.max(worst, case:compare("adamw_losses", losses, 3),
    case:compare("adamw_grad_norms", norms, 3))
end

--- ---- greedy continuation ----

local function submit(engine, case, seq, steps)
  local n = seq.n
  local positions = seq.positions and ffi.new("int[?]", 3 * n)
  for a = 0, positions and 2 or -1 do
    ffi.copy(positions + a * n, seq.positions + a * (n + 1), 4 * n)
  end
  local request = ffi.new("rl_request", { prompt = seq.ids, positions = positions, n = n,
    samples = 1, max_new = steps, media = seq.media, temperature = 0, top_p = 1 })
  return check(C.rl_engine_submit(engine, request))
end

local function greedy(case)
  local vocab, ids = case.policy.config.text_config.vocab_size, case.t.gen_ids
  local steps, tolerance = ids.shape[2], case.meta.tensors.logprobs.tol_abs
  local tape, want = case.policy.model.tape, case.t.gen_logprobs.data
  local engine = check(C.rl_engine_new(tape, C.RL_FLOAT, 2048, 8, 256, nil, vocab))
  ffi.gc(engine, C.rl_engine_free)
  for _, seq in ipairs(case.sequences) do submit(engine, case, seq, steps) end
  local worst = 0
  for _ = 1, #case.sequences do
    local r = check(C.rl_engine_next(engine, 60))
    if r.finish ~= C.RL_LENGTH then error("gen: " .. ffi.string(r.error), 0) end
    same_ints("gen_ids", r.tokens, ids.data + r.request * steps, steps)
    for i = 0, steps - 1 do
      local share = math.abs(r.logp[i] - want[r.request * steps + i]) / tolerance
      if not (share <= 1) then error(("gen_logprobs: element %d is off"):format(i), 0) end
      worst = math.max(worst, share)
    end
    C.rl_engine_forget(engine, r)
  end
  ffi.gc(engine, nil)
  C.rl_engine_free(engine)
  return worst
end

--- ---- what a prompt's index holds ----

local function index(case)
  local p = case.policy
  if not p.family.positions then return end
  for s, seq in ipairs(case.sequences) do
    local ids, top = {}, 0
    for i = 1, seq.n do ids[i] = seq.ids[i - 1] end
    local rows = { p.family.positions(p.config, ids, seq.grids) }
    for a = 1, 3 do
      local want = case.t.position_ids.data + (a - 1) * case.rows + seq.from
      for i = 1, seq.n do top = math.max(top, want[i - 1]) end
      same_ints("position_ids", ffi.new("int[?]", seq.n, rows[a]), want, seq.n)
    end
    T.equal(top + 1, case.t.gen_first_position.data[s - 1])
    T.equal(top + 1 - seq.n, case.t.rope_delta.data[s - 1])
  end
  if not case.t.window_index then return end
  local images = {}
  for _, g in ipairs(case.grids) do if g.kind == "image" then images[#images + 1] = g end end
  local x = p.family.index(p.config, images)
  same_ints("window_index", ffi.new("int[?]", #x.order, x.order), case.t.window_index.data,
    case.t.window_index.n)
  local ends = { 0 }
  for i, n in ipairs(x.windows) do ends[i + 1] = ends[i] + n end
  T.equal(#ends, case.t.cu_window_seqlens.n)
  same_ints("cu_window_seqlens", ffi.new("int[?]", #ends, ends), case.t.cu_window_seqlens.data,
    #ends)
end

--- ---- all cases ----

local function run_case(folder, name, p)
  local path = folder .. "/" .. name
  local case
  T.golden(path, function()
    case = Case.open(folder, name, p)
    index(case)
    local worst = math.max(forward(case), gradients(case), greedy(case))
    return case.meta.info.adamw and math.max(worst, adamw(case, folder)) or worst
  end)
  T.test(path .. ": recomputed activations give the same bits", function() recomputed(case) end)
end

--- A real model, of which there are reference values alone; its weights are fetched by hand.
local function run_reference(path, name)
  local source = model_source.packaged[name]
  local place = source and wheel.place(source)
  if source and not exists(place) then
    T.test(path, function()
      T.skip("its weights are not here; to fetch them, run " .. source.command)
    end)
  elseif source and os.getenv "RLLAVA_TESTS" == "sanitized" then
    T.test(path, function()
      T.skip "minutes under sanitizers; the tiny models do the same operations"
    end)
  elseif source then
    T.golden(path, function()
      return require "model_reference"(place, json.decode(T.read(path), path))
    end)
  end
end

for _, name in ipairs(T.list(root)) do
  local folder = root .. "/" .. name
  local cases = {}
  if exists(("%s/%s.json"):format(folder, name)) then
    run_reference(("%s/%s.json"):format(folder, name), name)
  end
  for _, file in ipairs(T.list(folder)) do
    cases[#cases + 1] = file:match "^(case_%d+)%.meta%.json$"
  end
  if #cases > 0 then
    local ok, p = pcall(function()
      if not exists(folder .. "/config.json") then T.skip "an adapter, not a model" end
      return policy.load(folder)
    end)
    if ok then
      for _, case in ipairs(cases) do run_case(folder, case, p) end
    else
      T.test(folder, function()
        if tostring(p):find "model_type: expected one of" then
          T.skip "this family is not in the house"
        end
        error(p, 0)
      end)
    end
  end
end
