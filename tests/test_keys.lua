local T = require "check"
local rl = require "rllava"
local keys = require "rllava.keys"
local recipe = require "rllava.recipe"
local algorithm = require "rllava.algorithm"
local files = require "rllava.files"
local json = require "rllava.json"

local scratch = os.tmpname()
os.remove(scratch)
files.make_folder(scratch)

T.test("keys: a recipe's values, then the command line's, over the defaults", function()
  local cfg, set = keys.resolve({ rollout = { n = 4, top_p = 0.9 }, optim = { lr = 1e-5 } },
    { "rollout.n=16", "optim.betas=[0.9, 0.95]", "data.shuffle=false", "data.val=a@test,b" })
  T.equal({ cfg.rollout.n, cfg.rollout.top_p, cfg.optim.lr }, { 16, 0.9, 1e-5 })
  T.equal({ set["rollout.n"], set["rollout.top_p"], set["rollout.min_p"] },
    { "command line", "recipe" })
  T.equal({ cfg.optim.betas, cfg.data.val, cfg.data.shuffle },
    { { 0.9, 0.95 }, { "a@test", "b" }, false })
  T.equal(recipe.resolve(rl.recipe {}, "x.lua", { "rollout.max_new_tokens=77" }).loss.norm_len, 77)
  T.equal({ cfg.rollout.val.n, cfg.rollout.val.temperature, cfg.trainer.max_steps }, { 1, 0 })
end)

