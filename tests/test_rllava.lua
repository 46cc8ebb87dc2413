--- RLLaVA's command lines: every key that it documents is honoured, or refused with what to use
--- instead.
local T = require "check"
local key_value = require "rllava.key_value"
local keys = require "rllava.keys"
local recipe = require "rllava.recipe"
local run_folder = require "rllava.run_folder"

local function resolve(...) return recipe.load("recipes/rllava.lua", { ... }) end

--- The value at a path of a resolved config, as text.
local function at(cfg, path)
  for part in path:gmatch "[^.]+" do cfg = cfg[part] end
  return key_value.show(cfg)
end

-- What is set, and the key and value that come of it; * : the same key and value.
local honoured = [[
data.train_files=a@train                     data.train=[a@train]
data.val_files=a@x,b@x                       data.val=[a@x, b@x]
data.train_image_dir=pics                    data.image_dir=pics
data.val_image_dir=pics                      *
data.prompt_key=q                            *
data.answer_key=a                            *
data.image_key=i                             *
data.video_key=v                             *
data.max_prompt_length=99                    *
data.max_response_length=98                  rollout.max_new_tokens=98
data.train_batch_size=8                      data.prompts_per_step=8
data.val_batch_size=1000                     *
data.format_prompt=null                      *
data.override_chat_template=t.jinja          *
data.shuffle=false                           *
data.seed=7                                  *
data.min_pixels=1000                         *
data.max_pixels=9000                         *
data.filter_overlong_prompts=false           data.filter_overlong=false
data.dataset_kwargs.target_key=golden        data.target_key=golden
algorithm.adv_estimator=rloo                 algorithm.name=rloo
algorithm.gamma=0.9                          loss.gamma=0.9
algorithm.lam=0.8                            loss.lam=0.8
algorithm.norm_adv_by_std_in_grpo=false      loss.norm_by_std=false
algorithm.use_kl_loss=false                  loss.use_kl_loss=false
algorithm.use_kl_in_reward=true              loss.use_kl_in_reward=true
algorithm.kl_penalty=low_var_kl              loss.kl_penalty=low_var_kl
algorithm.kl_ctrl.type=adaptive              loss.kl_ctrl.type=adaptive
algorithm.kl_ctrl.kl_coef=0.5                loss.kl_ctrl.kl_coef=0.5
algorithm.kl_ctrl.horizon=5                  loss.kl_ctrl.horizon=5
algorithm.kl_ctrl.target_kl=0.5              loss.kl_ctrl.target_kl=0.5
algorithm.online_filtering=true              loss.online_filtering=true
algorithm.filter_key=accuracy                loss.filter_key=accuracy
algorithm.filter_low=0.1                     loss.filter_low=0.1
algorithm.filter_high=0.8                    loss.filter_high=0.8
algorithm.unify_strategy=switch              loss.unify_strategy=switch
algorithm.switch_gate=2                      loss.switch_gate=2
algorithm.success_reward_threshold=0.9       loss.success_reward_threshold=0.9
algorithm.prefix_strategy=random             loss.prefix_strategy=random
algorithm.min_prefix_ratio=0.5               loss.min_prefix_ratio=0.5
algorithm.max_prefix_ratio=0.75              loss.max_prefix_ratio=0.75
algorithm.n_prefix=2                         loss.n_prefix=2
algorithm.prefix_share_across_samples=true   loss.prefix_share_across_samples=true
algorithm.hint_steps=30                      loss.hint_steps=30
actor.ppo_mini_batch_size=8                  trainer.updates_per_step=2
actor.ppo_micro_batch_size=2                 trainer.micro_rows=2
actor.log_prob_micro_batch_size=3            trainer.score_rows=3
actor.ppo_epochs=2                           trainer.ppo_epochs=2
actor.max_grad_norm=0.5                      optim.max_grad_norm=0.5
actor.skip_grad_norm=9                       optim.skip_grad_norm=9
actor.clip_ratio=0.1                         loss.clip_high=0.1
actor.clip_ratio_low=0.1                     loss.clip_low=0.1
actor.clip_ratio_high=0.3                    loss.clip_high=0.3
actor.clip_ratio_c=10                        loss.clip_c=10
actor.loss_agg_mode=seq-mean-token-sum       loss.agg_mode=seq-mean-token-sum
actor.loss_scale=micro                       loss.loss_scale=micro
actor.entropy_coeff=0.01                     loss.entropy_coeff=0.01
actor.kl_loss_coef=0.02                      loss.kl_loss_coef=0.02
actor.kl_loss_type=k3+                       loss.kl_loss_type=k3+
actor.tis_imp_ratio_cap=2                    loss.tis_imp_ratio_cap=2
actor.rollout_is=token                       loss.rollout_is=token
actor.rollout_is_threshold=3                 loss.rollout_is_threshold=3
actor.recompute_old_logprob=true             loss.recompute_old_logp=true
actor.mask_truncated=true                    loss.mask_truncated=true
actor.loss_norm_len=77                       loss.norm_len=77
actor.policy_loss.loss_mode=geo_mean         algorithm.name=gmpo
actor.policy_loss.loss_mode=kl-cov           algorithm.name=kl_cov
actor.policy_loss.clip_cov_ratio=0.1         loss.clip_cov_ratio=0.1
actor.policy_loss.clip_cov_lb=2              loss.clip_cov_lb=2
actor.policy_loss.clip_cov_ub=6              loss.clip_cov_ub=6
actor.policy_loss.kl_cov_ratio=0.1           loss.kl_cov_ratio=0.1
actor.policy_loss.ppo_kl_coef=2              loss.ppo_kl_coef=2
actor.loss_remove_clip=True                  loss.remove_clip=true
actor.model.model_path=m                     model=m
actor.model.torch_dtype=bfloat16             trainer.dtype=bf16
actor.model.enable_gradient_checkpointing=false  trainer.recompute=false
actor.optim.lr=1e-5                          optim.lr=1e-05
actor.optim.betas=0.9,0.95                   optim.betas=[0.9, 0.95]
actor.optim.weight_decay=0.5                 optim.weight_decay=0.5
actor.optim.strategy=adamw                   optim.lr=1e-06
actor.optim.lr_warmup_ratio=0.1              optim.warmup_ratio=0.1
actor.optim.lr_warmup_steps=9                optim.warmup_steps=9
actor.optim.lr_scheduler_type=cosine         optim.schedule=cosine
actor.optim.warmup_style=cosine              optim.schedule=cosine
actor.optim.min_lr_ratio=0.1                 optim.min_lr_ratio=0.1
actor.optim.num_cycles=2                     optim.num_cycles=2
critic.ppo_mini_batch_size=8                 critic.updates_per_step=2
critic.max_grad_norm=2                       *
critic.cliprange_value=0.2                   *
critic.loss_avg_mode=seq                     *
critic.ppo_epochs=3                          critic.epochs=3
critic.model.model_path=m                    critic.model=m
critic.optim.lr=2e-5                         critic.lr=2e-05
critic.optim.betas=0.9,0.95                  critic.betas=[0.9, 0.95]
critic.optim.weight_decay=0.5                critic.weight_decay=0.5
critic.optim.strategy=adamw                  critic.lr=1e-05
critic.optim.lr_warmup_ratio=0.1             critic.warmup_ratio=0.1
critic.optim.lr_warmup_steps=9               critic.warmup_steps=9
critic.optim.lr_scheduler_type=cosine        critic.schedule=cosine
critic.optim.warmup_style=cosine             critic.schedule=cosine
critic.optim.min_lr_ratio=0.1                critic.min_lr_ratio=0.1
critic.optim.num_cycles=2                    critic.num_cycles=2
rollout.n=4                                  *
rollout.temperature=0.5                      *
rollout.top_p=0.9                            *
rollout.top_k=9                              *
rollout.seed=none                            rollout.seed=null
rollout.val_override_config.temperature=0.6  rollout.val.temperature=0.6
rollout.val_override_config.top_p=0.95       rollout.val.top_p=0.95
rollout.val_override_config.top_k=5          rollout.val.top_k=5
rollout.val_override_config.n=8              rollout.val.n=8
reward.reward_function=./x/r1v.py:main       reward=rewards/r1v.lua
reward.reward_function_kwargs.format_weight=0.2  reward_options.args.format_weight=0.2
reward.skip_special_tokens=false             reward_options.skip_special_tokens=false
reward.compat=rllava                         reward_options.compat=true
trainer.total_epochs=3                       *
trainer.max_steps=9                          *
trainer.project_name=p                       *
trainer.experiment_name=e                    *
trainer.logger=["console"]                   trainer.logger=[console]
trainer.max_try_make_batch=3                 loss.filter_rounds=3
trainer.critic_warmup=3                      *
trainer.val_freq=3                           *
trainer.val_before_train=false               *
trainer.val_only=true                        *
trainer.val_generations_to_log=7             trainer.show_samples=7
trainer.save_freq=3                          *
trainer.save_limit=2                         *
trainer.save_model_only=true                 *
trainer.outputs_dir=o                        *
trainer.load_checkpoint_path=c               *
trainer.find_last_checkpoint=false           trainer.resume=false]]

