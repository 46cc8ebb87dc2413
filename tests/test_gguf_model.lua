--- Models out of GGUF files: parameters, config, tokens and chat as of the folder they stand for.
local ffi = require "ffi"
local T = require "check"
local file = require "gguf_file"
local files = require "rllava.files"
local gguf = require "rllava.gguf"
local json = require "rllava.json"
local model_file = require "rllava.model_file"
local model_source = require "rllava.model_source"
local policy = require "rllava.policy"
local rl = require "rllava.ffi"
local tokenizer = require "rllava.tokenizer"
local C, check = rl.C, rl.check

local tiny = "tests/golden/models/smollm2-tiny-bf16"
local scratch = os.tmpname()
os.remove(scratch)
files.make_folder(scratch)

--- ---- the other way: a policy's parameters as a GGUF file ----

local parts = { input_layernorm = "attn_norm", post_attention_layernorm = "ffn_norm",
  ["self_attn.q_proj"] = "attn_q", ["self_attn.k_proj"] = "attn_k", ["self_attn.v_proj"] = "attn_v",
  ["self_attn.o_proj"] = "attn_output", ["self_attn.q_norm"] = "attn_q_norm",
  ["self_attn.k_norm"] = "attn_k_norm", ["mlp.gate_proj"] = "ffn_gate", ["mlp.up_proj"] = "ffn_up",
  ["mlp.down_proj"] = "ffn_down" }
local whole = { ["model.embed_tokens.weight"] = "token_embd.weight",
  ["model.norm.weight"] = "output_norm.weight", ["lm_head.weight"] = "output.weight" }

local function short(name)
  local n, part, kind = name:match "^model%.layers%.(%d+)%.(.*)%.(%a+)$"
  return whole[name] or ("blk.%d.%s.%s"):format(n, parts[part], kind)
end

--- Numbers of a parameter, and its columns.
local function numbers(p, name)
  local param, n = p.model.params[name], 1
  for _, d in ipairs(param.shape) do n = n * d end
  local x = ffi.new("float[?]", n)
  check(C.rl_param_get(param.tensor, x))
  return x, n, param.shape[2] or 1, param.shape
end

--- As llama.cpp turns heads: halves of a head become neighbours.
local function turned(x, n, columns, head)
  local y = ffi.new("float[?]", n)
  for row = 0, n / columns - 1 do
    local i = row % head
    local to = row - i + (i < head / 2 and 2 * i or 2 * (i - head / 2) + 1)
    ffi.copy(y + to * columns, x + row * columns, 4 * columns)
  end
  return y
end

local function tensors(p)
  local list, llama = {}, p.config.model_type == "llama"
  for i, name in ipairs(p.model.names) do
    local x, n, columns, shape = numbers(p, name)
    if llama and name:find "self_attn%.[qk]_proj" then
      x = turned(x, n, columns, p.config.text_config.head_dim)
    end
    local dims = {}
    for k = #shape, 1, -1 do dims[#dims + 1] = shape[k] end
    list[i] = { short(name), dims, "F32", ffi.string(x, 4 * n) }
  end
  return list
end

