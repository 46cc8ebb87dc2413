--- Every key of a recipe: path, kind, default, what it means, other names.  The only list.
---
--- A kind is one or more of int, number, bool, text, numbers, texts, list, table, function, with
--- "|" between, bounds behind ("int>=1", "number 0..1"); or a list of the texts allowed.  A default
--- of nil: not set.
local keys = {}
local function key(path, kind, default, doc, aliases)
  keys[#keys + 1] = { path = path, kind = kind, default = default, doc = doc,
    aliases = aliases or {} }
end

key("model", "text", nil, "a Hugging Face folder, a hub name, or an embedded model",
  { "actor.model.model_path" })
key("init_seed", "int>=0", nil,
  "fresh weights from this seed and config.json's initializer_range, not those of the folder")
key("teacher", "text", nil,
  "a model with the same tokenizer, whose log-probs the algorithm distill learns from")
key("algorithm", "text|table", "grpo",
  "a name, a file, or { base, defaults, advantage, loss, needs }")
key("reward", "text|list|function", nil,
  "a file, a function, or a list of { file, weight, option = ... }")

key("data.train", "text|texts", nil,
  "training rows: name or path, @split behind, several with commas", { "data.train_files" })
key("data.val", "text|texts", nil, "validation rows, the same way", { "data.val_files" })
key("data.val_apart", "texts", nil,
  "more validation sets; the names of their metrics end in their split")
key("data.val_rows", "int", -1, "validate on the first so many rows only; -1: all")
key("data.val_batch_size", "int", -1,
  "prompts of validation in memory at once, at most; -1: as many as the plan says")
key("data.format_prompt", "text", nil,
  "a Jinja template of one variable, content; null: the prompt as it is")
key("data.prompts_per_step", "int>=1", 16, "prompts of one training step",
  { "data.train_batch_size" })
key("data.image_dir", "text", nil, "folder before relative paths of pictures",
  { "data.train_image_dir" })
key("data.val_image_dir", "text", nil, "the same for validation; null: data.image_dir")
key("data.prompt_key", "text", "prompt", "column of the prompt: a text or a list of messages")
key("data.answer_key", "text", "answer", "column of the true answer")
key("data.target_key", "text", "target",
  "column of a response to imitate, for sft and for demonstrations inside a group",
  { "data.dataset_kwargs.target_key" })
key("data.image_key", "text", "images", "column of the pictures")
key("data.video_key", "text", "videos", "column of the videos; a row that has one is refused")
key("data.max_prompt_length", "int>=1", 1024, "tokens of a prompt, its pictures included")
key("data.filter_overlong", "bool", true, "leave longer prompts out, with a count; false: an error",
  { "data.filter_overlong_prompts" })
key("data.min_pixels", "int>=1", nil,
  "smaller pictures are scaled up; null: as the model's processor says")
key("data.max_pixels", "int>=1", nil,
  "larger pictures are scaled down; null: as the model's processor says")
key("data.shuffle", "bool", true, "train in random order")
key("data.reshuffle", "bool", true, "another order in each epoch")
key("data.seed", "int>=0", 1, "of the order of the rows")
key("data.on_bad", { "stop", "skip" }, "stop",
  "a row that cannot be read: stop, or leave it out with a count")
key("data.override_chat_template", "text", nil,
  "a chat template instead of the model's: text, .jinja or .json")

key("reward_options.args", "table", nil, "options for the rewards that know them",
  { "reward.reward_function_kwargs" })
key("reward_options.skip_special_tokens", "bool", true,
  "rewards see the response without special tokens",
  { "reward.skip_special_tokens" })
key("reward_options.timeout", "number>0", 5, "seconds a call may take before its worker is killed")
key("reward_options.memory", "number>0", 1024, "MiB a worker may use")
key("reward_options.workers", "int>=0", 0, "worker processes; 0: one for each processor, at most 8")
key("reward_options.max_failures", "number 0..1", 0.1,
  "the run stops when a larger share of a step's calls fails")
key("reward_options.on_error", { "drop", "raise", "zero" }, "drop",
  "a failed call: leave the sample out of training, stop the run, or count it as 0")
key("reward_options.compat", "bool", false, "rewards behave as RLLaVA's do, also where those err")

key("loss.clip_low", "number>=0", 0.2, "ratio is held above 1 - clip_low",
  { "actor.clip_ratio_low" })
key("loss.clip_high", "number>=0", 0.2, "ratio is held below 1 + clip_high",
  { "actor.clip_ratio_high" })
