--- The main job, small: that it repeats to the last bit, however it is computed.
local T = require "check"
local C = require("rllava.ffi").C
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local recipe = require "rllava.recipe"
local train = require "rllava.train"

local scratch = os.tmpname()
os.remove(scratch)

local small = { "data.prompts_per_step=2", "rollout.n=4", "trainer.val_freq=-1",
  "trainer.val_before_train=false", "data.val=null", "data.val_apart=null",
  "trainer.save_dtype=f32", "trainer.logger=none", "optim.warmup_steps=0" }

--- Runs the embedded recipe with overrides -> its folder.
local function run(name, ...)
  local overrides = { "trainer.outputs_dir=" .. files.join(scratch, name) }
  for _, o in ipairs(small) do overrides[#overrides + 1] = o end
  for _, o in ipairs { ... } do overrides[#overrides + 1] = o end
  train.run(recipe.load("recipes/grpo_geoqa.lua", overrides))
  return files.join(scratch, name)
end

--- The weights after a step, as a hash; what was measured in it, without times.
local function weights(folder, step)
  return files.hash(files.join(folder, "checkpoints", "global_step_" .. step, "model.safetensors"))
end
local function metrics(folder)
  local out = {}
  for line in files.read(files.join(folder, "metrics.jsonl")):gmatch "[^\n]+" do
    local m, kept = json.decode(line), {}
    for k, v in pairs(m) do if not k:find "^timing" and not k:find "^perf" then kept[k] = v end end
    out[#out + 1] = kept
  end
  return out
end
local function same(a, b, step)
  T.equal(weights(a, step), weights(b, step))
  T.equal(metrics(a), metrics(b))
end

local plain
T.test("a run on policy: every ratio is exactly 1, the gap to the sampler exactly 0", function()
  plain = run("plain", "trainer.max_steps=4")
  for _, m in ipairs(metrics(plain)) do
    T.equal(m["actor/ratio"], 1)
    T.equal(m["actor/ppo_kl"], 0)
  end
end)

T.test("the same run on one thread and on three gives the same bits", function()
  local before = C.rl_threads(0)
  for _, n in ipairs { 1, 3 } do
    same(run("threads" .. n, "trainer.max_steps=4", "trainer.threads=" .. n), plain, 4)
  end
  C.rl_threads(before)
end)

T.test("the same run on generic, avx2 and avx512 kernels gives the same bits", function()
  local before = ffi.string(C.rl_cpu(nil))
  for _, isa in ipairs { "generic", "avx2", "avx512" } do
    if C.rl_cpu(isa) ~= nil then
      same(run(isa, "trainer.max_steps=2"), run("plain2", "trainer.max_steps=2"), 2)
    end
    files.remove(files.join(scratch, "plain2"))
  end
  C.rl_cpu(before)
end)

T.test("micro-batches of one group and recomputed activations change no bit", function()
  same(run("micro", "trainer.max_steps=4", "trainer.micro_tokens=280"), plain, 4)
  same(run("recompute", "trainer.max_steps=4", "trainer.recompute=true"), plain, 4)
end)

T.test("two steps, then two more after a restart, are four steps", function()
  local folder = run("resumed", "trainer.max_steps=2")
  run("resumed", "trainer.max_steps=4")
  same(folder, plain, 4)
end)

T.test("moments of 8 bits: the same first step, a quarter of the room, also restarted", function()
  local folder = run("coded", "trainer.max_steps=2", "optim.states=int8")
  same(run("coded4", "trainer.max_steps=4", "optim.states=int8"),
    run("coded", "trainer.max_steps=4", "optim.states=int8"), 4)
  T.equal(metrics(folder)[2]["actor/grad_norm"], metrics(plain)[2]["actor/grad_norm"])
  T.raises("expected moments of 32 bits", function() run("coded", "trainer.max_steps=5") end)
end)

T.test("in bf16 the sampler still agrees with the trainer to the bit", function()
  local folder = run("bf16", "trainer.max_steps=2", "trainer.dtype=bf16")
  for _, m in ipairs(metrics(folder)) do T.equal(m["actor/ratio"], 1) end
end)

T.test("steps with KL in the loss and in the reward run, and start from a KL of 0", function()
  local m = metrics(run("kl", "trainer.max_steps=2", "loss.use_kl_loss=true",
    "loss.use_kl_in_reward=true"))
  T.equal(m[1]["actor/kl_loss"], 0)
  T.equal(m[1]["actor/reward_kl_penalty"], 0)
  if not (m[2]["actor/kl_loss"] > 0) then error "the policy did not move" end
end)

T.test("a prompt that is too long is an error, or left out with a count, never cut", function()
  T.raises("data.max_prompt_length", function()
    run("long", "trainer.max_steps=1", "data.max_prompt_length=20", "data.filter_overlong=false")
  end)
  T.raises("expected a row of at most 20 tokens, found none", function()
    run("none", "trainer.max_steps=1", "data.max_prompt_length=20", "data.train=geoqa-tiny@test")
  end)
end)

T.test("validation leaves out what is too long for its prompts, as training does", function()
  local longest = 38
  local cfg = recipe.load("recipes/grpo_geoqa.lua", { "data.val_rows=12", "data.val_apart=null",
    "data.max_prompt_length=" .. longest, "rollout.max_new_tokens=4", "rollout.val_sampled=false" })
  local trainer = train.open(cfg, "eval")
  local validate, rows = require "rllava.validate", trainer.val_sets[1].rows
  local batch = validate.set(trainer, rows, trainer.val_ways)[1]
  trainer:close()
  for _, g in ipairs(batch.groups) do
    if g.prompt.n > longest then error "a prompt that is too long was answered" end
  end
  if #batch.groups == 0 or #batch.groups == 12 then
    error(#batch.groups .. " of 12 were answered")
  end
end)

files.remove(scratch)
