--- Models of known shapes with random numbers, and recipes that train them.
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"

local shapes = {}

--- A Llama with tied embeddings: width, that of the feed-forward layer, layers, heads of queries
--- and of keys, vocabulary.
local function llama(d, ff, layers, heads, kv, vocab)
  return { model_type = "llama", hidden_size = d, intermediate_size = ff,
    num_hidden_layers = layers, num_attention_heads = heads, num_key_value_heads = kv,
    vocab_size = vocab, rms_norm_eps = 1e-5, rope_theta = 1e4, tie_word_embeddings = true,
    eos_token_id = 368 }
end

--- SmolLM2-135M; quick: a fifth of it.
function shapes.smollm2(quick)
  return llama(576, 1536, quick and 6 or 30, 9, 3, quick and 9830 or 49152)
end

--- 0.9 million parameters.
function shapes.tiny() return llama(128, 384, 4, 4, 2, 1024) end

--- A Qwen2.5-VL of 69 million parameters, 27 of them in its vision tower.
function shapes.vl()
  local c = llama(512, 1536, 8, 8, 2, 32768)
  c.model_type, c.rope_scaling = "qwen2_5_vl", { type = "mrope", mrope_section = { 8, 12, 12 } }
  c.image_token_id, c.video_token_id = 371, 372
  c.vision_start_token_id, c.vision_end_token_id = 369, 370
  c.vision_config = { depth = 12, hidden_size = 384, intermediate_size = 1152, num_heads = 6,
    in_channels = 3, out_hidden_size = 512, patch_size = 14, spatial_merge_size = 2,
    temporal_patch_size = 2, window_size = 112, fullatt_block_indexes = { 2, 5, 8, 11 } }
  return c
end

--- Numbers that a token's products multiply by.
function shapes.numbers(c)
  local d, kv = c.hidden_size, c.num_key_value_heads * c.hidden_size / c.num_attention_heads
  local layer = 2 * d * d + 2 * d * kv + 3 * d * c.intermediate_size
  return c.num_hidden_layers * layer + c.vocab_size * d
end

--- A prompt of n tokens; number: another one for each, below 1000.
function shapes.prompt(n, number)
  local ids = ffi.new("int[?]", n)
  for i = 0, n - 1 do ids[i] = 1 + (i + (number or 0)) % 1000 end
  return { ids = ids, n = n }
end

--- What responses, with advantages that do not vanish, say to the loss of GRPO.
function shapes.responses(count, tokens)
  local list = {}
  for k = 1, count do
    local r = shapes.prompt(tokens)
    r.tokens, list[k] = { advantage = {} }, r
    for i = 1, r.n do r.tokens.advantage[i] = k - (count + 1) / 2 end
  end
  return list
end

--- GRPO and an updater of the policy, as a run has them.
function shapes.updater(policy, dtype, micro_tokens)
  local algorithm = require("rllava.algorithm").load "grpo"
  local cfg = setmetatable({ clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean",
    rollout_is = "none" }, { __index = algorithm.defaults })
  local updater = require("rllava.update").new(policy, {
    optim = { betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0 }, max_grad_norm = 1,
    micro_tokens = micro_tokens, temperature = 1, dtype = dtype })
  return updater, algorithm, cfg
end

--- The tokenizer of tiny-vl with as many more tokens as the vocabulary has room for.
local function tokenizer(vocab)
  local t = json.decode(files.read "recipes/tiny-vl/tokenizer.json", "tokenizer.json")
  local last = 0
  for _, token in ipairs(t.added_tokens) do last = math.max(last, token.id) end
  for id = last + 1, vocab - 1 do t.model.vocab[("<%d>"):format(id)] = id end
  return json.encode(t)
end

--- A folder with what a run needs of a model, and 64 questions of 47 tokens; to be removed by the
--- caller.
function shapes.folder(config)
  local folder = os.tmpname()
  os.remove(folder)
  files.make_folder(folder)
  local function write(name, text) files.write(files.join(folder, name), text) end
  write("config.json", json.encode(config))
  write("tokenizer.json", tokenizer(config.vocab_size))
  for _, name in ipairs { "tokenizer_config.json", "chat_template.jinja" } do
    write(name, files.read("recipes/tiny-vl/" .. name))
  end
  local rows = {}
  for i = 1, 64 do
    rows[i] = json.encode { answer = "1",
      prompt = ("What is the area of a triangle with base %d and height 7?"):format(10 + i) }
  end
  write("rows.jsonl", table.concat(rows, "\n"))
  write("reward.lua", "return function(response) return #response % 7 / 7 end")
  write("recipe.lua", [[return require("rllava").recipe { reward = "reward.lua",
    data = { prompts_per_step = 4, max_prompt_length = 64 },
    rollout = { n = 8, max_new_tokens = 64, at_once = 64 },
    trainer = { max_steps = 1000, logger = { "none" } } }]])
  return folder
end

--- A trainer of such a folder; further keys as on the command line.
function shapes.trainer(folder, ...)
  local keys = { "model=" .. folder, "init_seed=1",
    "data.train=" .. files.join(folder, "rows.jsonl"), ... }
  local cfg = require("rllava.recipe").load(files.join(folder, "recipe.lua"), keys)
  return require("rllava.train").open(cfg)
end

return shapes
