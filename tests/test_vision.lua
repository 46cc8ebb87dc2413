--- A frozen vision tower: it is not trained, runs once a picture, and changes no bit of what is
--- computed.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local prompt = require "rllava.prompt"
local recipe = require "rllava.recipe"
local train = require "rllava.train"
local C, check = rl.C, rl.check

local scratch = os.tmpname()
os.remove(scratch)

local small = { "data.prompts_per_step=2", "rollout.n=4", "rollout.max_new_tokens=24",
  "data.val=null", "data.val_apart=null", "trainer.val_before_train=false",
  "trainer.save_dtype=f32", "trainer.logger=none", "trainer.vision_cache=1M",
  "optim.warmup_steps=0" }

local function config(...)
  local overrides = { unpack(small) }
  for _, o in ipairs { ... } do overrides[#overrides + 1] = o end
  return recipe.load("recipes/grpo_geoqa.lua", overrides)
end

local FROZEN = "trainer.freeze_vision_tower=true"

--- Runs the embedded recipe with a frozen tower -> the hash of its weights, its folder.
local function run(name, steps, ...)
  local folder = files.join(scratch, name)
  train.run(config(FROZEN, "trainer.max_steps=" .. steps, "trainer.outputs_dir=" .. folder, ...))
  local last = files.join(folder, "checkpoints", "global_step_" .. steps)
  return files.hash(files.join(last, "model.safetensors")), last
end

local function with(cfg, body)
  local trainer = train.open(cfg)
  local ok, message = pcall(body, trainer)
  trainer:close()
  if not ok then error(message, 0) end
end

--- The squared norms of the gradients of a first step, by parameter, and its metrics.
local function gradients(...)
  local out, found = {}, nil
  with(config(...), function(t)
    local batch = t:enough(1)
    t:advantages(batch)
    found = t.updater:accumulate(batch.groups, t.algorithm, t.cfg.loss)
    for _, name in ipairs(t.policy.model.names) do
      out[name] = C.rl_param_grad_squares(t.policy.model.params[name].tensor)
    end
  end)
  return out, found
end

for _, dtype in ipairs { "trainer.dtype=f32", "trainer.dtype=bf16" } do
  T.test("a frozen tower changes no gradient but its own, which are none, " .. dtype, function()
    local trained, first = gradients(dtype)
    local frozen, second = gradients(dtype, FROZEN)
    T.equal(second, first)
    for name, squares in pairs(trained) do
      T.equal(frozen[name], name:find "^visual" and 0 or squares)
    end
  end)
end

local plain, folder
T.test("features that are kept and features computed anew train the same bits", function()
  plain, folder = run("plain", 4)
  T.equal(run("anew", 4, "trainer.vision_cache=0"), plain)
  T.equal(run("some", 4, "trainer.vision_cache=20K"), plain)
end)

T.test("the tower's numbers and none of its moments are in a checkpoint", function()
  local own, other = require("rllava.policy").load(folder), require("rllava.policy").load "tiny-vl"
  local moved = 0
  for _, name in ipairs(own.model.names) do
    local same = true
    local a, b = own.model.params[name].tensor:totable(), other.model.params[name].tensor:totable()
    for i = 1, #a do same = same and a[i] == b[i] end
    if name:find "^visual" then T.equal(same, true) else moved = moved + (same and 0 or 1) end
  end
  if moved == 0 then error "nothing was trained" end
end)

T.test("cuts, recomputation, threads and a restart change no bit beside a frozen tower", function()
  T.equal(run("micro", 4, "trainer.micro_tokens=200", "trainer.recompute=true"), plain)
  local before = C.rl_threads(0)
  T.equal(run("threads", 4, "trainer.threads=3"), plain)
  C.rl_threads(before)
  run("resumed", 2)
  T.equal(run("resumed", 4), plain)
end)

T.test("a reference and a critic take the features of the policy's tower", function()
  with(config(FROZEN, "algorithm=ppo", "loss.use_kl_loss=true"), function(t)
    local found = t:step(1)
    T.equal(found["actor/kl_loss"], 0)
    T.equal(found["actor/ratio"], 1)
    T.equal(t.critic.policy.model.params["visual.merger.ln_q.weight"], nil)
  end)
end)

T.test("the tower runs once a picture, and again for what found no room", function()
  for _, case in ipairs { { "1M", 3 }, { "0", 6 } } do
    with(config(FROZEN, "trainer.vision_cache=" .. case[1]), function(t)
      local vision = t.prompt_options.vision
      local before = vision.runs
      for _ = 1, 2 do
        for i = 1, 3 do prompt.release(prompt.of_row(t.policy, t.data:get(i), t.prompt_options)) end
      end
      T.equal(vision.runs - before, case[2])
    end)
  end
end)

T.test("several pictures of a row, and one that no prompt can hold", function()
  with(config(FROZEN), function(t)
    local row, vision = t.data:get(1), t.prompt_options.vision
    local before, image = vision.runs, row.images[1]
    local two = { prompt = "<image><image>", images = { image, image } }
    local made = prompt.of_row(t.policy, two, t.prompt_options)
    T.equal(C.rl_media_rows(made.media, "features"), made.cells)
    T.equal(vision.runs - before, 1)
    local side = 28 * math.ceil(math.sqrt(t.cfg.data.max_prompt_length) + 1)
    local rgb = ffi.new("unsigned char[?]", 3 * side * side)
    local large = { prompt = "<image>", images = { { rgb = rgb, width = side, height = side } } }
    vision.most = made.cells / 2 - 1
    before = vision.runs
    prompt.release(prompt.of_row(t.policy, large, t.prompt_options))
    T.equal(vision.runs, before)
  end)
end)

T.test("what a frozen tower cannot stand beside is refused", function()
  T.raises("expected a model with a vision tower, got llama", function()
    require("rllava.policy").new({ model_type = "llama", hidden_size = 8, num_hidden_layers = 1,
      num_attention_heads = 1, intermediate_size = 8, vocab_size = 8 }, { features = "apart" })
  end)
  T.raises("critic.model: expected none beside trainer.freeze_vision_tower", function()
    train.open(config(FROZEN, "algorithm=ppo", "critic.model=tiny-vl"))
  end)
  T.raises("trainer.vision_cache: expected bytes", function()
    train.open(config(FROZEN, "trainer.vision_cache=much"))
  end)
end)

T.test("RLLaVA's name of the key is this one's", function()
  T.equal(config("actor.model.freeze_vision_tower=true").trainer.freeze_vision_tower, true)
end)

files.remove(scratch)
