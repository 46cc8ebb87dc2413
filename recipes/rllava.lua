--- What RLLaVA's examples/config.yaml says, for its launch scripts: their lines go behind it.
---   rllava recipes/rllava.lua data.train_files=hiyouga/geometry3k@train \
---     algorithm.adv_estimator=rloo
local rl = require "rllava"

return rl.recipe {
  model     = "Qwen/Qwen2.5-7B-Instruct",
  data      = { train = "hiyouga/math12k@train", val = "hiyouga/math12k@test",
                prompt_key = "problem", format_prompt = "prompts/math.jinja",
                prompts_per_step = 16, max_prompt_length = 512, val_batch_size = 128,
                min_pixels = 3136, max_pixels = 4194304 },
  reward    = "rewards/math.lua",
  algorithm = "grpo",
  loss      = { use_kl_loss = true, kl_loss_coef = 0.01, kl_loss_type = "k3" },
  rollout   = { n = 5, max_new_tokens = 512 },
  actor     = { ppo_mini_batch_size = 4 },            -- prompts of an optimizer step
  trainer   = { recompute = true, total_epochs = 15, val_freq = 5, show_samples = 3, save_freq = 20,
                save_limit = 3, project_name = "rlava", experiment_name = "qwen2_5_7b_math_grpo" },
}
