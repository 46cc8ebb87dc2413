--- GRPO on drawn geometry with pictures: the first run.  rllava recipes/grpo_geoqa.lua rollout.n=16
local rl = require "rllava"

return rl.recipe {                       -- each key can be set on the command line
  model     = "tiny-vl",                 -- embedded; or a Hugging Face folder or hub name
  data      = { train = "geoqa-tiny@train", val = "geoqa-tiny@test",
                val_apart = { "geoqa-tiny@test_numbers" },
                prompts_per_step = 8, max_prompt_length = 64 },
  reward    = "rewards/geoqa.lua",
  algorithm = "grpo",
  rollout   = { n = 8, temperature = 1.0, max_new_tokens = 56, val_sampled = true },
  optim     = { lr = 1e-4, betas = { 0.9, 0.95 }, weight_decay = 0, warmup_steps = 5 },
  trainer   = { max_steps = 80, val_freq = 20 },
}