T.test("keys: every default is of its own kind, and no name stands for two keys", function()
  local value, seen = require "rllava.key_value", {}
  for _, k in ipairs(keys.list) do
    if k.default ~= nil then
      local got, why = value.check(k.kind, k.default)
      assert(got ~= nil and not why, k.path)
    end
    for _, name in ipairs { k.path, unpack(k.aliases) } do
      assert(not seen[name], name .. " stands for two keys")
      seen[name] = true
    end
    assert(#k.doc > 3, k.path)
  end
end)

T.test("keys: an algorithm's defaults lie between the keys' own and what the user says", function()
  local cfg, set = keys.resolve({ loss = { clip_high = 0.3, tau = 2 } }, { "loss.sharp=false" },
    { clip_low = 3e-4, clip_high = 4e-4, tau = 1, sharp = true, kind = "a" })
  T.equal({ cfg.loss.clip_low, cfg.loss.clip_high, cfg.loss.clip_c }, { 3e-4, 0.3, 3 })
  T.equal({ cfg.loss.tau, cfg.loss.sharp, cfg.loss.kind }, { 2, false, "a" })
  T.equal({ set["loss.clip_low"], set["loss.clip_high"], set["loss.clip_c"] },
    { "algorithm", "recipe" })
  T.raises("loss.tua: unknown key; the nearest is loss.tau", function()
    keys.resolve({ loss = { tua = 1 } }, {}, { tau = 1 })
  end)
  T.raises("loss.tau: expected a number, got x", function()
    keys.resolve({}, { "loss.tau=x" }, { tau = 1 })
  end)
end)

T.test("keys: null takes back what the recipe says", function()
  local cfg, set = keys.resolve({ data = { format_prompt = "a.jinja", train = json.null },
    rollout = { n = 3 } },
    { "data.format_prompt=null", "rollout.n=null", "rollout.seed=None" })
  T.equal({ cfg.data.format_prompt, cfg.data.train, cfg.rollout.n, cfg.rollout.seed },
    { nil, nil, 8 })
  T.equal(set["rollout.n"], nil)
end)

for _, case in ipairs {
  { "rolout.n=2", "command line: rolout.n: unknown key; the nearest is rollout.n" },
  { "clip_low=0.1", "unknown key; the nearest is loss.clip_low" },
  { "optim.learning_rate=1", "unknown key; the nearest is" },
  { "rollout.n=two", "rollout.n: expected a whole number from 1, got two" },
  { "rollout.n=0", "rollout.n: expected a whole number from 1, got 0" },
  { "rollout.n=1.5", "rollout.n: expected a whole number from 1, got 1.5" },
  { "rollout.top_p=1.01", "expected a number from 0 to 1, got 1.01" },
  { "optim.lr=nan", "optim.lr: expected a number from 0, got nan" },
  { "optim.eps=0", "expected a number above 0, got 0" },
  { "data.shuffle=perhaps", "expected true or false, got perhaps" },
  { "optim.schedule=step", "expected one of constant, cosine, linear, wsd, got step" },
  { "optim.betas=0.9,x", "expected a list of numbers" },
  { "rollout.n", "expected key=value, got 'rollout.n'" },
  { "actor.ppo_mini_batch_size=5", "expected a divisor of data.prompts_per_step = 16, got 5" },
  { "actor.model.torch_dtype=float16", "expected float32 or bfloat16, got 'float16'" },
  { "reward.reward_function=a/r1v.py:other", "expected the function main" },
  { "actor.fsdp.offload_params=true", "not a key here: one process trains here" },
} do
  T.test("keys refuse " .. case[1], function()
    T.raises(case[2], function() keys.resolve({}, { case[1] }) end)
  end)
end

T.test("keys: what a recipe says wrong is refused at its own line", function()
  T.raises("test_keys.lua", function() rl.recipe { trainer = { max_step = 3 } } end)
  T.raises("trainer.max_step: unknown key; the nearest is trainer.max_steps", function()
    rl.recipe { trainer = { max_step = 3 } }
  end)
  T.raises("trainer: expected a table of keys, got 3", function() rl.recipe { trainer = 3 } end)
  T.raises("model: expected a text, got [1]", function() rl.recipe { model = { 1 } } end)
  T.raises("loss.clip_low: given twice, also as actor.clip_ratio_low", function()
    rl.recipe { loss = { clip_low = 1 }, actor = { clip_ratio_low = 1 } }
  end)
end)

T.test("keys: RLLaVA's names mean the keys here", function()
  local cfg = keys.resolve({
    data = { train_files = "a@train", train_batch_size = 16, max_response_length = 99 },
    algorithm = { gamma = 0.9, kl_ctrl = { type = "adaptive" }, norm_adv_by_std_in_grpo = false },
    actor = { optim = { lr = 2e-6, lr_warmup_steps = 7 }, clip_ratio = 0.1, clip_ratio_high = 0.28,
      ppo_mini_batch_size = 4, model = { model_path = "m", torch_dtype = "bfloat16" } },
    reward = { reward_function = "examples/reward_function/math.py:main",
      reward_function_kwargs = { format_weight = 0.2 } },
    rollout = { n = 5, val_override_config = { n = 2 } },
  }, { "algorithm.adv_estimator=rloo" })
  T.equal({ cfg.data.train, cfg.data.prompts_per_step, cfg.rollout.max_new_tokens, cfg.model,
    cfg.trainer.dtype },
    { "a@train", 16, 99, "m", "bf16" })
  T.equal({ cfg.loss.gamma, cfg.loss.kl_ctrl.type, cfg.loss.norm_by_std },
    { 0.9, "adaptive", false })
  T.equal({ cfg.loss.clip_low, cfg.loss.clip_high, cfg.trainer.updates_per_step }, { 0.1, 0.28, 4 })
  T.equal({ cfg.reward, cfg.reward_options.args, cfg.rollout.val.n, cfg.optim.warmup_steps,
    cfg.algorithm },
    { "rewards/math.lua", { format_weight = 0.2 }, 2, 7, "rloo" })
end)

T.test("keys: RLLaVA's estimator and loss name an algorithm, or two halves of one", function()
  local function algo(...)
    local overrides = {}
    for i, pair in ipairs { { "algorithm.adv_estimator", (...) },
      { "actor.policy_loss.loss_mode", (select(2, ...)) } } do
      if pair[2] then overrides[#overrides + 1] = pair[1] .. "=" .. pair[2] end
    end
    return keys.resolve({}, overrides).algorithm
  end
  T.equal({ algo "grpo", algo("grpo", "gspo"), algo("grpo", "geo_mean"), algo("gpg", "gpg"),
    algo "gae",
    algo(nil, "clip-cov"), algo("rloo", "vanilla"), algo "reinforce_plus_plus" },
    { "grpo", "gspo", "gmpo", "gpg", "ppo", "clip_cov", "rloo", "reinforce_pp" })
  T.equal(algo("rloo", "gspo"), { advantage = "rloo", loss = "gspo" })
end)

T.test("algorithm: by name, RLLaVA's too; an unknown one names the nearest", function()
  T.equal({ algorithm.load("grpo").name, algorithm.load("GRPO").name }, { "grpo", "grpo" })
  T.raises("algorithm: unknown name 'grop'; the nearest is grpo",
    function() algorithm.load "grop" end)
end)

T.test("algorithm: a table takes what it does not say from its base", function()
  local function mine() return 1 end
  local a = algorithm.load { loss = mine, defaults = { clip_low = 0.5, tau = 1 },
    needs = { "greedy" } }
  local base = algorithm.load "grpo"
  T.equal({ a.loss, a.advantage, a.defaults.clip_low, a.defaults.clip_high, a.defaults.tau },
    { mine, base.advantage, 0.5, base.defaults.clip_high, 1 })
  T.equal(a.needs[#a.needs], "greedy")
  T.equal(algorithm.load("grpo").defaults.tau, nil)
  T.raises("algorithm.los: unknown key", function() algorithm.load { los = mine } end)
  T.raises("loss: expected a function, got number", function() algorithm.load { loss = 3 } end)
end)

T.test("recipe: files are looked for beside it, one folder above, in the house", function()
  files.make_folder(scratch .. "/a/b")
  files.write(scratch .. "/a/above.lua",
    "return { loss = function() return 7 end, defaults = { tau = 3 } }")
  files.write(scratch .. "/a/b/r.lua", [[#!/usr/bin/env rllava
    return require("rllava").recipe { algorithm = "above.lua", loss = { tau = 4 } }]])
  local cfg = recipe.load(scratch .. "/a/b/r.lua", { "rollout.n=2" })
  T.equal({ cfg.algorithm.name, cfg.algorithm.loss(), cfg.loss.tau, cfg.rollout.n },
    { "above.lua", 7, 4, 2 })
  T.equal({ cfg.recipe.name, cfg.recipe.folder, cfg.recipe.set["loss.tau"] },
    { "r", scratch .. "/a/b", "recipe" })
  local text, place = recipe.read("above.lua", scratch .. "/a/b")
  assert(text:find "tau" and place:find "a/b/../above.lua$", place)
  T.equal(recipe.find("lua/rllava/init.lua", "/"):match "init.lua$", "init.lua")
  T.raises("nowhere.lua: expected beside the recipe",
    function() recipe.read("nowhere.lua", scratch) end)
end)

T.test("recipe: broken files are named", function()
  files.write(scratch .. "/number.lua", "return 3")
  files.write(scratch .. "/syntax.lua", "return {")
  files.write(scratch .. "/key.lua", "return require('rllava').recipe { loss = { zeta = 1 } }")
  T.raises("number.lua: expected a file that returns rl.recipe { ... }, got number", function()
    recipe.load(scratch .. "/number.lua")
  end)
  T.raises("syntax.lua:1:", function() recipe.load(scratch .. "/syntax.lua") end)
  T.raises("key.lua: loss.zeta: unknown key", function() recipe.load(scratch .. "/key.lua") end)
  T.raises("absent.lua: expected a Lua file, found nothing",
    function() recipe.load(scratch .. "/absent.lua") end)
  T.raises("trainer.logger: expected console, tensorboard or none, got wandb", function()
    files.write(scratch .. "/ok.lua", "return require('rllava').recipe {}")
    recipe.load(scratch .. "/ok.lua", { "trainer.logger=wandb" })
  end)
end)

files.remove(scratch)
