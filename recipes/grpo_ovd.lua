--- GRPO on open-vocabulary detection: find all circles.  rllava recipes/grpo_ovd.lua
--- With real pictures: model = "Qwen/Qwen2.5-VL-3B-Instruct", rollout.n = 3,
--- reward_options.skip_special_tokens = false, data = { train = "laolao77/ViRFT_COCO_base65",
--- prompt_key = "problem", answer_key = "solution", image_key = "image", min_pixels = 262144,
--- format_prompt = "prompts/ovd.jinja" }.
local rl = require "rllava"

return rl.recipe {
  model     = "tiny-ground",             -- recipes/sft_grounding.lua made it
  data      = { train = "ovd-tiny@train", val = "ovd-tiny@test",
                val_apart = { "ovd-tiny@test_apart" },
                prompts_per_step = 8, max_prompt_length = 64 },
  reward    = "rewards/ovd.lua",
  algorithm = "grpo",
  rollout   = { n = 8, temperature = 1.0, max_new_tokens = 100, val_sampled = true },
  optim     = { lr = 1e-4, betas = { 0.9, 0.95 }, weight_decay = 0, warmup_steps = 5 },
  trainer   = { max_steps = 80, val_freq = 20 },
}
