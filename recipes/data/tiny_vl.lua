--- The folder of a fresh tiny Qwen2.5-VL that reads 112 x 112 pictures, with a tokenizer trained on
--- the texts of its task; without weights.  tiny_vl.folder(path) writes that of tiny-vl, 2.3
--- million parameters for drawn geometry.  Another task's, where what is left out is tiny-vl's:
---
---   tiny_vl.folder(path, { texts = { ... }, vocab_size = 320, text = { hidden_size = 128, ... },
---                          vision = { depth = 2, ... } })
local rl = require "rllava"
local bpe = rl.recipe_file "data/bpe.lua"
local geoqa = rl.recipe_file "data/geoqa.lua"

local tiny = {}

local special = { "<|endoftext|>", "<|im_start|>", "<|im_end|>",
  "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>" }
local kept = { "<think>", "</think>", "<answer>", "</answer>" }        -- decoding keeps these

local chat_template = [[
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content -%}
{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif -%}
{% endfor %}{% endif %}<|im_end|>
{% endfor -%}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
]]

local function geometry_texts()
  local texts = {}
  for i = 1, 4000 do
    local p = geoqa.problem(7, i)
    texts[2 * i - 1], texts[2 * i] = p.question, p.right.think
  end
  return texts
end

local function with(base, changes)
  for k, v in pairs(changes or {}) do base[k] = v end
  return base
end

--- config.json.  id: of each added token.
local function config(id, options)
  local text = with({
    model_type = "qwen2_5_vl",
    architectures = rl.json.array { "Qwen2_5_VLForConditionalGeneration" },
    hidden_size = 192, num_hidden_layers = 4, num_attention_heads = 6, num_key_value_heads = 2,
    intermediate_size = 512, rms_norm_eps = 1e-6, hidden_act = "silu", tie_word_embeddings = true,
    rope_theta = 10000,
    rope_scaling = { type = "mrope", mrope_section = rl.json.array { 4, 6, 6 } },
    vocab_size = options.vocab_size, max_position_embeddings = 1024, dtype = "bfloat16",
    image_token_id = id["<|image_pad|>"], video_token_id = id["<|video_pad|>"],
    vision_start_token_id = id["<|vision_start|>"], vision_end_token_id = id["<|vision_end|>"],
    eos_token_id = id["<|im_end|>"],
  }, options.text)
  text.vision_config = with({
    model_type = "qwen2_5_vl", hidden_size = 96, depth = 3, num_heads = 4,
    intermediate_size = 256, hidden_act = "silu", out_hidden_size = text.hidden_size,
    in_channels = 3, patch_size = 14, spatial_merge_size = 2, temporal_patch_size = 2,
    window_size = 112, fullatt_block_indexes = rl.json.array { 0, 1, 2 },
  }, options.vision)
  return text
end

local half = { 0.5, 0.5, 0.5 }
local processor = { image_processor_type = "Qwen2VLImageProcessor",
  min_pixels = 112 * 112, max_pixels = 112 * 112,
  patch_size = 14, merge_size = 2, temporal_patch_size = 2, image_mean = half, image_std = half }

--- Writes the folder and gives its path.  text, vision: what config.json and its vision_config have
--- instead; digits: how many of a number's a token may hold (1).
function tiny.folder(path, options)
  local files, json = rl.files, rl.json
  local o = with({ vocab_size = 384 }, options)
  local merges = bpe.train(o.texts or geometry_texts(), o.vocab_size - #special - #kept, o.digits)
  local text = bpe.tokenizer_json(merges, special, kept, o.digits)
  local id = {}
  for _, t in ipairs(json.decode(text).added_tokens) do id[t.content] = t.id end
  local function write(name, content)
    if type(content) == "table" then content = json.encode(content) .. "\n" end
    files.write(files.join(path, name), content)
  end
  files.make_folder(path)
  write("tokenizer.json", text)
  write("tokenizer_config.json", { tokenizer_class = "Qwen2Tokenizer", eos_token = "<|im_end|>",
    pad_token = "<|endoftext|>", model_max_length = 1024 })
  write("chat_template.jinja", chat_template)
  write("config.json", config(id, o))
  write("generation_config.json",
    { eos_token_id = id["<|im_end|>"], pad_token_id = id["<|endoftext|>"] })
  write("preprocessor_config.json", processor)
  return path
end

return tiny