key("loss.clip_c", "number>1", 3, "dual clip: bound of the loss where the advantage is negative",
  { "actor.clip_ratio_c" })
key("loss.remove_clip", "bool", false, "no clipping at all", { "actor.loss_remove_clip" })
key("loss.agg_mode", { "token-mean", "seq-mean-token-sum", "seq-mean-token-mean",
  "seq-mean-token-sum-norm" },
  "token-mean", "how tokens become one number", { "loss.loss_agg_mode", "actor.loss_agg_mode" })
key("loss.loss_scale", { "global", "micro" }, "global",
  "micro: means and statistics of each micro-batch by itself, weighed by its responses, as RLLaVA",
  { "actor.loss_scale" })
key("loss.norm_len", "int>=1", nil,
  "divisor of seq-mean-token-sum-norm; null: rollout.max_new_tokens",
  { "actor.loss_norm_len" })
key("loss.norm_by_std", "bool", true, "group advantages are divided by the group's std",
  { "algorithm.norm_adv_by_std_in_grpo" })
key("loss.gamma", "number 0..1", 1, "discount", { "algorithm.gamma" })
key("loss.lam", "number 0..1", 1, "lambda of generalised advantage estimation", { "algorithm.lam" })
key("loss.gpg_alpha", { "nonzero_score", "valid_group" }, "nonzero_score",
  "what GPG's alpha counts",
  { "algorithm.gpg_alpha" })
key("loss.use_kl_loss", "bool", false, "KL to the reference policy in the loss",
  { "algorithm.use_kl_loss" })
key("loss.kl_loss_coef", "number>=0", 0.01, "its coefficient", { "actor.kl_loss_coef" })
key("loss.kl_loss_type", { "k1", "kl", "abs", "k2", "mse", "k3", "low_var_kl", "k1+", "kl+",
  "abs+", "k2+", "mse+",
  "k3+", "low_var_kl+" }, "low_var_kl", "its estimator", { "actor.kl_loss_type" })
key("loss.use_kl_in_reward", "bool", false, "KL to the reference policy in the reward",
  { "algorithm.use_kl_in_reward" })
key("loss.kl_penalty", { "k1", "kl", "abs", "k2", "mse", "k3", "low_var_kl", "k1+", "kl+", "abs+",
  "k2+", "mse+", "k3+", "low_var_kl+" }, "kl",
  "its estimator",
  { "algorithm.kl_penalty" })
key("loss.kl_ctrl.type", { "fixed", "adaptive" }, "fixed", "its controller",
  { "algorithm.kl_ctrl.type" })
key("loss.kl_ctrl.kl_coef", "number>=0", 0.001, "its coefficient, or where it starts",
  { "algorithm.kl_ctrl.kl_coef" })
key("loss.kl_ctrl.horizon", "number>0", 10000, "responses over which it adapts",
  { "algorithm.kl_ctrl.horizon" })
key("loss.kl_ctrl.target_kl", "number>0", 0.1, "KL that it steers to",
  { "algorithm.kl_ctrl.target_kl" })
key("loss.entropy_coeff", "number", 0, "entropy bonus", { "actor.entropy_coeff" })
key("loss.clip_cov_ratio", "number 0..1", 2e-4, "Clip-Cov: share of tokens cut",
  { "actor.policy_loss.clip_cov_ratio" })
key("loss.clip_cov_lb", "number", 1, "Clip-Cov: least covariance",
  { "actor.policy_loss.clip_cov_lb" })
key("loss.clip_cov_ub", "number", 5, "Clip-Cov: largest covariance",
  { "actor.policy_loss.clip_cov_ub" })
key("loss.kl_cov_ratio", "number 0..1", 2e-4, "KL-Cov: share of tokens held",
  { "actor.policy_loss.kl_cov_ratio" })
key("loss.ppo_kl_coef", "number>=0", 0.1, "KL-Cov: how firmly", { "actor.policy_loss.ppo_kl_coef" })
key("loss.tis_imp_ratio_cap", "number", -1,
  "cap of the weight old policy / sampler on each token; -1: off",
  { "actor.tis_imp_ratio_cap" })
key("loss.rollout_is", { "none", "token", "sequence" }, "none",
  "importance weights old policy / sampler",
  { "actor.rollout_is" })
key("loss.rollout_is_threshold", "number>0", 2, "their upper bound",
  { "actor.rollout_is_threshold" })
key("loss.rollout_is_mode", { "truncate", "mask" }, "truncate",
  "what lies beyond: held to the bound, or left out of the loss", { "actor.rollout_is_mode" })
