--- Every algorithm in a run of the embedded recipe, and what some of them need beside the policy.
local T = require "check"
local ffi = require "ffi"
local tiny = require "tiny"
local rl = require "rllava.ffi"
local algorithm = require "rllava.algorithm"
local Batch = require "rllava.batch"
local files = require "rllava.files"
local guide = require "rllava.guide"
local json = require "rllava.json"
local mismatch = require "rllava.mismatch"
local Recall = require "rllava.recall"
local skipped = require "rllava.skipped"
local small = require "small_run"
local tensor = require "rllava.tensor"
local train = require "rllava.train"
local Updater = require "rllava.update"
local loss = require "rllava.loss"
local C = rl.C

local config, run, metrics = small.config, small.run, small.metrics

local function hash(folder, step, file)
  return files.hash(files.join(folder, "checkpoints", "global_step_" .. step, file))
end

--- ---- the critic ----

local ppo = { "algorithm=ppo", "critic.lr=1e-3", "critic.init_std=0.02", "critic.epochs=2",
  "trainer.updates_per_step=2" }

T.test("PPO: two steps, then two more after a restart, are four steps, critic included", function()
  local whole = run("ppo", "trainer.max_steps=4", unpack(ppo))
  local parts = run("ppo_parts", "trainer.max_steps=2", unpack(ppo))
  run("ppo_parts", "trainer.max_steps=4", unpack(ppo))
  for _, file in ipairs { "model.safetensors", "critic/model.safetensors" } do
    T.equal(hash(parts, 4, file), hash(whole, 4, file))
  end
  T.equal(metrics(parts), metrics(whole))
end)

T.test("trainer.critic_warmup: the policy stays as it is while the critic learns", function()
  local t = train.open(config("trainer.critic_warmup=2", "trainer.max_steps=2", unpack(ppo)))
  local w = t.policy.model.params["model.norm.weight"].tensor
  local numbers = ffi.new("float[?]", 192)
  local function norm()
    C.rl_param_get(w, numbers)
    local sum = 0
    for i = 0, 191 do sum = sum + numbers[i] ^ 2 end
    return sum
  end
  local before = norm()
  local m = t:step(1)
  T.equal({ norm(), m["actor/lr"] }, { before, nil })
  assert(m["critic/vf_loss"] > 0)
  t:step(2)
  assert(norm() ~= before, "the policy did not move")
  t:close()
end)

--- Groups of random responses under prompts with and without a picture, with what a critic's loss
--- asks for.
local function groups(p, random, count)
  local out = {}
  for g = 1, count do
    local images = g % 2 == 0 and { { 1, 4, 4 } } or nil
    out[g] = { prompt = tiny.prompt(p, random, 3 + random(9), images), responses = {} }
    for k = 1, 2 + random(2) do
      local r = tiny.response(random, 2 + random(9))
      r.tokens = { old_values = {}, returns = {} }
      for i = 1, r.n do
        r.tokens.old_values[i], r.tokens.returns[i] = random(100) / 100, random(200) / 100 - 1
      end
      out[g].responses[k] = r
    end
  end
  return out
end

local function critic(p, micro_tokens)
  return Updater.new(p, { optim = { betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0.1 },
    max_grad_norm = 1, micro_tokens = micro_tokens, head = "value",
    objective = function(a, part, cfg) return a.loss(part, cfg) end })
end

local value_loss = { loss = loss.value }