local function divisors(c)
  local llama, out = require "rllava.model.llama", {}
  local plain = llama.inv_freq({ rope_type = "default", rope_theta = c.rope_parameters.rope_theta },
    c.head_dim)
  for j, f in ipairs(llama.inv_freq(c.rope_parameters, c.head_dim)) do out[j] = plain[j] / f end
  return { "rope_freqs.weight", { #out }, "F32",
    ffi.string(ffi.new("float[?]", #out, out), 4 * #out) }
end

local function keys(p)
  local c, a = p.config.text_config, p.config.model_type
  return { { "general.architecture", "text", a },
    { a .. ".block_count", "u32", c.num_hidden_layers }, { a .. ".context_length", "u32", 512 },
    { a .. ".embedding_length", "u32", c.hidden_size },
    { a .. ".feed_forward_length", "u32", c.intermediate_size },
    { a .. ".attention.head_count", "u32", c.num_attention_heads },
    { a .. ".attention.head_count_kv", "u32", c.num_key_value_heads },
    { a .. ".attention.key_length", "u32", c.head_dim },
    { a .. ".attention.layer_norm_rms_epsilon", "f32", c.rms_norm_eps },
    { a .. ".rope.freq_base", "f32", c.rope_parameters.rope_theta },
    { a .. ".rope.dimension_count", "u32", c.head_dim },
    { "tokenizer.ggml.eos_token_id", "u32", 5 }, { "tokenizer.ggml.eot_token_id", "u32", 0 } }
end

local function with(list, ...)
  local out = {}
  for i, k in ipairs(list) do out[i] = k end
  for _, k in ipairs { ... } do out[#out + 1] = k end
  return out
end

local function same_parameters(p, q)
  T.equal(q.model.names, p.model.names)
  for _, name in ipairs(p.model.names) do
    local x, n = numbers(p, name)
    local y, m = numbers(q, name)
    T.equal(m, n)
    assert(ffi.string(x, 4 * n) == ffi.string(y, 4 * n), name)
  end
end

local compared = { "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
  "num_key_value_heads", "head_dim", "rms_norm_eps", "vocab_size", "tie_word_embeddings",
  "rope_theta", "attention_bias", "qk_norm" }

--- A text model of the goldens as a GGUF file.
local function as_gguf(folder, name)
  local p = policy.load(folder)
  local list, rope = tensors(p), p.config.text_config.rope_parameters
  if rope.rope_type == "llama3" then
    rope.original_max_position_embeddings, rope.low_freq_factor, rope.high_freq_factor = 8192, 1, 4
    list[#list + 1] = divisors(p.config.text_config)
  end
  return p, file.write(files.join(scratch, name .. ".gguf"), keys(p), list)
end

for _, name in ipairs(T.list(T.goldens .. "/models")) do
  local folder = T.goldens .. "/models/" .. name
  local kind = files.kind(folder .. "/config.json")
    and json.decode(files.read(folder .. "/config.json"), folder).model_type
  if kind == "llama" or kind == "qwen2" or kind == "qwen3" then
    T.test("GGUF: " .. name .. " as a file: the same config and parameters, saved too", function()
      local p, path = as_gguf(folder, name)
      local q = policy.load(path)
      same_parameters(p, q)
      for _, k in ipairs(compared) do
        T.equal({ k, q.config.text_config[k] }, { k, p.config.text_config[k] })
      end
      local a, b = p.config.text_config.rope_parameters, q.config.text_config.rope_parameters
      T.equal({ b.rope_type, b.rope_theta }, { a.rope_type, a.rope_theta })
      T.near(b.factor or 0, a.factor or 0, 1e-6)
      T.equal(q:stop_ids(), { 5, 0 })
      local saved = files.join(scratch, name .. "-saved")
      files.make_folder(saved)
      T.raises("key 'tokenizer.ggml.model': expected a text, found none", function()
        model_file.save(saved, q)
      end)
    end)
  end
end

--- ---- tokenizers ----

local function read_tokenizer(name)
  local path = ("%s/tokenizers/%s/tokenizer.json"):format(T.goldens, name)
  return files.kind(path) and json.decode(files.read(path), path), path
end

--- The keys that stand for a tokenizer.json.
local function tokenizer_keys(t, model, pre)
  local texts, types, merges, n = {}, {}, {}, 0
  for text, id in pairs(t.model.vocab) do
    texts[id + 1], types[id + 1], n = text, 1, math.max(n, id + 1)
  end
  for _, a in ipairs(t.added_tokens) do
    texts[a.id + 1], types[a.id + 1], n = a.content, a.special and 3 or 4, math.max(n, a.id + 1)
  end
  for i = 1, n do
    texts[i], types[i] = texts[i] or ("[PAD%d]"):format(i - 1), types[i] or 5
    if model == "llama" and texts[i]:find "^<0x%x%x>$" then types[i] = 6 end
  end
  for i, m in ipairs(t.model.merges) do
    merges[i] = type(m) == "table" and m[1] .. " " .. m[2] or m
  end
  local list = { { "tokenizer.ggml.model", "text", model },
    { "tokenizer.ggml.tokens", "text list", texts },
    { "tokenizer.ggml.token_type", "i32 list", types } }
  if model == "gpt2" then
    return with(list, { "tokenizer.ggml.merges", "text list", merges },
      { "tokenizer.ggml.pre", "text", pre })
  end
  local scores = {}
  for i = 1, n do scores[i] = types[i] == 1 and 259 - i or 0 end
  return with(list, { "tokenizer.ggml.scores", "f32 list", scores },
    { "tokenizer.ggml.unknown_token_id", "u32", 0 })
end

--- The ids that special tokens begin a text with.
local function bos_of(t, list)
  local single = t.post_processor ~= json.null and t.post_processor
  for _, processor in ipairs(single and single.processors or { single or nil }) do
    if processor.type == "TemplateProcessing" then
      local name = processor.single[1].SpecialToken.id
      list[#list + 1] = { "tokenizer.ggml.bos_token_id", "u32",
        processor.special_tokens[name].ids[1] }
    end
  end
  return list
end

local kinds = { { "smollm2", "gpt2", "smollm" }, { "qwen_small", "gpt2", "qwen2" },
  { "qwen", "gpt2", "qwen2" }, { "llama3_small", "gpt2", "llama-bpe" }, { "llama2_spm", "llama" } }
for _, kind in ipairs(kinds) do
  local t, path = read_tokenizer(kind[1])
  if t then
    T.golden(path .. " through GGUF", function()
      local keys = bos_of(t, tokenizer_keys(t, kind[2], kind[3]))
      local g = gguf.open(file.write(files.join(scratch, kind[1] .. ".gguf"),
        with(keys, { "general.architecture", "text", "llama" }), {}))
      local made, own = tokenizer.parse(g:file "tokenizer.json", g.path),
        tokenizer.parse(files.read(path), path)
      for line in files.read(files.join(files.folder(path), "cases.jsonl")):gmatch "[^\n]+" do
        local text = json.decode(line, path).text
        for _, special in ipairs { false, true } do
          local ids = made:encode(text, special)
          if table.concat(ids, " ") ~= table.concat(own:encode(text, special), " ") then
            error(("%q: other ids than of tokenizer.json"):format(text), 0)
          end
          if made:decode(ids) ~= own:decode(ids) then
            error(("%q: decoded otherwise"):format(text), 0)
          end
        end
      end
      g:close()
      return 0
    end)
  end
end

local words = { "<s>", "a", "b", "Ġ", "ab", "<end>", "c" }
local small = { { "tokenizer.ggml.model", "text", "gpt2" },
  { "tokenizer.ggml.pre", "text", "gpt-2" }, { "tokenizer.ggml.tokens", "text list", words },
  { "tokenizer.ggml.token_type", "i32 list", { 3, 1, 1, 1, 1, 3, 4 } },
  { "tokenizer.ggml.merges", "text list", { "a b" } }, { "tokenizer.ggml.bos_token_id", "u32", 0 },
  { "tokenizer.chat_template", "text", "{% for m in messages %}{{ m.content }}<end>{% endfor %}" } }

T.test("GGUF: a policy has tokenizer and chat, and so has the folder it is saved as", function()
  local p = policy.load(tiny)
  local path = file.write(files.join(scratch, "small.gguf"), with(keys(p), unpack(small)),
    tensors(p))
  local q = policy.load(path)
  T.equal(q.chat:render { { role = "user", content = "ab" } }, "ab<end>")
  T.equal(q.tokenizer:encode "ab abc<end>", { 4, 3, 4, 6, 5 })
  T.equal({ q.tokenizer.bos_token, q.tokenizer:is_special(5), q.tokenizer:is_special(6) },
    { "<s>", true, false })
  local saved = files.join(scratch, "saved")
  files.make_folder(saved)
  T.equal(model_file.save(saved, q), true)
  T.equal(files.list(saved), { "config.json", "generation_config.json", "model.safetensors",
    "tokenizer.json", "tokenizer_config.json" })
  local r = policy.load(saved)
  same_parameters(q, r)
  T.equal(r.config, q.config)
  T.equal({ r.tokenizer:encode "ab abc<end>", r:stop_ids() }, { { 4, 3, 4, 6, 5 }, { 5, 0 } })
  T.equal(r.chat:render { { role = "user", content = "ab" } }, "ab<end>")
end)

--- ---- places ----

T.test("GGUF: a folder with one such file is that model, with two it is refused", function()
  local folder = files.join(scratch, "folder")
  files.make_folder(folder)
  local p = policy.load(tiny)
  file.write(files.join(folder, "m.gguf"), keys(p), tensors(p))
  T.equal(policy.load(folder).path, folder .. "/m.gguf")
  file.write(files.join(folder, "n.gguf"), keys(p), tensors(p))
  T.raises("expected one .gguf file, found 2; name one of them: m.gguf, n.gguf", function()
    policy.load(folder)
  end)
end)

T.test("a packaged model that is not here says what to run without a network", function()
  local p = io.popen(("RLLAVA_CACHE=%s RLLAVA_OFFLINE=1 %s -e '%s' 2>&1"):format(scratch, arg[0],
    [[require("rllava.policy").load "smollm2-135m"]]))
  local text = p:read "*a"
  p:close()
  T.equal(text:match "model smollm2.*",
    "model smollm2-135m: SmolLM2-135M-Instruct is needed and not here, and "
    .. "RLLAVA_OFFLINE=1 forbids to fetch it; where there is a network, run\n  "
    .. "rllava -e 'require \"rllava.model_source\".fetch \"smollm2-135m\"'\n")
end)

--- ---- what is refused ----

local function change(list, name, ...)
  local out = {}
  for i, k in ipairs(list) do out[i] = k[1] == name and { name, ... } or k end
  return out
end

local function drop(list, name)
  local out = {}
  for _, k in ipairs(list) do if k[1] ~= name then out[#out + 1] = k end end
  return out
end

T.test("GGUF: models that are not read are refused by name", function()
  local p = policy.load(tiny)
  local list, all = keys(p), tensors(p)
  local path = files.join(scratch, "bad.gguf")
  local function refused(message, new_keys, new_tensors)
    file.write(path, new_keys or list, new_tensors or all)
    T.raises(path .. ": " .. message, function() policy.load(path) end)
  end
  refused("key 'general.architecture': expected a text, found none",
    drop(list, "general.architecture"))
  refused("key 'general.architecture': expected llama, qwen2 or qwen3, found mamba",
    change(list, "general.architecture", "text", "mamba"))
  refused("key 'llama.block_count': expected a number, found none", drop(list, "llama.block_count"))
  refused("key 'llama.rope.dimension_count': expected 8, all of an even head, found 4",
    change(list, "llama.rope.dimension_count", "u32", 4))
  refused("key 'llama.rope.scaling.type': expected none or linear, found yarn",
    with(list, { "llama.rope.scaling.type", "text", "yarn" }))
  refused("key 'llama.expert_count': expected no experts, found 8",
    with(list, { "llama.expert_count", "u32", 8 }))
  refused("key 'split.count': expected a model in one file, found a part of 3",
    with(list, { "split.count", "u16", 3 }))
  refused("key 'llama.attention.head_count_kv': expected a number, found a list of numbers",
    change(list, "llama.attention.head_count_kv", "u32 list", { 1, 1 }))
  refused("tensor 'token_embd.weight': expected a matrix, found none", nil,
    drop(all, "token_embd.weight"))
  refused("tensor 'model.layers.0.self_attn.q_proj.weight': expected, found none", nil,
    drop(all, "blk.0.attn_q.weight"))
  refused("tensor 'blk.0.ffn_gate_exps.weight': expected one of a decoder of llama", nil,
    with(all, { "blk.0.ffn_gate_exps.weight", { 1 }, "F32", "\0\0\0\0" }))
  refused("tensor 'rope_freqs.weight': element 2: expected 1, as llama3 scales by 4, found 4", nil,
    with(all, { "rope_freqs.weight", { 4 }, "F32",
      file.number("f32", 1):rep(2) .. file.number("f32", 4):rep(2) }))
end)

T.test("GGUF: tokenizers that are not read are refused by name", function()
  local function refused(message, list)
    local g = gguf.open(file.write(files.join(scratch, "bad.gguf"),
      with(list, { "general.architecture", "text", "llama" }), {}))
    T.raises(message, function() tokenizer.parse(g:file "tokenizer.json", g.path) end)
    g:close()
  end
  refused("key 'tokenizer.ggml.model': expected gpt2 or llama, found bert",
    change(small, "tokenizer.ggml.model", "text", "bert"))
  refused("key 'tokenizer.ggml.pre': expected one of gpt-2",
    change(small, "tokenizer.ggml.pre", "text", "other"))
  refused("key 'tokenizer.ggml.tokens': expected each token once, found 'a' as 0 and 1",
    change(small, "tokenizer.ggml.tokens", "text list", { "a", "a", "b", "c", "d", "e", "f" }))
  refused("key 'tokenizer.ggml.token_type': expected 7 of them, one a token, found 1",
    change(small, "tokenizer.ggml.token_type", "i32 list", { 1 }))
  refused("key 'tokenizer.ggml.bos_token_id': expected an id below 7, found 7", with(
    change(small, "tokenizer.ggml.bos_token_id", "u32", 7),
      { "tokenizer.ggml.add_bos_token", "bool", true }))
  refused("model.merges[0]: expected tokens of the vocabulary, found 'x'",
    change(small, "tokenizer.ggml.merges", "text list", { "a x" }))
  refused("key 'tokenizer.ggml.scores': expected a list of numbers, found none",
    change(small, "tokenizer.ggml.model", "text", "llama"))
end)
