--- config.json and generation_config.json of the keys of a GGUF file: llama, qwen2 and qwen3.
local ffi = require "ffi"
local json = require "rllava.json"
local rl = require "rllava.ffi"

local config = {}

local classes = { llama = "LlamaForCausalLM", qwen2 = "Qwen2ForCausalLM",
  qwen3 = "Qwen3ForCausalLM" }

--- The shortest decimal of a 32-bit float: 1e-05 for 9.99999975e-06.
local function shortest(x)
  for digits = 6, 9 do
    local s = tonumber(("%." .. digits .. "g"):format(x))
    if ffi.new("float", s) == x then return s end
  end
  return x
end

--- The head's dimension must be what is rotated.
local function head_dim(g)
  local n = g:head_dim()
  local rotated = g:value(g.architecture .. ".rope.dimension_count", "number") or n
  if n % 2 ~= 0 or rotated ~= n then
    rl.raise("%s: key '%s.rope.dimension_count': expected %g, all of an even head, found %g",
      g.path, g.architecture, n, rotated)
  end
  return n
end

--- The divisors of a llama's frequencies that the file holds as a tensor; nil: none.
local function divisors(g, n)
  local stored = g:find "rope_freqs.weight"
  if not stored then return nil end
  if stored.count ~= n then
    rl.raise("%s: tensor 'rope_freqs.weight': expected [%d], found %.0f elements", g.path, n,
      stored.count)
  end
  local list, out = ffi.new("float[?]", n), {}
  rl.check(rl.C.rl_stored_read(stored, 0, n, list))
  for j = 1, n do out[j] = list[j - 1] end
  return out
end

--- Llama 3's rope_scaling, whose factor is the largest divisor; its other numbers are the same in
--- every model of that kind, and divisors that do not come from them are refused.
local function llama3(g, theta, dim)
  local found = divisors(g, dim / 2)
  if not found then return nil end
  local rope = json.object { { "rope_type", "llama3" },
    { "factor", shortest(math.max(unpack(found))) }, { "low_freq_factor", 1 },
    { "high_freq_factor", 4 }, { "original_max_position_embeddings", 8192 } }
  local inv_freq = require("rllava.model.llama").inv_freq
  local plain = inv_freq({ rope_type = "default", rope_theta = theta }, dim)
  local scaled = inv_freq(setmetatable({ rope_theta = theta }, { __index = rope }), dim)
  for j, f in ipairs(scaled) do
    if not (math.abs(plain[j] / f / found[j] - 1) < 1e-4) then
      rl.raise("%s: tensor 'rope_freqs.weight': element %d: expected %g, as llama3 scales by %g, "
        .. "found %g", g.path, j - 1, plain[j] / f, rope.factor, found[j])
    end
  end
  return rope
end

local function rope_scaling(g, theta, dim)
  local kind = g:value(g.architecture .. ".rope.scaling.type", "text") or "none"
  if kind == "linear" then
    return json.object { { "rope_type", "linear" },
      { "factor", shortest(g:expect(g.architecture .. ".rope.scaling.factor", "number")) } }
  elseif kind ~= "none" then
    rl.raise("%s: key '%s.rope.scaling.type': expected none or linear, found %s", g.path,
      g.architecture, kind)
  end
  return llama3(g, theta, dim) or json.null
end

local function vocab_size(g)
  local embedding = g:find "token_embd.weight"
  if not embedding or embedding.ndim ~= 2 then
    rl.raise("%s: tensor 'token_embd.weight': expected a matrix, found %s", g.path,
      embedding and "another shape" or "none")
  end
  return embedding.dim[0]
end

--- Ids that end a response: the end of the text and, where it is another, the end of a turn.
local function ends(g)
  local eos = g:value("tokenizer.ggml.eos_token_id", "number")
  local eot = g:value("tokenizer.ggml.eot_token_id", "number")
  if eot and eot ~= eos then return eos and json.array { eos, eot } or eot end
  return eos or json.null
end

--- Refuses other kinds of models.
local function check_kind(g)
  local a = g.architecture
  if not classes[a] then
    rl.raise("%s: key 'general.architecture': expected llama, qwen2 or qwen3, found %s", g.path, a)
  end
  local experts = g:value(a .. ".expert_count", "number") or 0
  if experts > 0 then
    rl.raise("%s: key '%s.expert_count': expected no experts, found %d", g.path, a, experts)
  end
end

local function or_null(v) return v == nil and json.null or v end

config["config.json"] = function(g)
  check_kind(g)
  local a = g.architecture
  local function number(key) return g:expect(a .. "." .. key, "number") end
  local function optional(key) return g:value(a .. "." .. key, "number") end
  local theta, dim = shortest(optional "rope.freq_base" or 1e4), head_dim(g)
  local heads = number "attention.head_count"
  return json.encode(json.object {
    { "architectures", json.array { classes[a] } }, { "model_type", a },
    { "hidden_size", number "embedding_length" },
    { "intermediate_size", number "feed_forward_length" },
    { "num_hidden_layers", number "block_count" }, { "num_attention_heads", heads },
    { "num_key_value_heads", optional "attention.head_count_kv" or heads }, { "head_dim", dim },
    { "hidden_act", "silu" }, { "max_position_embeddings", number "context_length" },
    { "rms_norm_eps", shortest(number "attention.layer_norm_rms_epsilon") },
    { "rope_theta", theta }, { "rope_scaling", rope_scaling(g, theta, dim) },
    { "vocab_size", vocab_size(g) },
    { "attention_bias", a ~= "qwen2" and g:find "blk.0.attn_q.bias" ~= nil },
    { "mlp_bias", g:find "blk.0.ffn_up.bias" ~= nil },
    { "tie_word_embeddings", not g:find "output.weight" },
    { "bos_token_id", or_null(g:value("tokenizer.ggml.bos_token_id", "number")) },
    { "eos_token_id", ends(g) }, { "torch_dtype", "float32" } })
end

config["generation_config.json"] = function(g)
  local function id(name) return or_null(g:value("tokenizer.ggml." .. name, "number")) end
  return json.encode(json.object { { "bos_token_id", id "bos_token_id" },
    { "eos_token_id", ends(g) }, { "pad_token_id", id "padding_token_id" } })
end

return config
