--- Makes the embedded model tiny-count: from random numbers to one that counts things in drawn
--- scenes, by imitation of annotators - first careful ones, then ones of mixed quality.
--- Six minutes of processor time.
---   rllava recipes/sft_counting.lua;  the newest checkpoint of its folder is recipes/tiny-count
local rl = require "rllava"
local tiny = rl.recipe_file "data/tiny_vl.lua"
local counting = rl.recipe_file "data/counting.lua"

--- rope_theta: the columns of a picture turn by the lowest frequencies; at 10000 they hardly do.
local fresh = tiny.folder("outputs/tiny-count-fresh", { texts = counting.texts(), vocab_size = 336,
  text = { hidden_size = 128, num_attention_heads = 4, intermediate_size = 384, rope_theta = 5,
    initializer_range = 0.06 },
  vision = { hidden_size = 64, depth = 2, num_heads = 2, intermediate_size = 192,
    fullatt_block_indexes = rl.json.array { 0, 1 } } })

return rl.recipe {
  model     = fresh, init_seed = 1,
  data      = { train = "counting-tiny@demonstrations", val = "counting-tiny@test",
                val_apart = { "counting-tiny@test_pairs" }, prompts_per_step = 32,
                max_prompt_length = 64, shuffle = false },
  reward    = { { "rewards/counting.lua", 1, strict = true, format_weight = 0.1 } },
  algorithm = "sft",
  rollout   = { max_new_tokens = 56, val_sampled = true },
  optim     = { lr = 1.5e-3, betas = { 0.9, 0.98 }, weight_decay = 0.01, skip_grad_norm = 0,
                decay_matrices_only = true, warmup_steps = 100, schedule = "wsd",
                decay_ratio = 400 / 1300, min_lr_ratio = 0.05 },
  trainer   = { max_steps = 1300, val_freq = 450, save_freq = 450, save_limit = 3,
                micro_tokens = 4096, save_dtype = "bf16" },
}