key("loss.rollout_is_lower", "number>=0", nil, "mask: least weight; null: 1 / rollout_is_threshold")
key("loss.recompute_old_logp", "bool", false,
  "old log-probs by a pass of the trainer, which importance weights compare with the sampler's",
  { "actor.recompute_old_logprob" })
key("loss.ref_update", { "none", "every", "ema" }, "none",
  "the reference stays; becomes the policy; or ref_decay of itself and the rest of the policy")
key("loss.ref_every", "int>=1", 1, "steps from one such update to the next")
key("loss.ref_decay", "number 0..1", 0.99, "ema: what the reference keeps of itself")
key("loss.part_weights", "table", nil,
  "GDPO: weight of each named part of the reward; null: all 1")
key("loss.prefix_strategy", { "none", "random", "hint", "beside" }, "none",
  "demonstrations in a group: first n_prefix responses begin with a share of one, the same falling "
    .. "over hint_steps, or expert_share of all responses are one beside the samples",
  { "algorithm.prefix_strategy" })
key("loss.min_prefix_ratio", "number 0..1", 0, "least share of it",
  { "algorithm.min_prefix_ratio" })
key("loss.max_prefix_ratio", "number 0..1", 1, "largest share", { "algorithm.max_prefix_ratio" })
key("loss.n_prefix", "int>=-1", -1, "how many responses of a group begin so; -1: all",
  { "algorithm.n_prefix" })
key("loss.prefix_share_across_samples", "bool", false,
  "one share a group, instead of one a response",
  { "algorithm.prefix_share_across_samples" })
key("loss.hint_steps", "int>=0", 0, "steps over which the largest share falls; 0: it stays",
  { "algorithm.hint_steps" })
key("loss.expert_share", "number 0..1", 0.2,
  "beside: demonstrations among all responses, at most one a prompt")
key("loss.unify_strategy", { "none", "switch" }, "none",
  "switch: a group with few right responses is trained on its demonstration instead",
  { "algorithm.unify_strategy" })
key("loss.switch_gate", "int>=0", 0, "switch: so many right responses are few",
  { "algorithm.switch_gate" })
key("loss.success_reward_threshold", "number", 1, "a response of this reward is right",
  { "algorithm.success_reward_threshold" })
key("loss.recall", "int>=0", 0,
  "right responses kept, one a prompt, to stand in for the last where all fail later; 0: off")
key("loss.mask_truncated", "bool", false, "responses cut off at max_new_tokens are not trained on",
  { "actor.mask_truncated" })
key("loss.online_filtering", "bool", false,
  "sample until enough groups have a mean score between the bounds",
  { "algorithm.online_filtering" })
key("loss.filter_key", "text", "overall",
  "the score that decides: overall, or a part of the reward",
  { "algorithm.filter_key" })
key("loss.filter_mode", { "mean", "variance" }, "mean",
  "mean: groups whose mean lies between the bounds; variance: groups whose scores differ",
  { "algorithm.filter_mode" })
key("loss.filter_low", "number", 0.01, "lower bound, not included", { "algorithm.filter_low" })
key("loss.filter_high", "number", 0.99, "upper bound, not included", { "algorithm.filter_high" })
key("loss.filter_rounds", "int", 20,
  "rounds of sampling before it is an error; 0 or below: no limit",
  { "trainer.max_try_make_batch" })
key("loss.overlong_buffer", "int>=0", 0,
  "soft overlong punishment over the last so many tokens; 0: off")
key("loss.overlong_factor", "number>=0", 1, "its weight")

key("rollout.n", "int>=1", 8, "responses to each prompt")
key("rollout.temperature", "number>=0", 1, "divides the logits")
key("rollout.top_p", "number 0..1", 1, "sample from the fewest tokens of that probability")
key("rollout.top_k", "int>=-1", -1, "sample from so many tokens; -1 or 0: all")
key("rollout.min_p", "number 0..1", 0,
  "leave out tokens below that share of the best one's probability")
key("rollout.max_new_tokens", "int>=1", 512, "tokens of a response", { "data.max_response_length" })
key("rollout.at_once", "int>=1", 64, "responses decoded together, at most")
key("rollout.val_sampled", "bool", false,
  "validate a second time, sampling as in training (metrics end in /sampled)")
key("rollout.stop", "texts", nil, "texts that end a response")
key("rollout.weights", { "same", "int8", "int4" }, "same",
  "sample by the trainer's weights; or faster, by weights of few bits, whose log-probs differ "
    .. "(mismatch/...): loss.rollout_is or loss.tis_imp_ratio_cap must then correct for them")