for line in honoured:gmatch "[^\n]+" do
  local said, becomes = line:match "^(%S+)%s+(.*)$"
  T.test("RLLaVA's " .. said .. " is honoured", function()
    local path, value = (becomes == "*" and said or becomes):match "^(.-)=(.*)$"
    T.equal(at(resolve(said), path), value)
  end)
end

-- Keys of losses that only some algorithms have.
local own = { "off_policy_reshape=pow", "off_policy_reshape_weight=0.3",
  "off_policy_reshape_pow_exp=0.3", "on_policy_reshape=pow", "on_policy_reshape_weight=0.3",
  "on_policy_reshape_pow_exp=0.3", "off_policy_max_clip=0.5", "off_policy_min_clip=0.1",
  "all_max_clip=0.9", "srft_type=exp", "clip_upper_bound=2" }
for _, said in ipairs(own) do
  T.test("RLLaVA's actor." .. said .. " is honoured by the algorithms that know it", function()
    local path, value = said:match "^(.-)=(.*)$"
    T.equal(at(resolve("algorithm=srft", "actor." .. said), "loss." .. path), value)
    T.raises("this algorithm has no loss." .. path, function()
      resolve("algorithm=grpo", "actor." .. said)
    end)
  end)
end
T.test("RLLaVA's actor.sft_loss_coef is honoured by HPT and UFT", function()
  T.equal(resolve("algorithm=hpt", "actor.sft_loss_coef=0.5").loss.sft_loss_coef, 0.5)
end)

