--- Keys of RLLaVA's recipes that are not one key here: what they become, or why they are refused.
local rl = require "rllava.ffi"

local alias = {}

-- RLLaVA's estimators and losses -> the algorithm here that has them.
local estimators = { gae = "ppo", reinforce_plus_plus = "reinforce_pp",
  reinforce_plus_plus_baseline = "reinforce_pp_baseline" }
local losses = { vanilla = "grpo", geo_mean = "gmpo", ["clip-cov"] = "clip_cov",
  ["kl-cov"] = "kl_cov",
  ["geo-mean"] = "gmpo" }

--- "grpo" and "gspo" -> gspo, which has the same advantage; others as a table of the two.
local function algorithm(get)
  local estimator, mode = get "algorithm.adv_estimator", get "actor.policy_loss.loss_mode"
  local a = estimator and (estimators[estimator] or estimator)
  local l = mode and (losses[mode] or mode)
  if not l or (l == "grpo" and a) then return { algorithm = a } end
  if l == "sft" or a == l or ((a == nil or a == "grpo") and l ~= "gpg") then
    return { algorithm = l }
  end
  return { algorithm = { advantage = a, loss = l } }
end

-- RLLaVA's functions beside main and compute_score -> rewards here.
local entries = {
  ["r1v.compute_score_without_format"] = { "rewards/r1v.lua", 1, format_weight = 0 },
  ["wemath.compute_score_without_format"] = { "rewards/wemath.lua", 1, format_weight = 0 },
  ["wemath.compute_score_batch_with_wemath_metrics"] = "rewards/wemath_metrics.lua",
}

--- "some/folder/math.py:main" -> "rewards/math.lua"
local function reward(get)
  local given = get "reward.reward_function"
  local name, entry = given:match "([^/:]+)%.py:?([%w_]*)$"
  if not name then return { reward = given } end
  local known = entries[name .. "." .. entry]
  if not known and entry ~= "" and entry ~= "main" and entry ~= "compute_score" then
    rl.raise("reward.reward_function: %s: expected the function main, which rewards/%s.lua gives, "
      .. "got '%s'", given, name, entry)
  end
  return { reward = known or "rewards/" .. name .. ".lua" }
end

--- Prompts of an optimizer step, whose: "actor" or "critic" -> the key of its updates a step.
local function updates(whose, key)
  return function(get)
    local mini, prompts = get(whose .. ".ppo_mini_batch_size"), get "data.prompts_per_step"
    if prompts % mini ~= 0 then
      rl.raise("%s.ppo_mini_batch_size: expected a divisor of data.prompts_per_step = %d, got %d",
        whose, prompts, mini)
    end
    return { [key] = prompts / mini }
  end
end

local function clip(get)
  local c = get "actor.clip_ratio"
  return { ["loss.clip_low"] = c, ["loss.clip_high"] = c }
end

local dtypes = { float32 = "f32", fp32 = "f32", bfloat16 = "bf16", f32 = "f32", bf16 = "bf16" }
local function dtype(get)
  local given = get "actor.model.torch_dtype"
  if not dtypes[given] then
    rl.raise("actor.model.torch_dtype: expected float32 or bfloat16, got '%s'", given)
  end
  return { ["trainer.dtype"] = dtypes[given] }
end

--- "rllava": rewards behave as RLLaVA's.
local function compat(get)
  local given = get "reward.compat"
  if given ~= "rllava" then rl.raise("reward.compat: expected rllava, got '%s'", given) end
  return { ["reward_options.compat"] = true }
end

local function strategy(key)
  return function(get)
    local given = get(key)
    if given ~= "adamw" then
      rl.raise("%s: expected adamw, whose moments are f32, got '%s'", key, given)
    end
    return {}
  end
end

--- The same under another name, in the group loss, where an algorithm knows it.
local function own_key(name)
  return function(get) return { ["loss." .. name] = get("actor." .. name) } end
end

--- name -> { kind, convert(get) -> path -> value }.  get(path): what was set, or the default.  A
--- converter runs once for all names that share it.
alias.convert = {
  ["algorithm.adv_estimator"] = { "text", algorithm },
  ["actor.policy_loss.loss_mode"] = { "text", algorithm },
  ["reward.reward_function"] = { "text", reward },
  ["actor.ppo_mini_batch_size"] = { "int>=1", updates("actor", "trainer.updates_per_step") },
  ["critic.ppo_mini_batch_size"] = { "int>=1", updates("critic", "critic.updates_per_step") },
  ["actor.clip_ratio"] = { "number>=0", clip }, ["actor.model.torch_dtype"] = { "text", dtype },
  ["actor.off_policy_reshape"] = { "text", own_key "off_policy_reshape" },
  ["actor.off_policy_reshape_weight"] = { "number", own_key "off_policy_reshape_weight" },
  ["actor.off_policy_reshape_pow_exp"] = { "number", own_key "off_policy_reshape_pow_exp" },
  ["actor.on_policy_reshape"] = { "text", own_key "on_policy_reshape" },
  ["actor.on_policy_reshape_weight"] = { "number", own_key "on_policy_reshape_weight" },
  ["actor.on_policy_reshape_pow_exp"] = { "number", own_key "on_policy_reshape_pow_exp" },
  ["reward.compat"] = { "text", compat },
  ["actor.srft_type"] = { "text", own_key "srft_type" },
  ["actor.sft_loss_coef"] = { "number", own_key "sft_loss_coef" },
  ["actor.clip_upper_bound"] = { "number", own_key "clip_upper_bound" },
  ["actor.off_policy_max_clip"] = { "number", own_key "off_policy_max_clip" },
  ["actor.off_policy_min_clip"] = { "number", own_key "off_policy_min_clip" },
  ["actor.all_max_clip"] = { "number", own_key "all_max_clip" },
  ["actor.optim.strategy"] = { "text", strategy "actor.optim.strategy" },
  ["critic.optim.strategy"] = { "text", strategy "critic.optim.strategy" },
}

