--- Decoder-only text models: Llama, Qwen2, Qwen3 and the text side of the vision models.
--- arXiv:2302.13971 (Llama), arXiv:2407.10671 (Qwen2), arXiv:2505.09388 (Qwen3)
local rl = require "rllava.ffi"

local llama = {}

--- Frequencies theta^(-2j/head_dim), j < head_dim/2, scaled where rope_parameters ask for it
--- (llama3: long waves are slowed by factor, short ones kept, a ramp between).
function llama.inv_freq(rope, head_dim)
  local freqs, two_pi = {}, 2 * math.pi
  for j = 0, head_dim / 2 - 1 do
    local f = rope.rope_theta ^ (-2 * j / head_dim)
    if rope.rope_type == "llama3" then
      local waves = rope.original_max_position_embeddings * f / two_pi    -- context / wavelength
      local s = (waves - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
      s = math.max(0, math.min(1, s))
      f = (1 - s) * f / rope.factor + s * f
    elseif rope.rope_type == "linear" then
      f = f / rope.factor
    elseif rope.rope_type ~= "default" then
      rl.raise("config.json: rope_type: expected default, linear or llama3, got %s", rope.rope_type)
    end
    freqs[j + 1] = f
  end
  return freqs
end

--- One decoder layer.  h [tokens, d], rope [tokens, head_dim], segments: who sees whom
--- -> [tokens, d].
local function block(m, name, c)
  local heads, kv, hd = c.num_attention_heads, c.num_key_value_heads, c.head_dim
  local d, bias, eps = c.hidden_size, c.attention_bias, c.rms_norm_eps
  local norm1 = m:rmsnorm(name .. ".input_layernorm", d, eps)
  local q_proj = m:linear(name .. ".self_attn.q_proj", heads * hd, d, bias)
  local k_proj = m:linear(name .. ".self_attn.k_proj", kv * hd, d, bias)
  local v_proj = m:linear(name .. ".self_attn.v_proj", kv * hd, d, bias)
  local o_proj = m:linear(name .. ".self_attn.o_proj", d, heads * hd, c.output_bias)
  local q_norm, k_norm
  if c.qk_norm then
    q_norm = m:rmsnorm(name .. ".self_attn.q_norm", hd, eps)
    k_norm = m:rmsnorm(name .. ".self_attn.k_norm", hd, eps)
  end
  local norm2 = m:rmsnorm(name .. ".post_attention_layernorm", d, eps)
  local gate = m:linear(name .. ".mlp.gate_proj", c.intermediate_size, d, c.mlp_bias)
  local up = m:linear(name .. ".mlp.up_proj", c.intermediate_size, d, c.mlp_bias)
  local down = m:linear(name .. ".mlp.down_proj", d, c.intermediate_size, c.mlp_bias)

  return function(h, rope, segments)
    local x = norm1(h)
    local q, k = q_proj(x):heads(hd), k_proj(x):heads(hd)
    if q_norm then q, k = q_norm(q), k_norm(k) end
    local v = v_proj(x):heads(hd)
    h = h + o_proj(q:rope(rope):attention(k:rope(rope), v, segments, hd ^ -0.5))
    x = norm2(h)
    return h + down(gate(x):swiglu(up(x)))
  end
end

--- Records the text side on m: embeddings of ids, then `around(h, i)` where a vision model adds
--- its features (i = 0: after the embedding, i: after layer i), layers, norm, head.
function llama.text(m, c, around)
  local prefix = "model"
  local ids, positions = m:ints("ids", "tokens"), m:ints("positions", "tokens")
  local segments = m:table "segments"
  local embed = m:param(prefix .. ".embed_tokens.weight", c.vocab_size, c.hidden_size)
  local h = ids:embedding(embed)
  h = m:output("inputs_embeds", around and around(h, 0) or h)
  local scaling = c.rope_parameters
  local rope = m:rope_table(positions, llama.inv_freq(scaling, c.head_dim), scaling.mrope_section)
  for i = 1, c.num_hidden_layers do
    h = block(m, ("%s.layers.%d"):format(prefix, i - 1), c)(m:mark(h), rope, segments)
    if i == 1 then m:output("hidden_layer0", h) end
    if around then h = around(h, i) end
  end
  m:output("hidden_last", m:mark(h))
  local w = m:head_weight(embed, c.tie_word_embeddings, c.vocab_size, c.hidden_size)
  m:head(h, m:rmsnorm(prefix .. ".norm", c.hidden_size, c.rms_norm_eps), w)
end

-- What a config must say where its class assumes nothing.
local needed = { "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
  "vocab_size" }

--- The text side of a config (normalised by hf_config) with what the family adds to it.
function llama.config(config)
  local c, family = config.text_config, config.model_type
  for _, name in ipairs(needed) do
    if not c[name] then rl.raise("config.json: %s: expected a number, found none", name) end
  end
  local qwen2 = family:find "^qwen2" ~= nil
  c.qk_norm = family:find "^qwen3" ~= nil
  c.output_bias = c.attention_bias and not qwen2 or false
  c.attention_bias = qwen2 or c.attention_bias or false
  c.tie_word_embeddings = config.tie_word_embeddings
  return c
end

--- The whole model on m.
function llama.record(m)
  llama.text(m, llama.config(m.config))
end

return llama
