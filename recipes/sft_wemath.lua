--- Makes the embedded model tiny-wemath from tiny-vl, by imitation of annotators - first careful
--- ones, then ones of mixed quality - on drawn knowledge questions and, in every fifth row,
--- equations.  Tokenizer and shape are tiny-vl's.  12 minutes of processor time without validation.
---   rllava recipes/sft_wemath.lua;  the newest checkpoint of its folder is recipes/tiny-wemath
local rl = require "rllava"

return rl.recipe {
  model     = "tiny-vl",
  data      = { train = "wemath-tiny@demonstrations", val = "wemath-tiny@test",
                val_apart = { "wemath-tiny@test_numbers", "equations-tiny@test" },
                prompts_per_step = 32, max_prompt_length = 128, shuffle = false },
  reward    = { { "rewards/wemath.lua", 1, format_weight = 0.1 },
                { "rewards/wemath_metrics.lua", 0 } },
  algorithm = "sft",
  rollout   = { max_new_tokens = 80, val_sampled = true },
  optim     = { lr = 1e-3, betas = { 0.9, 0.98 }, weight_decay = 0.01, decay_matrices_only = true,
                skip_grad_norm = 0, warmup_steps = 50, schedule = "wsd", decay_ratio = 0.2,
                min_lr_ratio = 0.05 },
  trainer   = { max_steps = 1200, val_freq = 240, save_freq = 240, save_limit = 2,
                micro_tokens = 4096, save_dtype = "bf16" },
}
