local T = require "check"
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tiny = require "tiny"
local Run = require "rllava.run"
local checkpoint = require "rllava.checkpoint"
local files = require "rllava.files"
local json = require "rllava.json"
local keys = require "rllava.keys"
local policy = require "rllava.policy"
local records = require "rllava.records"
local schedule = require "rllava.schedule"
local warnings = require "rllava.warnings"
local weights = require "rllava.weights"
local C, check = rl.C, rl.check

local scratch = os.tmpname()
os.remove(scratch)
files.make_folder(scratch)

local function config(name, more)
  local cfg = keys.resolve({ trainer = { outputs_dir = scratch .. "/" .. name,
    logger = { "none" } } }, more)
  cfg.recipe = { name = name, set = {} }
  return cfg
end

local small = { hidden_size = 32, intermediate_size = 24, num_hidden_layers = 1, vocab_size = 160 }

--- A small policy with an optimizer that has moved by gradients of a made-up loss.  bits: of a
--- moment.
local function moved(seed, steps, bits)
  local p = tiny.text("qwen2", small):init(seed, 0.2)
  local list, n = p:tensors()
  local o = ffi.gc(check(C.rl_adamw_new(list, n, 0.9, 0.99, 1e-8, bits or 32)), C.rl_adamw_free)
  local decay = ffi.new("double[?]", n)
  local tensor = require "rllava.tensor"
  local function step(k)
    tensor.scope(function()
      for i, name in ipairs(p.model.names) do
        local w = p.model.params[name]
        local x = tensor.zeros(3, w.shape[2] or w.shape[1])
        for j = 0, x:numel() - 1 do x:data()[j] = math.sin(j + k * i) end
        local y = #w.shape > 1 and x:linear(w.tensor, nil) or x:mul(w.tensor)
        y:sqr():sum():backward()
      end
    end)
    check(C.rl_adamw_step(o, 1e-2, decay, 1))
  end
  for k = 1, steps do step(k) end
  return p, o, step
end

