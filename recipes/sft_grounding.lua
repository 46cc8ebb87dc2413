--- Makes the embedded model tiny-ground: from random numbers to a finder of drawn shapes, by
--- imitation of annotators - first careful ones, then careless ones.  5 minutes of one core.
---   rllava recipes/sft_grounding.lua;  the newest checkpoint of its folder is recipes/tiny-ground
local rl = require "rllava"
local tiny = rl.recipe_file "data/tiny_vl.lua"
local finding = rl.recipe_file "data/finding.lua"

local texts = {}                                        -- what the tokenizer is trained on
for i = 1, 3000 do
  local p = finding.problem(({ "grounding", "ovd", "scan" })[i % 3 + 1], 7, i)
  texts[2 * i - 1], texts[2 * i] = p.question, finding.demonstration(p):gsub("</?%a+>", "\n")
end

return rl.recipe {
  model     = tiny.folder("outputs/tiny-ground-fresh", {
    texts = texts, vocab_size = 448, digits = 3,
    text = { hidden_size = 128, num_attention_heads = 4, intermediate_size = 320,
      initializer_range = 0.1 },
    vision = { hidden_size = 64, depth = 2, intermediate_size = 160,
      fullatt_block_indexes = rl.json.array { 0, 1 } } }),
  init_seed = 1,
  data      = { train = "grounding-tiny@demonstrations", val = "grounding-tiny@test",
    val_rows = 100, prompts_per_step = 32,
    max_prompt_length = 64, shuffle = false },
  reward    = { "rewards/grounding.lua", scale = "resized", truth = "resized" },
  algorithm = "sft",
  rollout   = { max_new_tokens = 64 },
  optim     = { lr = 1.5e-3, betas = { 0.9, 0.98 }, weight_decay = 0.01,
    decay_matrices_only = true, skip_grad_norm = 0, warmup_steps = 100, schedule = "wsd",
    decay_ratio = 350 / 1150, min_lr_ratio = 0.05 },
  trainer   = { max_steps = 1150, val_freq = 300, save_freq = 300, save_limit = 2,
    micro_tokens = 4096, save_dtype = "bf16" },
}
