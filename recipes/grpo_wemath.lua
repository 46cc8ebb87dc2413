--- GRPO on knowledge questions with pictures, in the manner of We-Math: composite problems and
--- their steps, five choices each.  Validation also says what the steps tell of the composites
--- (insufficient knowledge, inadequate generalisation, complete mastery, rote memorisation).
--- The real data: We-Math/We-Math2.0-SFT for training, We-Math/We-Math@testmini for validation,
--- with data.format_prompt=prompts/wemath.jinja.
local rl = require "rllava"

return rl.recipe {                       -- each key can be set on the command line
  model     = "tiny-wemath",             -- embedded; made by sft_wemath.lua
  data      = { train = "wemath-tiny@train", val = "wemath-tiny@test",
                val_apart = { "wemath-tiny@test_numbers" },
                prompts_per_step = 8, max_prompt_length = 128 },
  reward    = { { "rewards/wemath.lua", 1, format_weight = 0.1 },
                { "rewards/wemath_metrics.lua", 0 } },
  algorithm = "grpo",
  rollout   = { n = 8, temperature = 1.0, max_new_tokens = 80, val_sampled = true },
  optim     = { lr = 1e-4, betas = { 0.9, 0.95 }, weight_decay = 0, warmup_steps = 5 },
  trainer   = { max_steps = 80, val_freq = 40 },
}