local refused = [[
actor.calculate_entropy
config data.video_fps data.num_workers data.filter_overlong_prompts_workers data.dataset_class
data.dataset_kwargs.max_target_length data.dataset_kwargs.val.prompt_key algorithm.hint_min_ratio
algorithm.hint_max_ratio actor.strategy actor.use_torch_compile actor.policy_loss.cov_scope
actor.off_policy_cliprange actor.off_policy_normalize actor.hpt_hint_loss_coef actor.padding_free
actor.dynamic_batching actor.ulysses_size actor.model.tokenizer_path actor.model.attn_implementation
actor.model.override_config actor.model.enable_activation_offload actor.model.trust_remote_code
actor.model.padding_free actor.model.dynamic_batching actor.model.ulysses_size
actor.model.tie_word_embeddings
actor.checkpoint.save_contents actor.checkpoint.load_contents actor.fsdp.enable_cpu_offload
actor.fsdp.offload_params actor.fsdp.offload_optimizer actor.fsdp.use_orig_params
actor.fsdp.reshard_after_forward actor.fsdp.forward_prefetch actor.fsdp.fsdp_size
actor.fsdp.mixed_precision.param_dtype actor.fsdp.wrap_policy actor.deepspeed.zero_stage
actor.deepspeed.torch_dtype critic critic.strategy critic.ppo_micro_batch_size
critic.log_prob_micro_batch_size critic.model.torch_dtype critic.fsdp.offload_params
critic.deepspeed.zero_stage critic.checkpoint.save_contents
ref.strategy rollout.name rollout.tensor_parallel_size rollout.limit_images rollout.ignore_eos
rollout.disable_tqdm rollout.micro_batch_size rollout.val_override_config rollout.vllm.dtype
rollout.vllm.gpu_memory_utilization rollout.vllm.max_num_batched_tokens rollout.vllm.enforce_eager
rollout.vllm.enable_chunked_prefill rollout.vllm.max_model_len rollout.sglang.dtype
rollout.sglang.mem_fraction_static rollout.sglang.tp_size rollout.async_mode rollout.bucket_size
rollout.load_format reward.reward_type reward.num_cpus reward.model.path trainer.nnodes
trainer.n_gpus_per_node trainer.save_checkpoint_path trainer.async_training]]

-- Features that may come: honoured then, refused with a sentence until they do.
local either = [[
actor.model.freeze_vision_tower actor.model.use_peft actor.model.lora_r actor.model.lora_alpha
actor.model.lora_dropout actor.model.lora_bias actor.model.lora_use_rslora
actor.model.lora_modules_to_save actor.model.lora_task_type actor.model.lora_target_modules
actor.model.lora_weight_path actor.model.use_rslora rollout.max_turns rollout.env_config_path
rollout.discount rollout.tool_config_path rollout.partial_rollout rollout.train_turns
rollout.max_total_length]]

local function refusal(name)
  local ok, message = pcall(keys.resolve, {}, { name .. "=@" })      -- "@" is of no kind but text
  return not ok and message:match(": not a key here: (.*)$"), ok or message
end

