--- config.json of Hugging Face, one spelling for all that occur: what a model file may rely on.
local json = require "rllava.json"
local rl = require "rllava.ffi"

local M = {}

-- What the reference classes assume where a config says nothing.
local llama = { hidden_size = 4096, intermediate_size = 11008, num_hidden_layers = 32,
  num_attention_heads = 32, vocab_size = 32000, rms_norm_eps = 1e-6, rope_theta = 1e4,
  hidden_act = "silu", attention_bias = false, mlp_bias = false }
local text_defaults = {
  llama = llama,
  qwen2 = { rms_norm_eps = 1e-6, rope_theta = 1e4, hidden_act = "silu" },
  qwen3 = { rms_norm_eps = 1e-6, rope_theta = 1e4, hidden_act = "silu", head_dim = 128 },
  gemma3_text = { rms_norm_eps = 1e-6, head_dim = 256, query_pre_attn_scalar = 256,
    hidden_activation = "gelu_pytorch_tanh" },
  qwen2_vl = { rms_norm_eps = 1e-5, rope_theta = 1e6, hidden_act = "silu" },
  qwen2_5_vl = { rms_norm_eps = 1e-5, rope_theta = 1e6, hidden_act = "silu" },
  qwen3_vl = { rms_norm_eps = 1e-6, rope_theta = 5e5, hidden_act = "silu" },
}
local vision_defaults = {
  clip_vision_model = { hidden_act = "quick_gelu", layer_norm_eps = 1e-5, num_channels = 3 },
  siglip_vision_model = { hidden_act = "gelu_pytorch_tanh", layer_norm_eps = 1e-6,
    num_channels = 3 },
  qwen2_vl = { depth = 32, embed_dim = 1280, mlp_ratio = 4, num_heads = 16, in_channels = 3,
    patch_size = 14, spatial_merge_size = 2, temporal_patch_size = 2, hidden_act = "quick_gelu" },
  qwen2_5_vl = { depth = 32, hidden_size = 1280, intermediate_size = 3420, num_heads = 16,
    in_channels = 3, patch_size = 14, spatial_merge_size = 2, temporal_patch_size = 2,
    window_size = 112, fullatt_block_indexes = { 7, 15, 23, 31 }, tokens_per_second = 4,
    hidden_act = "silu" },
  qwen3_vl = { depth = 27, hidden_size = 1152, intermediate_size = 4304, num_heads = 16,
    in_channels = 3, patch_size = 16, spatial_merge_size = 2, temporal_patch_size = 2,
    num_position_embeddings = 2304, deepstack_visual_indexes = { 8, 16, 24 },
    hidden_act = "gelu_pytorch_tanh" },
}
local llava = { vision_feature_layer = -2, vision_feature_select_strategy = "default",
  projector_hidden_act = "gelu", multimodal_projector_bias = true }

-- Families whose text_config may carry the flag alone (older files).
local tie_in_text = { qwen2_vl = true, qwen2_5_vl = true, llava = true }

--- A copy without nulls.
local function plain(v)
  if type(v) ~= "table" then return v end
  local t = {}
  for k, e in pairs(v) do
    if e ~= json.null then t[k] = plain(e) end
  end
  return t
end

--- Refuses v, where it is there, unless it is an object.
local function want_object(v, file, name)
  if v == nil or type(v) == "table" and not json.is_array(v) then return end
  rl.raise("%s: %s: expected an object, found %s", file, name,
    type(v) == "table" and "a list" or tostring(v))
end

-- Fields that count something.
local counts = { "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
  "num_key_value_heads", "head_dim", "vocab_size", "depth", "num_heads", "in_channels",
  "patch_size", "spatial_merge_size", "temporal_patch_size", "window_size", "out_hidden_size" }

--- Refuses those of t that are no whole numbers above 0.
local function want_counts(t, file, prefix)
  for _, name in ipairs(counts) do
    local v = t[name]
    if v ~= nil and (type(v) ~= "number" or v < 1 or v ~= math.floor(v)) then
      rl.raise("%s: %s%s: expected a whole number above 0, found %s", file, prefix, name,
        tostring(v))
    end
  end