--- Every number of parameters and moments, as one text.
local function bits(p, o)
  local out = { tostring(C.rl_adamw_count(o)) }
  for i, name in ipairs(p.model.names) do
    local w, n = p.model.params[name], 1
    for _, d in ipairs(w.shape) do n = n * d end
    local buffer = ffi.new("float[?]", n)
    check(C.rl_param_get(w.tensor, buffer))
    out[#out + 1] = ffi.string(buffer, 4 * n)
    for which = 0, 1 do
      out[#out + 1] = ffi.string(C.rl_adamw_moment(o, i - 1, which),
        4 * C.rl_adamw_words(o, i - 1))
    end
  end
  return files.hash_text(table.concat(out))
end

T.test("a checkpoint brings weights, moments, counters and state back to the bit", function()
  for _, case in ipairs { { "f32", 32 }, { "bf16", 32 }, { "f32", 8 } } do
    local dtype, bits_of = case[1], case[2]
    local p, o, step = moved(1, 3, bits_of)
    local state = { step = 3, kl_coef = 0.1 + 0.2, list = { 1, 2 },
      nested = { name = "x", flag = false } }
    local folder = scratch .. "/exact-" .. dtype .. bits_of
    checkpoint.save(folder, p, o, state, { step = 3, dtype = dtype })
    local q, u, step2 = moved(2, 1, bits_of)
    local found = checkpoint.restore(folder, q, u)
    T.equal(json.encode(found), json.encode(state))
    T.equal(found.kl_coef, 0.1 + 0.2)
    T.equal(bits(q, u), bits(p, o))
    step(4)
    step2(4)
    T.equal(bits(q, u), bits(p, o))
    local w = weights.open(folder)
    T.equal(w:info(w:names()[1]).dtype, dtype:upper())
    w:close()
  end
end)

--- The models of the goldens that are there with their weights.
local function models()
  local list = {}
  for _, name in ipairs(T.list "tests/golden/models") do
    if files.kind("tests/golden/models/" .. name .. "/config.json") then list[#list + 1] = name end
  end
  return list
end

T.test("a checkpoint is a plain folder: names, dtypes, other files as they were loaded", function()
  for _, name in ipairs(models()) do
    local from, to = "tests/golden/models/" .. name, scratch .. "/plain-" .. name
    local p = policy.load(from)
    checkpoint.save(to, p, nil, nil, { step = 1, model_only = true, shard = 30000 })
    local a, b = weights.open(from), weights.open(to)
    T.equal(#b:names(), #a:names())
    for _, tensor in ipairs(a:names()) do
      local x, y = a:info(tensor), b:info(tensor)
      T.equal(b:key(tensor), tensor)
      T.equal(y.shape, x.shape)
      if x.dtype ~= "F16" then T.equal(y.dtype, x.dtype) end
      local u, v = ffi.new("float[?]", x.count), ffi.new("float[?]", x.count)
      a:read_f32(tensor, u, x.count)
      b:read_f32(tensor, v, x.count)
      local worst = 0
      for i = 0, x.count - 1 do
        worst = math.max(worst, math.abs(u[i] - v[i]) / (math.abs(u[i]) + 1e-6))
      end
      assert(worst <= (x.dtype == "F16" and 2 ^ -8 or 0), tensor)
    end
    T.equal(b.config.text_config, a.config.text_config)
    if files.kind(from .. "/preprocessor_config.json") then
      T.equal(files.read(to .. "/preprocessor_config.json"),
        files.read(from .. "/preprocessor_config.json"))
    end
    a:close()
    b:close()
  end
end)

T.test("a checkpoint that is not whole is told from one that is", function()
  local p, o = moved(1, 1)
  local folder = scratch .. "/damage"
  local function fresh() checkpoint.save(folder, p, o, { step = 1 }, { step = 1 }) end
  fresh()
  T.equal({ checkpoint.verify(folder) }, { true, 1 })
  local text = files.read(folder .. "/model.safetensors")
  files.write(folder .. "/model.safetensors", text:sub(1, -2))
  T.equal(select(2, checkpoint.verify(folder)),
    ("model.safetensors has %d bytes instead of %d"):format(#text - 1, #text))
  files.write(folder .. "/model.safetensors", text:sub(1, -2) .. "\255")
  T.equal(select(2, checkpoint.verify(folder)), "model.safetensors is damaged")
  T.raises("not a whole checkpoint: model.safetensors is damaged",
    function() checkpoint.restore(folder, p, o) end)
  fresh()
  files.remove(folder .. "/state.zst")
  T.equal(select(2, checkpoint.verify(folder)), "state.zst is absent")
  T.equal(select(2, checkpoint.verify(scratch)), "no checkpoint.json")
  for _, list in ipairs { '5', '{"format":1,"files":[{"bytes":1}]}', '{"format":1,"files":[0]}' } do
    files.write(files.join(folder, "checkpoint.json"), list)
    T.equal(select(2, checkpoint.verify(folder)), "checkpoint.json of another format")
  end
  checkpoint.save(folder, p, o, {}, { step = 1, model_only = true })
  T.raises("expected a state.zst, found a model alone",
    function() checkpoint.restore(folder, p, o) end)
end)

T.test("a checkpoint of another model, or a state that JSON would bend, is refused", function()
  local p, o = moved(1, 1)
  checkpoint.save(scratch .. "/other", p, o, {}, { step = 1 })
  local q = tiny.text("qwen2", { hidden_size = 64, vocab_size = 40 })
  local list, n = q:tensors()
  local u = ffi.gc(check(C.rl_adamw_new(list, n, 0.9, 0.99, 1e-8, 32)), C.rl_adamw_free)
  T.raises("parameters as in the model, found", function()
    checkpoint.restore(scratch .. "/other", q, u)
  end)
  T.raises("state.zst: expected moments of 8 bits, as optim.states asks, found 32", function()
    checkpoint.restore(scratch .. "/other", moved(1, 1, 8))
  end)
  for _, case in ipairs { { 0 / 0, "state.a: expected a finite number" },
    { math.huge, "a finite number, got inf" },
    { print, "state.a: expected numbers, texts and tables, got a function" } } do
    T.raises(case[2], function()
      checkpoint.save(scratch .. "/x", p, o, { a = case[1] }, { step = 1 })
    end)
  end
  T.raises("expected a list or a table of names", function()
    checkpoint.save(scratch .. "/x", p, o, { a = { [3] = 1 } }, { step = 1 })
  end)
  T.equal(files.kind(scratch .. "/x"), nil)
end)

--- The program itself on a line of Lua, under a shell's limits -> what it printed.
local function elsewhere(shell, code)
  local script = scratch .. "/elsewhere.lua"
  files.write(script, 'package.path = "tests/?.lua;" .. package.path\n' .. code)
  local p = io.popen(("%s /proc/$PPID/exe %s 2>&1"):format(shell, script))
  local text = p:read "*a"
  p:close()
  return text
end

T.test("a full disk gives a clear error and keeps the checkpoint that was there", function()
  local p, o = moved(1, 1)
  checkpoint.save(scratch .. "/full", p, o, { step = 1 }, { step = 1 })
  local text = elsewhere("trap '' XFSZ; ulimit -f 8;", ([[
    local tiny, checkpoint = require "tiny", require "rllava.checkpoint"
    local p = tiny.text("qwen2", { hidden_size = 32, num_hidden_layers = 1, vocab_size = 40 })
    print(pcall(checkpoint.save, %q, p, nil, {}, { step = 2, model_only = true }))
  ]]):format(scratch .. "/full"))
  for _, part in ipairs { "not written: ", "File too large", "earlier ones are as they were" } do
    assert(text:find(part, 1, true), text)
  end
  T.equal({ checkpoint.verify(scratch .. "/full") }, { true, 1 })
  T.equal(files.kind(scratch .. "/full.tmp"), nil)
end)

T.test("a kill at any moment loses no finished checkpoint", function()
  local place = scratch .. "/killed"
  for _, pause in ipairs { 0.05, 0.11, 0.2, 0.35 } do
    elsewhere(("timeout -s KILL %g"):format(pause), ([[
      local tiny, keys, Run = require "tiny", require "rllava.keys", require "rllava.run"
      local cfg = keys.resolve { trainer = {
        outputs_dir = %q, logger = { "none" }, save_model_only = true } }
      local p = tiny.text("qwen2", { hidden_size = 32, num_hidden_layers = 1, vocab_size = 40 })
      local run = Run.open(cfg)
      local first = #run:checkpoints()
      for step = first + 1, first + 1000 do run:metrics(step, { x = step }) run:save(step, p) end
    ]]):format(place))
    local run = Run.open(config "killed")
    for _, c in ipairs(run:checkpoints()) do
      T.equal({ checkpoint.verify(c.path) }, { true, c.step })
    end
    run:close()
    for _, name in ipairs(files.list(place .. "/checkpoints")) do
      assert(not name:find "tmp", name)
    end
  end
end)

T.test("a folder belongs to one run at a time, and is free again when that is killed", function()
  local place, slow = scratch .. "/held", os.getenv "RLLAVA_TESTS" == "sanitized" and 60 or 10
  files.write(scratch .. "/holder.lua", ([[
    local cfg = require("rllava.keys").resolve { trainer = { outputs_dir = %q,
      logger = { "none" } } }
    require("rllava.run").open(cfg)
    print(io.open("/proc/self/stat"):read "*a":match "^%%d+")
    io.stdout:flush()
    require("rllava.ffi").C.rl_sleep(%d)]]):format(place, slow))
  local holder = io.popen("exec /proc/$PPID/exe " .. scratch .. "/holder.lua")
  local pid = holder:read "*l"
  T.raises(place .. ": another run is going on in this folder (held by process " .. pid .. ")",
    function() Run.open(config "held") end)
  os.execute("kill -KILL " .. pid)
  holder:close()
  local run = Run.open(config "held")
  T.raises("another run is going on", function() Run.open(config "held") end)
  run:close()
  Run.open(config "held"):close()
end)

T.test("resume takes the newest whole checkpoint and drops the records beyond it", function()
  local p, o, step = moved(1, 1)
  local run = Run.open(config "resume")
  for k = 1, 5 do
    run:metrics(k, { ["reward/overall"] = k / 10 }, "train")
    run:metrics(k, { reward_score = k == 2 and 0.9 or 0.1 }, "val")
    run:samples(k, { { index = 1, text = "t" .. k, result = { overall = k } } })
    if k <= 4 then run:save(k, p, o, { step = k }) end
    step(k)
  end
  run:close()
  local four = scratch .. "/resume/checkpoints/global_step_4"
  files.write(four .. "/state.zst", "x")
  local file = io.open(scratch .. "/resume/metrics.jsonl", "ab")
  file:write '{"step":6,"torn'
  file:close()
  local again = Run.open(config("resume", { "optim.lr=0.5" }))
  local q, u = moved(3, 1)
  local state = again:resume(q, u)
  T.equal(state.step, 3)
  local lines = files.read(scratch .. "/resume/log.txt")
  assert(lines:find("global_step_4 is left out: state.zst has 1 bytes instead of", 1, true), lines)
  assert(lines:find("other values than before: optim.lr 1e-06 -> 0.5", 1, true), lines)
  local kept = {}
  for i, r in ipairs(records.read(scratch .. "/resume/metrics.jsonl")) do kept[i] = r.step end
  T.equal(kept, { 1, 1, 2, 2, 3, 3 })
  T.equal(#records.read(scratch .. "/resume/rollouts.jsonl"), 3)
  T.equal({ again.best.step, again.since_best }, { 2, 1 })
  again:close()
  T.raises("holds a run already", function()
    Run.open(config("resume", { "trainer.resume=false" }))
  end)
end)

T.test("a named run is below trainer.outputs_dir, unless that is a run's folder itself", function()
  local run_folder, place = require "rllava.run_folder", scratch .. "/named"
  local function of(project, name)
    return run_folder.of { trainer = { outputs_dir = place, project_name = project,
      experiment_name = name }, recipe = { name = "r" } }
  end
  T.equal({ of(), of("p", "n"), of("p"), of(nil, "n") },
    { place, place .. "/p/n", place .. "/p/r", place .. "/n" })
  files.make_folder(place)
  files.write(place .. "/metrics.jsonl", "")
  T.equal(of("p", "n"), place)
end)

T.test("a run without a whole checkpoint starts over, its records kept aside", function()
  local run = Run.open(config "over")
  run:metrics(1, { x = 1 }, "train")
  run:close()
  local again = Run.open(config "over")
  T.equal(again:resume(moved(1, 1)), nil)
  again:metrics(1, { x = 2 }, "train")
  again:close()
  T.equal(records.read(scratch .. "/over/metrics.jsonl")[1].x, 2)
  T.equal(records.read(scratch .. "/over/metrics.jsonl.old")[1].x, 1)
end)

T.test("trainer.save_limit keeps the newest, and the best beside them", function()
  local p = moved(1, 0)
  for _, case in ipairs { { "true", { 2, 5, 6 } }, { "false", { 5, 6 } } } do
    local run = Run.open(config("limit-" .. case[1],
      { "trainer.save_limit=2", "trainer.save_model_only=true",
      "trainer.save_best=" .. case[1] }))
    for k = 1, 6 do
      run:metrics(k, { reward_score = k == 2 and 0.9 or 0.1 * k }, "val")
      run:save(k, p)
    end
    local steps = {}
    for i, c in ipairs(run:checkpoints()) do steps[i] = c.step end
    T.equal(steps, case[2])
    run:close()
    local said = files.read(scratch .. "/limit-" .. case[1] .. "/log.txt")
    local kept = case[1] == "true" and "checkpoints/global_step_2" or "not saved"
    assert(said:find("best:       0.9 after step 2, " .. kept, 1, true), said)
  end
end)

T.test("early_stop ends a run after so many validations without a better score", function()
  local run, go_on = Run.open(config("early", { "trainer.early_stop=2" })), {}
  for k, score in ipairs { 0.5, 0.4, 0.6, 0.6, 0.1 } do
    go_on[k] = run:validated(k, { ["val/reward_score"] = score }, nil)
  end
  T.equal(go_on, { true, true, true, true, false })
  run:close()
end)

T.test("the folder holds what was asked and what came out", function()
  local run = Run.open(config("folder", { "trainer.logger=tensorboard" }), { last = 2 })
  local ids = ffi.new("int[3]", { 5, 6, 7 })
  local response = { ids = ids, n = 3, text = "<think>", sample = 0, version = 4, finish = "stop",
    tokens = { advantage = { 0.5, 0.5, 0.5 } }, result = { overall = 1, parts = { accuracy = 1 },
      remark = "fine" } }
  local batch = { groups = { { row = { answer = "7", source = "a.json:3" },
    prompt = { text = "Q?" },
    responses = { response } } } }
  run:validated(0, { ["val/reward_score"] = 0.25, ["val/accuracy_reward"] = 0 / 0 }, batch)
  run:trained(1, { ["actor/pg_loss"] = 0.1, ["timing_s/step"] = 2 }, batch)
  run:close()
  local folder = scratch .. "/folder/"
  T.equal(json.decode(files.read(folder .. "config.json")).rollout.n, 8)
  local lines = files.read(folder .. "metrics.jsonl")
  T.equal(lines, '{"step":0,"val/accuracy_reward":null,"val/reward_score":0.25}\n'
    .. '{"step":1,"actor/pg_loss":0.1,"timing_s/step":2}\n')
  local val, train = unpack(records.read(folder .. "rollouts.jsonl"))
  T.equal({ val.kind, train.kind, train.prompt, train.text, train.answer, train.index },
    { "val", "train", "Q?", "<think>", "7", "a.json:3" })
  T.equal({ train.overall, train.parts.accuracy, train.remark, train.advantage, train.version,
    train.finish },
    { 1, 1, "fine", 0.5, 4, "stop" })
  T.equal({ unpack(train.tokens) }, { 5, 6, 7 })
  T.equal(#T.list(folder .. "tensorboard"), 1)
  local events = files.read(folder .. "tensorboard/" .. T.list(folder .. "tensorboard")[1])
  assert(events:find("actor/pg_loss", 1, true) and events:find("brain.Event:2", 1, true))
end)

T.test("an event file frames each record with its length and masked CRCs", function()
  files.make_folder(scratch .. "/events")
  local e = require("rllava.events").open(scratch .. "/events")
  e:scalar("a", 1.5, 300)
  e:close()
  local text = files.read(e.path)
  local at, records_seen = 1, 0
  local function u32(i)
    return ffi.cast("const uint32_t *", ffi.cast("const char *", text) + i - 1)[0]
  end
  local function masked(s)
    local c = C.rl_crc32c(s, #s)
    local rotated = math.floor(c / 2 ^ 15) + (c % 2 ^ 15) * 2 ^ 17
    return (rotated + 0xa282ead8) % 2 ^ 32
  end
  while at <= #text do
    local n = u32(at)
    T.equal(u32(at + 8), masked(text:sub(at, at + 7)))
    T.equal(u32(at + 12 + n), masked(text:sub(at + 12, at + 11 + n)))
    at, records_seen = at + 16 + n, records_seen + 1
  end
  T.equal(records_seen, 2)
  assert(text:find("\16\172\2", 1, true), "step 300 as a varint of field 2")
end)

T.test("rllava show prints the responses of a step", function()
  local text = elsewhere("",
    ('require("rllava.commands").show(%q, "1")'):format(scratch .. "/folder"))
  assert(text:find("prompt    Q?", 1, true), text)
  assert(text:find("score     1  (accuracy 1)  fine", 1, true), text)
  assert(text:find("1 of 1", 1, true), text)
  T.raises("no responses of step 9", function()
    require("rllava.show").run(scratch .. "/folder", "9")
  end)
  T.raises("expected a run's folder", function() require("rllava.show").run(scratch, "9") end)
end)

T.test("warnings: in words, when they hold for long enough", function()
  local cfg, w, said = config "warn", warnings.new(), {}
  for k = 1, 12 do
    local found = w:step({ ["group/no_spread"] = 0.75, ["group/all_right"] = 0.25,
      ["group/parts_cancel"] = 0.5, ["reward/format"] = 0, ["reward/a"] = 0.5,
      ["reward/a/std"] = 0.5, ["reward/b"] = 0.5, ["reward/b/std"] = 0.5 }, cfg)
    for _, text in ipairs(found) do said[#said + 1] = k .. " " .. text end
  end
  T.equal(#said, 2)
  assert(said[1]:find("^10 75%% of the prompts .* %(25%% all right, 50%% parts that cancel%).* "
    .. "their parts vary %(a, b%) but cancel"), said[1])
  assert(said[2]:find("^10 the reward's part 'format' was 0"), said[2])
  local cut = w:step({ ["response_length/clip_ratio"] = 0.4, ["response_length/p95"] = 300 }, cfg)
  assert(cut[1]:find "40%% of the responses were cut off at .* = 512 .* try 1024", cut[1])
  T.equal(#w:step({ ["response_length/clip_ratio"] = 0.4 }, cfg), 0)
  T.equal(w:step({ ["actor/pg_loss"] = 0 / 0 }, cfg)[1]:match "^actor/pg_loss is %-?nan",
    "actor/pg_loss is " ..
    tostring(0 / 0))
end)

T.test("schedules: warm-up, then constant, cosine, linear, wsd", function()
  local function of(changes)
    local o = keys.resolve({ optim = changes }).optim
    o.lr = 1
    return schedule.of(o)
  end
  local lr = of { warmup_steps = 4 }
  T.near({ lr(1, 10), lr(4, 10), lr(10, 10) }, { 0.25, 1, 1 })
  lr = of { schedule = "cosine", min_lr_ratio = 0.1, warmup_ratio = 0.2 }
  T.near({ lr(1, 10), lr(2, 10), lr(6, 10), lr(10, 10) }, { 0.5, 1, 0.55, 0.1 }, 1e-12)
  lr = of { schedule = "linear" }
  T.near({ lr(5, 10), lr(10, 10) }, { 0.5, 0 }, 1e-12)
  lr = of { schedule = "wsd", decay_ratio = 0.5, min_lr_ratio = 0.2 }
  T.near({ lr(5, 10), lr(10, 10), lr(6, 10) }, { 1, 0.2, 0.84 }, 1e-12)
end)

files.remove(scratch)