for name in refused:gmatch "%S+" do
  T.test("RLLaVA's " .. name .. " is refused with what to use instead", function()
    local sentence, message = refusal(name)
    assert(sentence and #sentence > 10, message)
  end)
end
for name in either:gmatch "%S+" do
  T.test("RLLaVA's " .. name .. " is a key here, or refused with what to use instead", function()
    local sentence, message = refusal(name)
    assert(sentence or message == true or message:find(name .. ": expected ", 1, true), message)
  end)
end

--- ---- launch scripts ----

-- examples/tasks/math/qwen2_5_vl_3b_geoqa8k_online.sh, its variables filled in, without
-- config=examples/config.yaml.
local launch = { "algorithm.adv_estimator=grpo", "data.train_files=hiyouga/geometry3k@train",
  "data.val_files=hiyouga/geometry3k@test",
  "data.format_prompt=./examples/format_prompt/math.jinja", "data.train_batch_size=4",
  "actor.ppo_mini_batch_size=4", "actor.ppo_micro_batch_size=1",
  "actor.log_prob_micro_batch_size=1", "actor.model.model_path=Qwen/Qwen2.5-VL-3B-Instruct",
  "reward.reward_function=./examples/reward_function/math.py:compute_score",
  "trainer.experiment_name=qwen2_5_vl_3b_geoqa3k_grpo_online", "trainer.outputs_dir=outputs",
  "trainer.find_last_checkpoint=false", "trainer.val_before_train=false", "trainer.total_epochs=5",
  "trainer.val_freq=30", "trainer.save_freq=30" }

T.test("a launch script of RLLaVA carries over, line for line", function()
  local cfg = resolve(unpack(launch))
  local want = { model = "Qwen/Qwen2.5-VL-3B-Instruct", ["algorithm.name"] = "grpo",
    reward = "rewards/math.lua", ["data.train"] = "[hiyouga/geometry3k@train]",
    ["data.val"] = "[hiyouga/geometry3k@test]", ["data.prompt_key"] = "problem",
    ["data.prompts_per_step"] = "4", ["data.max_prompt_length"] = "512",
    ["trainer.updates_per_step"] = "1", ["trainer.micro_rows"] = "1", ["trainer.score_rows"] = "1",
    ["rollout.n"] = "5", ["rollout.max_new_tokens"] = "512", ["loss.norm_len"] = "512",
    ["loss.use_kl_loss"] = "true", ["loss.kl_loss_coef"] = "0.01", ["loss.kl_loss_type"] = "k3",
    ["loss.agg_mode"] = "token-mean", ["loss.clip_low"] = "0.2", ["loss.clip_high"] = "0.2",
    ["loss.clip_c"] = "3", ["optim.lr"] = "1e-06", ["optim.weight_decay"] = "0.01",
    ["optim.skip_grad_norm"] = "80", ["trainer.total_epochs"] = "5", ["trainer.val_freq"] = "30",
    ["trainer.save_freq"] = "30", ["trainer.save_limit"] = "3", ["trainer.resume"] = "false",
    ["trainer.val_before_train"] = "false", ["trainer.recompute"] = "true" }
  local got = {}
  for path in pairs(want) do got[path] = at(cfg, path) end
  T.equal(got, want)
  T.equal(run_folder.of(cfg), "outputs/rlava/qwen2_5_vl_3b_geoqa3k_grpo_online")
  local _, place = recipe.read(cfg.data.format_prompt, cfg.recipe.folder)
  assert(place:find "recipes/prompts/math%.jinja$", place)
end)

T.test("a script that tunes an engine is refused with a sentence, and runs without", function()
  local gspo = { "algorithm.use_kl_loss=false", "data.val_batch_size=1000",
    "actor.clip_ratio_low=0.0003", "actor.clip_ratio_high=0.0004", "actor.clip_ratio_c=10.0",
    "actor.policy_loss.loss_mode=gspo", "actor.loss_agg_mode=seq-mean-token-mean",
    "rollout.vllm.gpu_memory_utilization=0.7" }
  T.raises("rollout.vllm.gpu_memory_utilization: not a key here: the engine is part of this "
    .. "program", function() resolve(unpack(gspo)) end)
  local cfg = resolve(unpack(gspo, 1, #gspo - 1))
  T.equal({ cfg.algorithm.name, cfg.loss.clip_low, cfg.loss.clip_high, cfg.loss.use_kl_loss },
    { "gspo", 3e-4, 4e-4, false })
end)

T.test("RLLaVA's other entry points of a reward name ours", function()
  local function reward(name)
    return resolve("reward.reward_function=./examples/reward_function/" .. name).reward
  end
  T.equal({ reward "r1v.py:compute_score_without_format",
    reward "wemath.py:compute_score_batch_with_wemath_metrics", reward "grounding.py" },
    { { "rewards/r1v.lua", 1, format_weight = 0 }, "rewards/wemath_metrics.lua",
      "rewards/grounding.lua" })
end)
