--- GRPO on sums and differences with SmolLM2-135M, which the first run fetches (93 MB).
--- rllava recipes/grpo_arithmetic.lua optim.lr=2e-5
local rl = require "rllava"

return rl.recipe {                       -- each key can be set on the command line
  model     = "smollm2-135m",            -- or a .gguf file, a Hugging Face folder or hub name
  data      = { train = "arithmetic@train", val = "arithmetic@test", prompts_per_step = 8,
                max_prompt_length = 96 },
  reward    = "rewards/last_number.lua",
  algorithm = "grpo",
  rollout   = { n = 8, temperature = 1.0, max_new_tokens = 16 },
  optim     = { lr = 1e-5, betas = { 0.9, 0.95 }, weight_decay = 0, warmup_steps = 3 },
  trainer   = { max_steps = 40, val_freq = 10 },
}
