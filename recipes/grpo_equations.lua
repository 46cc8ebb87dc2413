--- GRPO on equations in one unknown, read from a picture.
--- The real data, in text: hiyouga/math12k (data.prompt_key=problem), with
--- data.format_prompt=prompts/math.jinja and reward=rewards/math.lua.
local rl = require "rllava"

return rl.recipe {                       -- each key can be set on the command line
  model     = "tiny-wemath",             -- embedded; sft_wemath.lua showed it equations as well
  data      = { train = "equations-tiny@train", val = "equations-tiny@test",
                val_apart = { "equations-tiny@test_numbers" },
                prompts_per_step = 8, max_prompt_length = 64 },
  reward    = "rewards/geoqa.lua",
  algorithm = "grpo",
  rollout   = { n = 8, temperature = 1.0, max_new_tokens = 56, val_sampled = true },
  optim     = { lr = 1e-4, betas = { 0.9, 0.95 }, weight_decay = 0, warmup_steps = 5 },
  trainer   = { max_steps = 80, val_freq = 40 },
}