T.test("a critic's values, loss and gradient do not depend on how groups are cut", function()
  for trial = 1, 4 do
    local p = tiny.vision():critic(0.1, 3)
    local list = groups(p, tiny.random(40 + trial), 4)
    local cfg = { cliprange_value = 0.2, norm_len = 9, value_agg_mode =
      trial % 2 == 0 and "seq-mean-token-mean" or "token-mean" }
    local results = {}
    for k, micro in ipairs { 1000, 60, 45 } do
      local c = critic(p, micro)
      local values = c:values(list, "values")
      local m, g = c:accumulate(list, value_loss, cfg), {}
      for i, name in ipairs(p.model.names) do
        C.rl_param_grad_squares(p.model.params[name].tensor)
        g[i] = tensor.own(C.rl_grad_of(p.model.params[name].tensor)):totable()
      end
      results[k] = { values, m, g }
      p:zero_grad()
    end
    T.equal(results[2], results[1])
    T.equal(results[3], results[1])
  end
end)

T.test("a token's value is the head's at the row before it: it does not know the token", function()
  local p = tiny.text("qwen3"):critic(0.1, 3)
  local random = tiny.random(5)
  local one = { prompt = tiny.prompt(p, random, 6), responses = { tiny.response(random, 5) } }
  local c, ids = critic(p), {}
  local values = c:values({ one }, "values")
  for i = 1, one.prompt.n do ids[i] = one.prompt.ids[i - 1] end
  for t = 1, 5 do
    local before = require("rllava.prompt").new(p, ids)
    local other = { ids = ffi.new("int[1]", 7), n = 1 }
    T.equal(c:values({ { prompt = before, responses = { other } } }, "values"), { values[t] })
    ids[#ids + 1] = one.responses[1].ids[t - 1]
  end
end)

--- ---- every algorithm ----

-- What an algorithm needs beside its name.
local with = { distill = { "teacher=tiny-vl" }, dapo = { "loss.online_filtering=false" },
  ppo = { "critic.lr=1e-3" } }

--- The numbers of a parameter.
local function numbers(policy, name)
  local p, n = policy.model.params[name], 1
  for _, d in ipairs(p.shape) do n = n * d end
  local out = ffi.new("float[?]", n)
  C.rl_param_get(p.tensor, out)
  return ffi.string(out, 4 * n)
end

for _, name in ipairs(algorithm.names()) do
  T.test("two steps of " .. name .. ": the loss is finite, the weights move", function()
    local t = train.open(config("algorithm=" .. name, "trainer.max_steps=2",
      unpack(with[name] or {})))
    if name == "distill" then t.teacher.policy:init(3) end     -- another model of the same tokens
    local before = numbers(t.policy, "model.layers.1.mlp.up_proj.weight")
    for step = 1, 2 do
      local m = t:step(step)
      local value = m["actor/loss"]
      assert(value == value and math.abs(value) < math.huge, "the loss is " .. tostring(value))
      T.equal(m["mismatch/max_abs"] or 0, 0)
      T.equal(m["actor/skipped"], 0)
    end
    assert(numbers(t.policy, "model.layers.1.mlp.up_proj.weight") ~= before, "nothing moved")
    t:close()
  end)
end

--- ---- demonstrations in groups ----

local function ids_of(r)
  local out = {}
  for i = 1, r.n do out[i] = r.ids[i - 1] end
  return out
end

local function first(list, n) return { unpack(list, 1, n) } end

T.test("LUFFY: one response of each group is the target, token by token; the others are sampled",
  function()
    local t = train.open(config("algorithm=luffy", "rollout.max_new_tokens=48"))
    local _, batch = t:step(1)
    for _, g in ipairs(batch.groups) do
      local target = guide.target(t.policy, g.row, "target")
      T.equal(#g.responses, 4)
      T.equal(ids_of(g.responses[1]), first(target, 48))
      T.equal(g.responses[1].result.parts.accuracy, 1)
      for k, r in ipairs(g.responses) do
        T.equal({ r.sample, r.tokens.prefix[1], #r.tokens.prefix },
          { k - 1, k == 1 and 1 or 0, r.n })
      end
    end
    t:close()
  end)

T.test("UFT: a response goes on after a part of the target as one without it would", function()
  local t = train.open(config("algorithm=uft", "rollout.max_new_tokens=48",
    "loss.min_prefix_ratio=0.3", "loss.max_prefix_ratio=0.6"))
  local _, batch = t:step(1)
  for _, g in ipairs(batch.groups) do
    local target = guide.target(t.policy, g.row, "target")
    for _, r in ipairs(g.responses) do
      assert(r.copied >= math.floor(0.3 * #target) and r.copied <= 0.6 * #target)
      T.equal(first(ids_of(r), r.copied), first(target, r.copied))
      T.equal(r.text, t.policy.tokenizer:decode_ints(r.ids, r.n, true))
    end
  end
  t:close()
end)

T.test("the largest share of a hint falls by a cosine, and one draw can serve a group", function()
  local cfg = { prefix_strategy = "hint", min_prefix_ratio = 0.2, max_prefix_ratio = 1,
    n_prefix = -1, hint_steps = 10 }
  local function top(step) return guide.ratios(cfg, 1, step, function() return 1 end)[1] end
  T.near({ top(0), top(5), top(10), top(99) }, { 1, 0.5, 0.2, 0.2 }, 1e-12)
  cfg.prefix_share_across_samples, cfg.n_prefix = true, 2
  T.equal(guide.ratios(cfg, 3, 10, function(k) return k end), { 0.2, 0.2, 0 })
end)

T.test("HPT: a group without a right response is trained on its demonstration alone", function()
  local t = train.open(config("algorithm=hpt", "rollout.max_new_tokens=48", "loss.switch_gate=4"))
  local _, batch = t:step(1)
  for _, g in ipairs(batch.groups) do
    T.equal(ids_of(g.responses[1]), first(guide.target(t.policy, g.row, "target"), 48))
    T.equal(g.responses[1].result.overall, 1)
    for k = 2, 4 do T.equal(Updater.count(g.responses[k]), 0) end
  end
  t:close()
end)

T.test("CHORD: demonstrations stand beside the samples and outside their statistics", function()
  local t = train.open(config("algorithm=chord"))
  local batch = t:sample(2, 1)
  T.equal({ #batch.groups[1].responses, batch.lengths[5] > 0 }, { 5, true })
  T.equal({ batch.group[4], batch.group[5], batch.group[6] }, { 1, 7, 2 })
  t:close()
end)

T.test("keys that the algorithm would not heed are refused", function()
  for key, why in pairs { ["loss.prefix_strategy=random"] = "knows copied tokens",
    ["teacher=tiny-vl"] = "learns from one", ["loss.ref_update=ema"] = "expected a reference" } do
    T.raises(why, function() train.open(config(key)) end)
  end
  T.raises("which bring demonstrations", function()
    train.open(config("algorithm=luffy", "loss.prefix_strategy=none"))
  end)
end)

--- ---- references that move, importance weights, recall ----

T.test("a reference that is refreshed: no KL after it, and a restart repeats it", function()
  local o = { "loss.use_kl_loss=true", "loss.ref_update=ema", "loss.ref_decay=0.5",
    "loss.use_kl_in_reward=true", "optim.lr=1e-3" }
  local whole = run("ema", "trainer.max_steps=3", unpack(o))
  local parts = run("ema_parts", "trainer.max_steps=2", unpack(o))
  run("ema_parts", "trainer.max_steps=3", unpack(o))
  T.equal(metrics(parts), metrics(whole))
  local each = metrics(run("every", "trainer.max_steps=2", "loss.use_kl_loss=true",
    "loss.ref_update=every", "optim.lr=1e-3"))
  T.equal(each[2]["actor/kl_loss"], 0)
  assert(metrics(whole)[2]["actor/kl_loss"] > 0)
end)

T.test("importance weights are exactly 1 where the sampler is the policy", function()
  local plain = metrics(run("plain", "trainer.max_steps=2"))
  local weighed = metrics(run("weighed", "trainer.max_steps=2", "loss.rollout_is=sequence"))
  for step = 1, 2 do
    T.equal(weighed[step]["actor/loss"], plain[step]["actor/loss"])
    T.equal({ weighed[step]["mismatch/ess"], weighed[step]["mismatch/kl"] }, { 1, 0 })
  end
end)

T.test("the gap between sampler and trainer, of one rank or several, by hand", function()
  local gap, found = mismatch.new(), {}
  local r = { n = 3, copied = 1, tokens = { old_logp = { 0, -1, -2 } } }
  gap:add({ { responses = { r } } }, ffi.new("float[3]", 5, -1, -1))
  gap:into(found, require("rllava.dist").alone)
  T.near({ found["mismatch/kl"], found["mismatch/k3"], found["mismatch/max_abs"],
    found["mismatch/ess"] }, { -0.5, (math.exp(1) - 2) / 2, 1,
    (1 + math.exp(1)) ^ 2 / (2 * (1 + math.exp(2))) }, 1e-9)
  local other = mismatch.new()
  other:add({ { responses = { { n = 1, tokens = { old_logp = { -1 } } } } } },
    ffi.new("float[1]", -3))                              -- x: 0, 1 there; -2 here
  gap:into(found, { gather = function(own) return { own, other } end })
  T.near({ found["mismatch/kl"], found["mismatch/max_abs"] }, { 1 / 3, 2 }, 1e-9)
end)

T.test("recall: an earlier right response stands in where all fail, also restarted", function()
  local function group(index, rewards)
    local g = { index = index, responses = {} }
    for k, v in ipairs(rewards) do
      g.responses[k] = { ids = ffi.new("int[2]", k, 9), n = 2, sample = k - 1,
        tokens = { old_logp = { -k, -0.1 } }, result = { overall = v, parts = { accuracy = v } } }
    end
    return g
  end
  local memory = Recall.new(1, 1)
  T.equal(memory:into { group(3, { 0, 1, 0 }) }, 0)
  local again, g = Recall.new(1, 1), group(3, { 0, 0, 0 })
  again:take_up(json.decode(json.encode(memory:state())))
  T.equal(again:into { group(4, { 0 }), g }, 1)
  local r = g.responses[3]
  T.equal({ ids_of(r), r.tokens.old_logp, r.result.overall, r.sample },
    { { 2, 9 }, { -2, -0.1 }, 1, 2 })
  again:into { group(5, { 1 }) }
  T.equal(again:into { group(3, { 0 }) }, 0)                   -- forgotten for a newer one
end)

T.test("GDPO: parts by name and weight; a weight for no part is refused", function()
  local batch = Batch.new { { responses = {
    { n = 1, tokens = {}, result = { overall = 1, parts = { b = 2, a = 1 } } } } } }
  batch:name_parts { b = 0.5 }
  T.equal(batch.named, { { "a", 1, { 1 } }, { "b", 0.5, { 2 } } })
  T.raises("no part named 'c'; it gives a, b", function() batch:name_parts { c = 1 } end)
end)

--- ---- updates that are left out ----

T.test("an update that is left out can be opened again: the same gradient to the bit", function()
  local folder = run("skipped", "trainer.max_steps=2", "optim.skip_grad_norm=1e-9",
    "trainer.keep_skipped=1")
  T.equal(metrics(folder)[2]["actor/skipped"], 2)
  T.equal(files.list(files.join(folder, "skipped")), { "step_1_1" })
  local shown, print_before = {}, print
  print = function(text) shown[#shown + 1] = text end
  local ok, m = pcall(skipped.replay, files.join(folder, "skipped", "step_1_1"), {})
  print = print_before
  if not ok then error(m, 0) end
  T.equal(m.loss, metrics(folder)[1]["actor/loss"])
  assert(table.concat(shown, "\n"):find(("grad_norm%s%.9g"):format((" "):rep(16),
    metrics(folder)[1]["actor/grad_norm"]), 1, true), "another gradient")
end)

files.remove(small.scratch)