end

local function fill(t, defaults)
  for k, v in pairs(defaults or {}) do
    if t[k] == nil then t[k] = v end
  end
  return t
end

--- One table of rope: rope_type, rope_theta and the numbers of its type.
local function rope(t, theta)
  t.rope_type = t.rope_type or t.type or "default"
  t.type = nil
  if t.rope_type == "mrope" then t.rope_type = "default" end
  t.rope_theta = t.rope_theta or theta
  return t
end

--- rope_parameters ("v5"), or rope_theta beside rope_scaling ("hub") -> rope_parameters.
local function rope_parameters(text, file)
  local r = text.rope_parameters
  want_object(r, file, "rope_parameters")
  want_object(text.rope_scaling, file, "rope_scaling")
  if r and (r.full_attention or r.sliding_attention) then
    for name, layer in require("rllava").sorted(r) do
      want_object(layer, file, "rope_parameters." .. name)
      rope(layer, text.rope_theta)
    end
  else
    r = rope(r or text.rope_scaling or {}, text.rope_theta)
    text.rope_theta = r.rope_theta
  end
  text.rope_scaling = nil
  text.rope_parameters = r
end

local function text_part(c, file)
  local text = c.text_config or c
  local kind = (text.model_type or c.model_type):gsub("_text$", "")
  fill(text, text_defaults[kind] or text_defaults[kind .. "_text"])
  rope_parameters(text, file)
  local prefix = text == c and "" or "text_config."
  want_counts(text, file, prefix)
  text.num_key_value_heads = text.num_key_value_heads or text.num_attention_heads
  if not text.head_dim and text.hidden_size and text.num_attention_heads then
    text.head_dim = text.hidden_size / text.num_attention_heads
  end
  want_counts({ head_dim = text.head_dim }, file, prefix)
  if text.use_sliding_window == false then text.sliding_window = nil end
  return text
end

local function vision_part(c, file)
  local v = c.vision_config
  if not v then return end
  v.in_channels, v.in_chans = v.in_channels or v.in_chans, nil
  want_counts(v, file, "vision_config.")
  return fill(v, vision_defaults[v.model_type] or vision_defaults[c.model_type])
end

local function tied(c, text)
  if c.tie_word_embeddings ~= nil then return c.tie_word_embeddings end
  if tie_in_text[c.model_type] and text.tie_word_embeddings then return true end
  return text.model_type == "gemma3_text" or c.model_type == "gemma3"
end

--- A decoded config.json in either spelling ("v5" or "hub", flat or nested) -> one form:
---   model_type, dtype ("float32", "bfloat16", "float16"), tie_word_embeddings (true or false);
---   text_config: the language model's fields, always a table, with rope_parameters {rope_type,
---   rope_theta, ...}, head_dim and num_key_value_heads filled in, sliding_window only if it is on;
---   vision_config: the tower's, or nil;  image_token_id, video_token_id as in the file.
--- Nulls become nil; absent fields get what the reference class assumes.  file: for messages.
function M.normalise(raw, file)
  file = file or "config.json"
  if type(raw) ~= "table" or json.is_array(raw) then rl.raise("%s: expected an object", file) end
  local c = plain(raw)
  if type(c.model_type) ~= "string" then
    rl.raise("%s: model_type: expected a text, found %s", file, tostring(c.model_type))
  end
  local flat = c.text_config == nil
  want_object(c.text_config, file, "text_config")
  want_object(c.vision_config, file, "vision_config")
  if c.model_type == "llava" then fill(c, llava) end
  c.tie_word_embeddings = tied(c, c.text_config or c)
  local text = text_part(c, file)
  c.dtype = c.dtype or c.torch_dtype or text.dtype or text.torch_dtype
  c.torch_dtype = nil
  c.image_token_id = c.image_token_id or c.image_token_index
  c.vision_config = vision_part(c, file)
  if flat then
    c.text_config = {}
    for k, v in pairs(c) do
      if k ~= "text_config" and k ~= "vision_config" then c.text_config[k] = v end
    end
  end
  c.text_config.tie_word_embeddings = c.tie_word_embeddings
  return c
end

return M
