--- GRPO on counting things in drawn scenes.  rllava recipes/grpo_counting.lua rollout.n=16
--- With real pictures: model=Qwen/Qwen2.5-VL-3B-Instruct
---   data.train=BUAADreamer/clevr_count_70k@train data.val=BUAADreamer/clevr_count_70k@test
---   data.val_apart=null data.format_prompt=prompts/r1v.jinja data.max_prompt_length=1024
---   rollout.max_new_tokens=512 optim.lr=1e-6
local rl = require "rllava"

return rl.recipe {                       -- each key can be set on the command line
  model     = "tiny-count",              -- embedded; or a Hugging Face folder or hub name
  data      = { train = "counting-tiny@train", val = "counting-tiny@test",
                val_apart = { "counting-tiny@test_pairs" }, prompts_per_step = 8,
                max_prompt_length = 64 },
  reward    = { { "rewards/counting.lua", 1, strict = true, format_weight = 0.1 } },
  algorithm = "grpo",
  rollout   = { n = 8, temperature = 1.0, max_new_tokens = 56, val_sampled = true },
  optim     = { lr = 1e-4, betas = { 0.9, 0.95 }, weight_decay = 0, warmup_steps = 5 },
  trainer   = { max_steps = 80, val_freq = 20 },
}