key("rollout.lookup", "int 0..64", 0,
  "tokens drafted at once from what followed the last ones earlier, in the prompt or the response: "
    .. "the same samples, sooner where texts repeat and few are decoded together; 0: off")
key("rollout.seed", "int>=0", nil, "of the sampling; null: trainer.seed")
for _, k in ipairs {
  { "n", "int>=1", 1, "responses to each prompt in validation" },
  { "temperature", "number>=0", 0, "the same in validation; 0: always the likeliest token" },
  { "top_p", "number 0..1", 1, "the same in validation" },
  { "top_k", "int>=-1", -1, "the same in validation" },
  { "min_p", "number 0..1", 0, "the same in validation" },
  { "max_new_tokens", "int>=1", nil, "the same in validation; null: rollout.max_new_tokens" },
} do
  key("rollout.val." .. k[1], k[2], k[3], k[4], { "rollout.val_override_config." .. k[1] })
end

key("optim.lr", "number>=0", 1e-6, "learning rate", { "actor.optim.lr" })
key("optim.betas", "numbers", { 0.9, 0.999 }, "of AdamW's moments", { "actor.optim.betas" })
key("optim.eps", "number>0", 1e-8, "of AdamW", { "actor.optim.eps" })
key("optim.weight_decay", "number>=0", 0.01, "of AdamW", { "actor.optim.weight_decay" })
key("optim.decay_matrices_only", "bool", false, "no weight decay on norms and biases")
key("optim.states", { "f32", "int8" }, "f32",
  "AdamW's moments; int8: a quarter of their memory, in blocks of 256 with a scale each")
key("optim.max_grad_norm", "number>=0", 1, "gradients are scaled down to this norm; 0: off",
  { "actor.max_grad_norm" })
key("optim.skip_grad_norm", "number", 80,
  "an update with a larger norm is left out; 0 or below: off",
  { "actor.skip_grad_norm" })
key("optim.warmup_steps", "int>=0", nil,
  "steps over which the learning rate rises; null: warmup_ratio",
  { "actor.optim.lr_warmup_steps" })
key("optim.warmup_ratio", "number 0..1", 0, "the same as a share of all steps",
  { "actor.optim.lr_warmup_ratio" })
key("optim.schedule", { "constant", "cosine", "linear", "wsd" }, "constant",
  "of the learning rate after warm-up; wsd: constant, then linear over the last optim.decay_ratio",
  { "actor.optim.lr_scheduler_type", "actor.optim.warmup_style" })
key("optim.min_lr_ratio", "number 0..1", 0,
  "share of the learning rate that cosine, linear and wsd end at",
  { "actor.optim.min_lr_ratio" })
key("optim.decay_ratio", "number 0..1", 0.2, "wsd: share of all steps over which it falls")
key("optim.num_cycles", "number>0", 0.5, "cosine waves of the schedule",
  { "actor.optim.num_cycles" })

key("critic.model", "text", nil, "what the critic starts from; null: the policy",
  { "critic.model.model_path" })
key("critic.init_std", "number>=0", 0, "of the numbers of a new critic's head; 0: zeros")
key("critic.cliprange_value", "number>=0", 0.5, "values are held this close to the old ones")
key("critic.loss_avg_mode", { "token", "seq" }, "token",
  "mean over all tokens, or over responses of their means")
key("critic.epochs", "int>=1", 1, "times through each step's samples", { "critic.ppo_epochs" })
key("critic.updates_per_step", "int>=1", nil, "null: trainer.updates_per_step")
key("critic.lr", "number>=0", 1e-5, "learning rate", { "critic.optim.lr" })
key("critic.betas", "numbers", { 0.9, 0.999 }, "of AdamW's moments", { "critic.optim.betas" })
key("critic.eps", "number>0", 1e-8, "of AdamW", { "critic.optim.eps" })
key("critic.weight_decay", "number>=0", 0.01, "of AdamW", { "critic.optim.weight_decay" })
key("critic.decay_matrices_only", "bool", false, "no weight decay on norms and biases")
key("critic.states", { "f32", "int8" }, "f32", "as optim.states")
key("critic.max_grad_norm", "number>=0", 1, "gradients are scaled down to this norm; 0: off")
key("critic.skip_grad_norm", "number", 80,
  "an update with a larger norm is left out; 0 or below: off")
