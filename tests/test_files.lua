local T = require "check"
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local weights = require "rllava.weights"

local scratch = os.tmpname()
os.remove(scratch)
files.make_folder(scratch)

--- A fresh folder for one test.
local function fresh(name)
  local folder = files.join(scratch, name)
  files.remove(folder)
  files.make_folder(folder)
  return folder
end

local function u64(n)
  local s = {}
  for i = 1, 8 do s[i], n = string.char(n % 256), math.floor(n / 256) end
  return table.concat(s)
end

--- A safetensors file from its header (text or list of {name, dtype, shape, begin, end}) and data.
local function st_file(path, header, data)
  if type(header) == "table" then
    local members = {}
    for i, t in ipairs(header) do
      members[i] = { t[1], json.object { { "dtype", t[2] }, { "shape", json.array(t[3]) },
        { "data_offsets", { t[4], t[5] } } } }
    end
    header = json.encode(json.object(members))
  end
  files.write(path, u64(#header) .. header .. (data or ""))
  return path
end

local function floats(w, name)
  local n = w:info(name).count
  local out = ffi.new("float[?]", n)
  w:read_f32(name, out, n)
  local t = {}
  for i = 1, n do t[i] = out[i - 1] end
  return t
end

T.test("a file is written aside and appears whole", function()
  local path = files.join(fresh "write", "a.txt")
  files.write(path, "one")
  files.write(path, "two\0three")
  T.equal(files.read(path), "two\0three")
  T.equal(files.list(files.folder(path)), { "a.txt" })
  T.equal(files.size(path), 9)
  T.raises("cannot create", function() files.write(scratch .. "/absent/x", "") end)
end)

T.test("folders are listed in order, made with parents, removed with content", function()
  local folder = fresh "folders"
  files.make_folder(folder .. "/b/c/d")
  files.write(folder .. "/a", "")
  T.equal(files.list(folder), { "a", "b" })
  T.equal({ files.kind(folder), files.kind(folder .. "/a"), files.kind(folder .. "/x") },
    { "folder", "file" })
  files.remove(folder)
  T.equal(files.kind(folder), nil)
  T.raises("cannot list: No such file or directory", function() files.list(folder) end)
  T.raises("expected a file, found a folder", function() files.read(scratch) end)
end)

T.test("a content hash sees one bit, length and order", function()
  local seen = {}
  for _, s in ipairs { "", "a", "a\0", "b", ("x"):rep(64), ("x"):rep(63) .. "y", ("x"):rep(63),
    "ab", "ba" } do
    local h = files.hash_text(s)
    T.equal(#h, 16)
    assert(not seen[h], "the same hash twice")
    seen[h] = true
  end
end)

T.test("crc32c has the published check value", function()
  T.equal(rl.C.rl_crc32c("123456789", 9), 0xe3069283)
end)

T.test("zstd gives buffers back, and refuses damage", function()
  local text = ("rllava "):rep(1000)
  local room = rl.C.rl_zstd_bound(#text)
  local packed = ffi.new("char[?]", room)
  local n = rl.check(rl.C.rl_zstd_compress(packed, room, text, #text, 3))
  assert(n < 100 and rl.C.rl_zstd_size(packed, n) == #text)
  local out = ffi.new("char[?]", #text)
  T.equal(rl.C.rl_zstd_decompress(out, #text, packed, n), #text)
  T.equal(ffi.string(out, #text), text)
  T.raises("zstd: cannot decompress", function()
    rl.check(rl.C.rl_zstd_decompress(out, #text, packed, n - 5))
  end)
  T.raises("zstd: expected a frame", function() rl.check(rl.C.rl_zstd_size("no frame", 8)) end)
end)

T.test("safetensors: plain formats become floats", function()
  local path = st_file(fresh "formats" .. "/x.safetensors", {
    { "f16", "F16", { 3 }, 0, 6 }, { "bf16", "BF16", { 2 }, 6, 10 },
    { "i8", "I8", { 1, 2 }, 10, 12 }, { "bool", "BOOL", { 2 }, 12, 14 },
    { "scalar", "F32", {}, 14, 18 }, { "none", "F32", { 0, 4 }, 18, 18 },
    { "i64", "I64", { 1 }, 18, 26 },
  }, "\0\60\1\0\0\252" .. "\128\191\0\64" .. "\255\2" .. "\0\7" .. "\0\0\32\65" .. ("\255"):rep(8))
  local w = weights.open(path)
  T.equal(w:names(), { "f16", "bf16", "i8", "bool", "scalar", "none", "i64" })
  T.equal(floats(w, "f16"), { 1, 2 ^ -24, -math.huge })
  T.equal(floats(w, "bf16"), { -1, 2 })
  T.equal(floats(w, "i8"), { -1, 2 })
  T.equal(floats(w, "bool"), { 0, 1 })
  T.equal(floats(w, "scalar"), { 10 })
  T.equal(floats(w, "none"), {})
  T.equal(floats(w, "i64"), { -1 })
  T.equal(w:info "i8", { dtype = "I8", shape = { 1, 2 }, count = 2, file = path })
  T.raises("tensor 'x': expected, found none", function() w:info "x" end)
  T.raises("tensor 'i8': expected 3 elements, found 2", function()
    w:read_f32("i8", ffi.new "float[3]", 3)
  end)
  T.raises("tensor 'i8': expected [2, 1], found [1, 2]", function() w:expect("i8", { 2, 1 }) end)
  w:close()
  T.raises("closed", function() w:read_f32("i8", ffi.new "float[2]", 2) end)
end)

local bad = {
  { "short", "abc", "expected a safetensors header, found 3 bytes" },
  { "long header", u64(2 ^ 40) .. "{}", "at most 100 MiB" },
  { "header beyond the end", u64(100) .. "{}", "a header of 100 bytes, but the file ends" },
  { "no object", u64(2) .. "[]", "expected '{' at byte 8" },
  { "broken json", u64(3) .. "{,}", "expected a string, found ','" },
  { "no fields", '{"a":{}}', "tensor 'a': expected dtype, shape and two data_offsets" },
  { "not an object", '{"a":1}', "tensor 'a': expected an object" },
  { "unknown dtype", { { "a", "F8_E4M3", { 1 }, 0, 1 } }, "found 'F8_E4M3'", "x" },
  { "quantised dtype", { { "a", "Q8_0", { 32 }, 0, 34 } }, "found 'Q8_0'", ("x"):rep(34) },
  { "negative shape", { { "a", "F32", { -1 }, 0, 4 } },
    "shape: expected whole numbers from 0, found -1", "xxxx" },
  { "fraction", { { "a", "F32", { 1.5 }, 0, 6 } },
    "shape: expected whole numbers from 0, found 1.5", "xxxxxx" },
  { "nine axes", { { "a", "U8", { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, 0, 1 } }, "at most 8 axes, found 9",
    "x" },
  { "huge", { { "a", "U8", { 2 ^ 50, 2 ^ 50 }, 0, 1 } }, "at most 2^46 elements", "x" },
  { "wrong size", { { "a", "F32", { 2 }, 0, 4 } },
    "expected 8 bytes for its shape and dtype, found offsets 0 to 4", "xxxx" },
  { "reversed", { { "a", "F32", { 1 }, 4, 0 } }, "found offsets 4 to 0", "xxxx" },
  { "truncated", { { "a", "F32", { 2 }, 0, 8 } },
    "expected to end at byte 8 of the data, but the file ends at 7", "xxxxxxx" },
  { "overlap", { { "a", "F32", { 2 }, 0, 8 }, { "b", "F32", { 2 }, 4, 12 } },
    "tensor 'b': overlaps 'a'", ("x"):rep(12) },
  { "gap", { { "a", "U8", { 1 }, 0, 1 }, { "b", "U8", { 1 }, 2, 3 } },
    "tensor 'b': expected to start at byte 1", "xxx" },
  { "tail", { { "a", "U8", { 1 }, 0, 1 } }, "expected 1 bytes of data, found 2", "xx" },
  { "twice", '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    .. '"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
    "tensor 'a': expected once, found twice", "xx" },
}
for _, case in ipairs(bad) do
  T.test("safetensors refuses: " .. case[1], function()
    local path = fresh "bad" .. "/bad.safetensors"
    local header = case[2]
    if type(header) == "string" and header:sub(1, 1) ~= "{" then files.write(path, header)
    else st_file(path, header, case[4]) end
    T.raises(case[3], function() weights.open(path) end)
    T.raises(path, function() weights.open(path) end)
  end)
end

--- A folder of two shards with an index.
local function sharded(name, index)
  local folder = fresh(name)
  st_file(folder .. "/model-00001-of-00002.safetensors", { { "a", "U8", { 1 }, 0, 1 } }, "\1")
  st_file(folder .. "/model-00002-of-00002.safetensors", { { "b", "U8", { 1 }, 0, 1 } }, "\2")
  if index then
    files.write(folder .. "/model.safetensors.index.json", json.encode { weight_map = index })
  end
  return folder
end
local one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

T.test("shards: with an index and without", function()
  for _, index in ipairs { false, { a = one, b = two } } do
    local w = weights.open(sharded("shards", index))
    T.equal(w:names(), { "a", "b" })
    T.equal(floats(w, "b"), { 2 })
    w:close()
  end
end)

T.test("shards: what is missing is named", function()
  local folder = sharded("missing", { a = one, b = two })
  files.remove(folder .. "/" .. two)
  T.raises("tensor 'b': expected in '" .. two .. "', which is absent", function()
    weights.open(folder)
  end)
  files.remove(folder .. "/model.safetensors.index.json")
  T.raises("expected 2 shards, found 1", function() weights.open(folder) end)
  T.raises("tensor 'c': expected in '" .. one .. "', which does not hold it", function()
    weights.open(sharded("absent", { a = one, b = two, c = one }))
  end)
  T.raises("tensor 'b': expected in '" .. one, function()
    weights.open(sharded("misplaced", { a = one, b = one }))
  end)
  T.raises("the name of a file in this folder, found '../x'", function()
    weights.open(sharded("outside", { a = "../x" }))
  end)
  T.raises("expected model.safetensors", function() weights.open(fresh "empty") end)
  T.raises("found nothing", function() weights.open(scratch .. "/nowhere") end)
end)

T.test("every spelling of a name finds the tensor", function()
  for spelling, name in pairs {
    ["language_model.model.layers.0.x"] = "model.layers.0.x",
    ["model.language_model.layers.0.x"] = "model.layers.0.x",
    ["language_model.lm_head.weight"] = "lm_head.weight",
    ["model.visual.blocks.0.x"] = "visual.blocks.0.x",
    ["vision_tower.vision_model.encoder.x"] = "vision_tower.encoder.x",
    ["model.vision_tower.vision_model.encoder.x"] = "vision_tower.encoder.x",
    ["vision_tower._vision_tower.vision_model.encoder.x"] = "vision_tower.encoder.x",
    ["connector._connector.2.bias"] = "multi_modal_projector.linear_2.bias",
    ["model.multi_modal_projector.linear_1.bias"] = "multi_modal_projector.linear_1.bias",
    ["base_model.model.model.layers.0.lora_A.default.weight"] = "model.layers.0.lora_A.weight",
    ["model.layers.0.x"] = "model.layers.0.x",
  } do T.equal(weights.canonical(spelling), name) end
  local w = weights.open(st_file(fresh "spelling" .. "/x.safetensors",
    { { "language_model.model.norm.weight", "U8", { 1 }, 0, 1 } }, "\5"))
  T.equal(floats(w, "model.language_model.norm.weight"), { 5 })
  T.equal(w:key "model.norm.weight", "language_model.model.norm.weight")
  T.raises("already given by 'model.norm.weight'", function()
    weights.open(st_file(scratch .. "/spelling/y.safetensors", {
      { "model.norm.weight", "U8", { 1 }, 0, 1 },
      { "language_model.model.norm.weight", "U8", { 1 }, 1, 2 } }, "xx"))
  end)
end)

T.test("config: both spellings mean the same", function()
  local hub = weights.config(json.decode [[{"model_type":"qwen2_vl","torch_dtype":"bfloat16",
    "hidden_size":96,"num_attention_heads":4,"rope_theta":5000.0,
    "rope_scaling":{"type":"mrope","mrope_section":[2,5,5]},"vision_config":{"in_chans":3},
    "sliding_window":8,"use_sliding_window":false}]])
  local v5 = weights.config(json.decode [[{"model_type":"qwen2_vl","dtype":"bfloat16",
    "text_config":{"model_type":"qwen2_vl_text","hidden_size":96,"num_attention_heads":4,
    "num_key_value_heads":null,
    "rope_parameters":{"rope_type":"default","rope_theta":5000.0,"mrope_section":[2,5,5]}},
    "vision_config":{"in_channels":3}}]])
  for _, c in ipairs { hub, v5 } do
    local text = c.text_config
    T.equal(text.rope_parameters,
      { rope_type = "default", rope_theta = 5000, mrope_section = { 2, 5, 5 } })
    T.equal({ text.head_dim, text.num_key_value_heads, text.hidden_size }, { 24, 4, 96 })
    T.equal({ c.dtype, c.tie_word_embeddings, text.rms_norm_eps }, { "bfloat16", false, 1e-5 })
    T.equal({ c.vision_config.in_channels, c.vision_config.in_chans }, { 3 })
    T.equal(text.sliding_window, nil)
  end
end)

T.test("config: the tied head follows the outer flag, then the family's rule", function()
  local function tied(text) return weights.config(json.decode(text)).tie_word_embeddings end
  T.equal(tied [[{"model_type":"llama"}]], false)
  T.equal(tied [[{"model_type":"llama","tie_word_embeddings":true}]], true)
  T.equal(tied [[{"model_type":"gemma3_text"}]], true)
  T.equal(tied [[{"model_type":"llava",
    "text_config":{"model_type":"qwen2","tie_word_embeddings":true}}]], true)
  T.equal(tied [[{"model_type":"llava","tie_word_embeddings":false,
    "text_config":{"model_type":"qwen2","tie_word_embeddings":true}}]], false)
  T.equal(tied [[{"model_type":"qwen3_vl",
    "text_config":{"model_type":"qwen3_vl_text","tie_word_embeddings":true}}]], false)
  T.raises("model_type: expected a text", function() weights.config(json.decode "{}", "c.json") end)
end)

for _, name in ipairs(T.list(T.goldens .. "/models")) do
  local folder = T.goldens .. "/models/" .. name
  if files.kind(folder .. "/golden.json") and not name:find "^lora" then
    T.golden("models/" .. name .. " (weights open, every tensor finite)", function()
      local golden = json.decode(files.read(folder .. "/golden.json"))
      local w = weights.open(folder)
      local n, total = #w:names(), 0
      for _, key in ipairs(w:names()) do
        for _, x in ipairs(floats(w, key)) do assert(x - x == 0, key) end
        total = total + w:info(key).count
      end
      T.equal({ n, total }, { golden.tensors, golden.n_params })
      assert(w.config.text_config.rope_parameters and w.config.dtype == golden.file_dtype)
      T.equal(w:has "lm_head.weight", not w.config.tie_word_embeddings)
      w:close()
      return 0
    end)
  end
end

files.remove(scratch)
