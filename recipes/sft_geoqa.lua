--- Makes the embedded model tiny-vl: from random numbers to a reader of drawn geometry, by
--- imitation of annotators - first careful ones, then ones of mixed quality.  19 minutes on two
--- cores that were also busy elsewhere.
---   rllava recipes/sft_geoqa.lua;  the newest checkpoint of its folder is recipes/tiny-vl
local rl = require "rllava"
local tiny = rl.recipe_file "data/tiny_vl.lua"

return rl.recipe {
  model     = tiny.folder "outputs/tiny-vl-fresh", init_seed = 1,
  data      = { train = "geoqa-tiny@demonstrations", val = "geoqa-tiny@test",
                val_apart = { "geoqa-tiny@test_numbers" },
                prompts_per_step = 32, max_prompt_length = 64, shuffle = false },
  reward    = "rewards/geoqa.lua",
  algorithm = "sft",
  rollout   = { max_new_tokens = 56, val_sampled = true },
  optim     = { lr = 1.5e-3, betas = { 0.9, 0.98 }, skip_grad_norm = 0,
                weight_decay = 0.01, decay_matrices_only = true,
                schedule = "wsd", warmup_steps = 100, decay_ratio = 650 / 3000,
                min_lr_ratio = 0.05 },
  trainer   = { max_steps = 3000, micro_tokens = 4096, val_freq = 500,
                save_freq = 500, save_limit = 2, save_dtype = "bf16" },
}