local micro = "computed together as the policy's are: trainer.micro_tokens, trainer.micro_rows"
local shards = "one process trains here; there is nothing to shard or offload"
local engine = "the engine is part of this program and shares its weights; leave it out"
local critic = "the critic is computed as the policy is, by trainer.dtype and trainer.recompute"
local ignored = "it has no effect in RLLaVA; leave it out"
local turns = "responses of one turn are trained here; leave it out"
local class = "rows come from data.train, their columns from data.prompt_key and its kin"
local file_says = "the reward file says so itself: a function, or a table with score or batch"

--- { pattern, what to do instead }; the first that matches.
alias.refuse = {
  { "^config$", "the recipe is rllava's first argument; recipes/rllava.lua says what "
    .. "examples/config.yaml does" },
  { "^data%.video_fps$", "videos are not read; give their frames as pictures" },
  { "^data%.num_workers$", "rows are prepared in this process; leave it out" },
  { "^data%.filter_overlong_prompts_workers$", "rows are prepared in this process; leave it out" },
  { "^data%.dataset_kwargs%.max_target_length$",
    "a demonstration ends at rollout.max_new_tokens, as every response" },
  { "^data%.dataset_", class },
  { "^algorithm%.hint_min_ratio$", "loss.min_prefix_ratio" },
  { "^algorithm%.hint_max_ratio$", "loss.max_prefix_ratio" },
  { "^%a+%.strategy$", shards }, { "^%a+%.fsdp", shards }, { "^%a+%.deepspeed", shards },
  { "^rollout%.micro_batch_size$", "responses decoded together: rollout.at_once" },
  { "micro_batch_size$", micro },
  { "^actor%.calculate_entropy$", "entropy is always there, as actor/entropy; leave it out" },
  { "^actor%.use_torch_compile$", "nothing is compiled at run time; leave it out" },
  { "^actor%.policy_loss%.cov_scope$",
    "statistics are of the whole mini-batch; loss.loss_scale=micro: of each micro-batch" },
  { "^actor%.off_policy_cliprange$", ignored }, { "^actor%.off_policy_normalize$", ignored },
  { "^actor%.hpt_hint_loss_coef$", ignored },
  { "^actor%.model%.tokenizer_path$", "the tokenizer is that of the model's folder" },
  { "^actor%.model%.attn_implementation$", "there is one attention; leave it out" },
  { "^actor%.model%.override_config", "change config.json in the model's folder" },
  { "^actor%.model%.enable_activation_offload$", "trainer.recompute saves activations instead" },
  { "^actor%.model%.trust_remote_code$", "no code of a model is ever run; leave it out" },
  { "^actor%..*padding_free$", "nothing is padded here; leave it out" },
  { "^actor%..*dynamic_batching$",
    "micro-batches are always cut by tokens: trainer.micro_tokens" },
  { "^actor%..*ulysses_size$", "one process trains here; leave it out" },
  { "^actor%.model%.tie_word_embeddings$", "config.json of the model says it" },
  { "^actor%.model%..*lora", "adapters are not offered; all parameters are trained" },
  { "^actor%.model%.use_peft$", "adapters are not offered; all parameters are trained" },
  { "^%a+%.checkpoint",
    "a checkpoint holds model and state; trainer.save_model_only leaves the state out" },
  { "^critic%.model", critic },
  { "^critic$", "there is a critic where the algorithm asks for one; leave it out" },
  { "^ref%.", "the reference is the policy as it was loaded, where loss.use_kl_loss or "
    .. "loss.use_kl_in_reward asks for it" },
  { "^rollout%.name$", engine }, { "^rollout%.vllm", engine }, { "^rollout%.sglang", engine },
  { "^rollout%.tensor_parallel_size$", engine }, { "^rollout%.load_format$", engine },
  { "^rollout%.async_mode$", engine }, { "^rollout%.bucket_size$", engine },
  { "^rollout%.limit_images$", "any number of pictures; data.max_prompt_length bounds them" },
  { "^rollout%.ignore_eos$", "a response ends where the model ends it; leave it out" },
  { "^rollout%.disable_tqdm$", "trainer.logger decides what is printed" },
  { "^rollout%.val_override_config", "rollout.val.n, temperature, top_p, top_k, min_p and "
    .. "max_new_tokens are what validation samples by" },
  { "^rollout%.max_turns$", turns }, { "^rollout%.env_config_path$", turns },
  { "^rollout%.discount$", turns },
  { "^rollout%.tool_config_path$", turns }, { "^rollout%.partial_rollout$", turns },
  { "^rollout%.train_turns$", turns }, { "^rollout%.max_total_length$", turns },
  { "^reward%.reward_type$", file_says }, { "^reward%.num_cpus$", "reward_options.workers" },
  { "^reward%.model", "a reward is a file of Lua; leave it out" },
  { "^trainer%.nnodes$", "one process trains here; leave it out" },
  { "^trainer%.n_gpus_per_node$", "one process trains here; trainer.threads sets its threads" },
  { "^trainer%.save_checkpoint_path$", "checkpoints are in the run's folder: trainer.outputs_dir" },
  { "^trainer%.async_training$", "training is in step with sampling; leave it out" },
}

return alias
