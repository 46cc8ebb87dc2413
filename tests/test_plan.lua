--- The plan of a run: that it is what the run takes, before anything is taken.
local T = require "check"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local plan = require "rllava.plan"
local recipe = require "rllava.recipe"
local text = require "rllava.plan.text"
local tiny = require "tiny"
local train = require "rllava.train"
local C, check = rl.C, rl.check

local small = { "data.prompts_per_step=2", "rollout.n=4", "rollout.max_new_tokens=24",
  "data.val=null", "data.val_apart=null" }

--- The config of the embedded recipe, small, with further keys.
local function config(...)
  local overrides = { unpack(small) }
  for _, o in ipairs { ... } do overrides[#overrides + 1] = o end
  return recipe.load("recipes/grpo_geoqa.lua", overrides)
end

--- Collects what earlier runs left, until nothing more goes.
local function settle()
  local used
  jit.flush()                                           -- traces keep what they were compiled for
  repeat
    used = C.rl_bytes_used()
    collectgarbage()
    collectgarbage()
  until C.rl_bytes_used() == used
  return used
end

--- Bytes at most while body runs, beyond those in use before it.
local function peak(body)
  local before = settle()
  C.rl_bytes_restart()
  body()
  return C.rl_bytes_peak() - before
end

--- What a run of one step takes, as a share of what was planned; it is closed and collected.
local function share_of(cfg)
  local planned
  local bytes = peak(function()
    local trainer = train.open(cfg)
    trainer:step(1)
    planned = trainer.plan.counted
    trainer:close()
  end)
  settle()
  return bytes / planned
end

T.test("a plan takes no memory but that of a prompt's pictures", function()
  local p
  local bytes = peak(function() p = plan.of(config()) end)
  if bytes > 2e6 then error(("%d bytes"):format(bytes)) end
  if not (p.by_name.weights.bytes.update > 8e6) then error "no weights in it" end
end)

T.test("a model is recorded without its numbers, and gets zeros when they are asked for", function()
  local p
  local bytes = peak(function() p = require("rllava.policy").shape "tiny-vl" end)
  if bytes > 1e5 then error(("%d bytes"):format(bytes)) end
  local w = p.model.params["model.norm.weight"].tensor
  T.equal(C.rl_param_bytes(w, 0) > 4 * 192, true)
  T.equal(w:totable()[192], 0)
end)

T.test("a run of embedded recipes takes what was planned, within 2%", function()
  for _, o in ipairs { { "trainer.dtype=f32" }, { "trainer.dtype=bf16", "loss.use_kl_loss=true" },
    { "trainer.recompute=true", "trainer.micro_tokens=200" }, { "algorithm=ppo" },
    { "trainer.micro_rows=1", "trainer.score_rows=3", "loss.use_kl_loss=true" },
    { "algorithm=ppo", "optim.states=int8", "critic.states=int8" },
    { "algorithm=remax", "data.val=geoqa-tiny@test" },
    { "rollout.weights=int8", "loss.rollout_is=token", "rollout.lookup=7" },
    { "trainer.freeze_vision_tower=true", "trainer.vision_cache=8M", "loss.use_kl_loss=true" } } do
    local share = share_of(config(unpack(o)))
    if not (share > 0.98 and share < 1.02) then error(("%s: %.4f of it"):format(o[1], share)) end
  end
end)

T.test("after its first step a run takes nothing more", function()
  settle()
  C.rl_bytes_restart()
  local trainer = train.open(config "data.prompts_per_step=1")
  trainer:step(1)
  local first, used = C.rl_bytes_peak(), C.rl_bytes_used()
  for step = 2, 20 do trainer:step(step) end
  T.equal(C.rl_bytes_peak(), first)
  T.equal(C.rl_bytes_used() <= used, true)
  trainer:close()
end)

T.test("the warm-up changes no bit of a run", function()
  local function numbers()
    local trainer = train.open(config())
    local found = trainer:step(1)
    local w = trainer.policy.model.params["model.layers.0.mlp.up_proj.weight"].tensor
    local out = { found["actor/grad_norm"], found["critic/score/mean"],
      found["response_length/mean"] }
    require("rllava.tensor").scope(function()
      local values = require("rllava.tensor").zeros(512 * 192)
      check(C.rl_param_get(w, values:data()))
      for i, v in ipairs(values:totable()) do out[#out + 1] = v end
    end)
    trainer:close()
    return out
  end
  local warm = require "rllava.plan.warm"
  local up, with = warm.up, numbers()
  warm.up = function() end
  local ok, without = pcall(numbers)
  warm.up = up
  if not ok then error(without, 0) end
  T.equal(with, without)
end)

T.test("a run that cannot fit is refused at once, with the table and what to change", function()
  local bytes = peak(function()
    local ok, message = pcall(train.open, config "trainer.memory=40M")
    T.equal(ok, false)
    for _, word in ipairs { "expected at most 40.0 MiB (trainer.memory)", "weights", "KV cache",
      "trainer.recompute=true", "trainer.micro_tokens=", "rollout.at_once=" } do
      if not message:find(word, 1, true) then error(("no %q in %s"):format(word, message), 0) end
    end
  end)
  if bytes > 2e6 then error(("it took %d bytes"):format(bytes)) end
end)

T.test("a change that is said to fit does, one that is not does not", function()
  local p = plan.of(config())
  local less = plan.of(config "trainer.recompute=true").peak.bytes
  local advice = text.advice(p, less)
  T.equal(advice:find("trainer.recompute=true[^\n]*fits") ~= nil, true)
  T.equal(text.advice(p, less - 1):find("trainer.recompute=true[^\n,]*\n") ~= nil, true)
end)

T.test("the plan cuts and recomputes where it must, and what the recipe sets stays", function()
  local o = "data.prompts_per_step=64"
  local function fit(...)
    local cfg = config(o, ...)
    local p = plan.fit(cfg)
    return { cfg.trainer.micro_tokens, cfg.trainer.recompute, p.chosen }, p.peak.bytes
  end
  local free, most = fit()
  T.equal(free, { 8192, false })
  local cut, less = fit("trainer.memory=" .. most - 1)
  T.equal(cut, { 4096, false, "trainer.micro_tokens=4096 trainer.recompute=false" })
  assert(less < most)
  T.equal(fit "trainer.memory=1M", { 128, true, "trainer.micro_tokens=128 trainer.recompute=true" })
  T.equal(fit("trainer.memory=" .. most - 1, "trainer.micro_tokens=8192"),
    { 8192, true, "trainer.micro_tokens=8192 trainer.recompute=true" })
  T.equal(fit("trainer.memory=" .. most - 1, "trainer.micro_tokens=8192",
    "trainer.recompute=false"), { 8192, false })
end)

T.test("what the plan chooses changes no bit of a run", function()
  local function weights(...)
    local t = train.open(config(...))
    local ok, found = pcall(t.step, t, 1)
    local norm, chosen = ok and found["actor/grad_norm"], t.plan.chosen
    t:close()
    if not ok then error(found, 0) end
    return norm, chosen
  end
  local o = { "data.prompts_per_step=4", "rollout.n=4", "data.val=null", "data.val_apart=null" }
  local most = plan.of(config(unpack(o))).peak.bytes
  o[#o + 1] = "trainer.memory=" .. most - 3e6
  local norm, chosen = weights(unpack(o))
  table.remove(o)
  assert(chosen, "nothing was chosen")
  T.equal({ norm }, { (weights(unpack(o))) })
end)

T.test("sizes: 24G, 900M, plain bytes; nothing else", function()
  T.equal({ plan.bytes "24G", plan.bytes "900M", plan.bytes "1.5GiB", plan.bytes(1e6),
    plan.bytes "1e6" },
    { 24 * 2 ^ 30, 900 * 2 ^ 20, 1.5 * 2 ^ 30, 1e6, 1e6 })
  for _, bad in ipairs { "24X", "G", "-1G", "0", "" } do
    T.raises("trainer.memory", function() plan.bytes(bad) end)
  end
end)

T.test("a group that must be cut pays for its prompt again, and the plan says so", function()
  local cut = plan.of(config "trainer.micro_tokens=100")
  T.equal(cut.worst.pieces > 1, true)
  T.equal(text.table(cut):find "its prompt is computed" ~= nil, true)
  T.equal(plan.of(config()).worst.pieces, 1)
end)

T.test("beyond the limit the allocator refuses, and goes on below it", function()
  check(C.rl_bytes_limit(C.rl_bytes_used() + 1e6))
  local ok, message = pcall(T.raises, "expected at most", function()
    require("rllava.tensor").zeros(1000, 1000)
  end)
  local fits = pcall(require("rllava.tensor").zeros, 100, 100)
  plan.done()
  if not ok then error(message, 0) end
  T.equal(fits, true)
end)

T.test("an arena reserved for rows holds all batches of fewer, whatever their mix", function()
  local p = tiny.vision()
  local random = tiny.random(5)
  local replay = check(C.rl_replay_new(p.model.tape, "logp entropy", 1, 0, tiny.dtype))
  require("ffi").gc(replay, C.rl_replay_free)
  for kind, rows in pairs { tokens = 90, answers = 80, pairs = 90, patches = 64, cells = 16 } do
    check(C.rl_replay_rows(replay, kind, rows))
  end
  check(C.rl_replay_reserve(replay))
  local reserved = C.rl_replay_bytes(replay)
  local batch = require("ffi").gc(C.rl_batch_new(), C.rl_batch_free)
  for _ = 1, 40 do
    local images = {}
    for i = 1, random(4) do images[i] = { 1, 4, 4 } end
    local prompt = tiny.prompt(p, random, 5 + random(30), images)
    local one = { prompt = prompt, responses = { tiny.response(random, 1 + random(30)) } }
    require("rllava.update").pack(batch, { one })
    check(C.rl_batch_bind(batch, replay, 1))
    check(C.rl_replay_forward(replay))
    if C.rl_replay_bytes(replay) > reserved then error "it grew" end
  end
end)