key("critic.warmup_steps", "int>=0", nil,
  "steps over which the learning rate rises; null: warmup_ratio",
  { "critic.optim.lr_warmup_steps" })
key("critic.warmup_ratio", "number 0..1", 0, "the same as a share of all steps",
  { "critic.optim.lr_warmup_ratio" })
key("critic.schedule", { "constant", "cosine", "linear", "wsd" }, "constant", "as optim.schedule",
  { "critic.optim.lr_scheduler_type", "critic.optim.warmup_style" })
key("critic.min_lr_ratio", "number 0..1", 0, "as optim.min_lr_ratio",
  { "critic.optim.min_lr_ratio" })
key("critic.decay_ratio", "number 0..1", 0.2, "as optim.decay_ratio")
key("critic.num_cycles", "number>0", 0.5, "as optim.num_cycles", { "critic.optim.num_cycles" })

key("trainer.critic_warmup", "int>=0", 0, "the policy is trained from this step on")
key("trainer.max_steps", "int>=0", nil, "training steps; null: total_epochs")
key("trainer.total_epochs", "number>0", 1, "times through the training rows")
key("trainer.updates_per_step", "int>=1", 1, "optimizer steps for each step's samples")
key("trainer.ppo_epochs", "int>=1", 1, "times through each step's samples", { "actor.ppo_epochs" })
key("trainer.val_freq", "int", -1, "validate each so many steps, and after the last; -1: only then")
key("trainer.val_before_train", "bool", true, "validate before the first step too")
key("trainer.val_only", "bool", false, "validate and stop")
key("trainer.save_freq", "int", -1,
  "checkpoint each so many steps, and after the last; -1: only then")
key("trainer.save_limit", "int", -1, "checkpoints kept, the newest; -1: all")
key("trainer.save_best", "bool", true, "the best one by val/reward_score is kept beside them")
key("trainer.save_model_only", "bool", false, "checkpoints without the state to go on from")
key("trainer.keep_skipped", "int>=0", 3,
  "updates left out for their gradient that are kept in the run's folder, for rllava replay")
key("trainer.save_dtype", { "f32", "bf16" }, nil, "of saved weights; null: as they were loaded")
key("trainer.outputs_dir", "text", nil,
  "the run's folder; with project_name or experiment_name the run is <project>/<name> in it; "
    .. "null: outputs/<project>/<name>-<time>")
key("trainer.project_name", "text", nil, "a folder between outputs_dir and the run's")
key("trainer.experiment_name", "text", nil, "the run's name; null: the recipe's")
key("trainer.logger", "texts", { "console", "tensorboard" },
  "console, tensorboard, or none; metrics.jsonl is always kept")
key("trainer.resume", "bool", true, "go on from the newest complete checkpoint of outputs_dir",
  { "trainer.find_last_checkpoint" })
key("trainer.load_checkpoint_path", "text", nil, "start from this checkpoint's state")
key("trainer.seed", "int>=0", 1, "of all random numbers but the order of rows")
key("trainer.threads", "int>=1", nil, "null: RLLAVA_THREADS, or the processors")
key("trainer.memory", "number|text", nil,
  "bytes that the run may use at most (24G, 900M); null: what the machine has free", { "memory" })
key("trainer.micro_tokens", "int>=1", nil,
  "rows computed together in training; null: 8192, or the half, a quarter ... that fits")
key("trainer.micro_rows", "int>=1", nil,
  "responses computed together in training, at most; null: as many as micro_tokens hold",
  { "actor.ppo_micro_batch_size" })
key("trainer.score_rows", "int>=1", nil,
  "the same where there is no backward pass; null: trainer.micro_rows",
  { "actor.log_prob_micro_batch_size" })
key("trainer.recompute", "bool", nil,
  "drop activations and compute them again: less memory, more time; null: only where it must be",
  { "actor.model.enable_gradient_checkpointing" })
key("trainer.dtype", { "f32", "bf16" }, "f32", "what products take their operands in")
key("trainer.freeze_vision_tower", "bool", false,
  "pictures are read by the tower as it is: not trained, run once a picture, its features kept",
  { "actor.model.freeze_vision_tower" })
key("trainer.vision_cache", "number|text", "256M",
  "bytes of such features that are kept (256M); 0: none, each prompt's are computed anew")
key("trainer.show_samples", "int>=0", 1, "responses printed at each validation",
  { "trainer.val_generations_to_log" })
key("trainer.early_stop", "int>=0", 0,
  "stop after so many validations without a better val/reward_score; 0: never")

return keys
