--- Every algorithm in a run of the embedded recipe, and what some of them need beside the policy.
local T = require "check"
local ffi = require "ffi"
local tiny = require "tiny"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local recipe = require "rllava.recipe"
local tensor = require "rllava.tensor"
local train = require "rllava.train"
local Updater = require "rllava.update"
local loss = require "rllava.loss"
local C = rl.C

local scratch = os.tmpname()
os.remove(scratch)

local small = { "data.prompts_per_step=2", "rollout.n=4", "rollout.max_new_tokens=24", "data.val=null",
  "data.val_apart=null", "trainer.val_before_train=false", "trainer.logger=none",
  "trainer.save_dtype=f32", "optim.warmup_steps=0" }

local function config(...)
  local overrides = {}
  for _, list in ipairs { small, { ... } } do
    for _, o in ipairs(list) do overrides[#overrides + 1] = o end
  end
  return recipe.load("recipes/grpo_geoqa.lua", overrides)
end

--- A whole run -> its folder.
local function run(name, ...)
  local folder = files.join(scratch, name)
  train.run(config("trainer.outputs_dir=" .. folder, ...))
  return folder
end

local function hash(folder, step, file)
  return files.hash(files.join(folder, "checkpoints", "global_step_" .. step, file))
end

--- The numbers of each step, without times.
local function metrics(folder)
  local out = {}
  for line in files.read(files.join(folder, "metrics.jsonl")):gmatch "[^\n]+" do
    local m, kept = json.decode(line), {}
    for k, v in pairs(m) do
      if not k:find "^timing" and not k:find "^perf" then kept[k] = v end
    end
    out[#out + 1] = kept
  end
  return out
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

T.test("the value of a token is the head's at the row before it: it does not know the token", function()
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

files.remove(scratch)
