--- A policy as a plain Hugging Face folder: safetensors under the names it was loaded with, and the
--- files beside them as they were.
local ffi = require "ffi"
local beside = require "rllava.beside"
local embedded = require "rllava.embedded"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local files = require "rllava.files"
local json = require "rllava.json"
local C, check = rl.C, rl.check

local model_file = {}

local SHARD = 5e9                    -- bytes of a file at most, but for a tensor that is larger
local bytes_of = { F32 = 4, BF16 = 2 }
local halves = { F16 = true, BF16 = true }

local function count_of(shape)
  local n = 1
  for _, d in ipairs(shape) do n = n * d end
  return n
end

--- The weights that the policy came from, where they still are.
local function source_of(policy)
  if not policy.path or not files.kind(policy.path) then return nil end
  local ok, source = pcall(require("rllava.weights").open, policy.path)
  return ok and source or nil
end

--- What is to be written, in the order of the source, then of the model: { name, dtype, shape,
--- bytes, and param (a parameter's name) or stored (copied as it is) }.
local function plan(policy, source, dtype)
  local list, taken = {}, {}
  local function add(name, key, shape, stored_dtype)
    local kind = dtype or (halves[stored_dtype] and "BF16" or "F32")
    list[#list + 1] = { name = key, param = name, dtype = kind, shape = shape,
      bytes = count_of(shape) * bytes_of[kind] }
  end
  for _, name in ipairs(policy.model.names) do
    local key = policy.keys and policy.keys(name) or name
    local info = source and source:has(name) and source:info(name)
    add(name, key, policy.model.params[name].shape, info and info.dtype)
    taken[key] = true
  end
  for _, name in ipairs(source and not source.gguf and source:names() or {}) do
    if not taken[name] then
      local info, t = source:info(name), source:find(name)
      list[#list + 1] = { name = name, stored = t.stored, dtype = info.dtype, shape = info.shape,
        bytes = t.stored.bytes }
    end
  end
  return list
end

--- Cuts the list into files of at most so many bytes.
local function shards_of(list, limit)
  local shards, room = {}, 0
  for _, t in ipairs(list) do
    if #shards == 0 or t.bytes > room then shards[#shards + 1], room = {}, limit end
    table.insert(shards[#shards], t)
    room = room - t.bytes
  end
  return shards
end

local function u64(n) return ffi.string(ffi.new("uint64_t[1]", n), 8) end

--- The header: names, dtypes, shapes, offsets; filled with blanks so that the data stands at a
--- multiple of 8.
local function header(list)
  local members, at = { { "__metadata__", json.object { { "format", "pt" } } } }, 0
  for _, t in ipairs(list) do
    members[#members + 1] = { t.name, json.object {
      { "dtype", t.dtype }, { "shape", json.array(t.shape) },
      { "data_offsets", json.array { at, at + t.bytes } } } }
    at = at + t.bytes
  end
  local text = json.encode(json.object(members))
  text = text .. (" "):rep(-#text % 8)
  return u64(#text) .. text
end

local function write_tensor(out, policy, t)
  if t.stored then return check(C.rl_output_write(out, t.stored.data, t.bytes)) end
  tensor.scope(function()
    local n = count_of(t.shape)
    local values = tensor.zeros(n):data()
    check(C.rl_param_get(policy.model.params[t.param].tensor, values))
    check(C.rl_output_floats(out, values, n, t.dtype == "BF16" and 1 or 0))
  end)
end

local function write_shard(path, policy, list)
  files.stream(path, 0, function(out)
    local head = header(list)
    check(C.rl_output_write(out, head, #head))
    for _, t in ipairs(list) do write_tensor(out, policy, t) end
  end)
end

local function write_index(folder, names, shards)
  local members, total = {}, 0
  for k, list in ipairs(shards) do
    for _, t in ipairs(list) do
      members[#members + 1], total = { t.name, names[k] }, total + t.bytes
    end
  end
  files.write(files.join(folder, "model.safetensors.index.json"), json.encode(json.object {
    { "metadata", json.object { { "total_size", total } } },
    { "weight_map", json.object(members) } }))
end

local left_out = { "%.safetensors$", "%.index%.json$", "%.bin$", "%.pth?$", "%.gguf$", "%.h5$",
  "%.msgpack$", "%.onnx$", "^checkpoint%.json$", "^state%.zst$", "^config%.json$", "^%." }

local function is_copied(name)
  for _, pattern in ipairs(left_out) do if name:find(pattern) then return false end end
  return true
end

--- Tokenizer, processor, generation config and whatever else stands beside the weights.
local function copy_beside(policy, folder)
  local path = policy.path
  for _, name in ipairs(path and beside.is(path) and beside.names(path) or {}) do
    if is_copied(name) and (files.size(files.join(path, name)) or 0) < 2 ^ 28 then
      files.write(files.join(folder, name), (beside.read(path, name)))
    end
  end
  for _, name in ipairs(embedded.names()) do
    local prefix = path and path:match "^house:(.*)$"
    local rest = prefix and name:sub(1, #prefix + 1) == prefix .. "/" and name:sub(#prefix + 2)
    if rest and not rest:find "/" and is_copied(rest) then
      files.write(files.join(folder, rest), embedded.read(name))
    end
  end
end

local names_of = { F32 = "float32", BF16 = "bfloat16" }

--- config.json as it was loaded, with the dtype that is written.
local function write_config(policy, folder, dtype)
  local members = {}
  for _, k in ipairs(json.keys(policy.raw_config)) do
    local v = policy.raw_config[k]
    if dtype and (k == "torch_dtype" or k == "dtype") then v = names_of[dtype] end
    members[#members + 1] = { k, v }
  end
  files.write(files.join(folder, "config.json"), json.encode(json.object(members)))
end

--- Writes the policy into an empty folder.  dtype: "f32", "bf16", or nil: each tensor as it was
--- loaded (f32 where it was not).  limit: bytes of a shard.  -> were all parameters written in f32,
--- so that they read back exactly?
function model_file.save(folder, policy, dtype, limit)
  local source = source_of(policy)
  local list = plan(policy, source, dtype and dtype:upper())
  local exact, shards, names = true, shards_of(list, limit or SHARD), {}
  for _, t in ipairs(list) do exact = exact and (t.stored ~= nil or t.dtype == "F32") end
  for k, shard in ipairs(shards) do
    names[k] = #shards == 1 and "model.safetensors"
      or ("model-%05d-of-%05d.safetensors"):format(k, #shards)
    write_shard(files.join(folder, names[k]), policy, shard)
  end
  if #shards > 1 then write_index(folder, names, shards) end
  if source then source:close() end
  write_config(policy, folder, dtype and dtype:upper())
  copy_beside(policy, folder)
  return exact
end

--- Reads every parameter from such a folder.
function model_file.load(folder, policy)
  local source = require("rllava.weights").open(folder)
  for _, name in ipairs(policy.model.names) do
    local p = policy.model.params[name]
    source:expect(name, p.shape)
    tensor.scope(function()
      local n = count_of(p.shape)
      local values = tensor.zeros(n):data()
      source:read_f32(name, values, n)
      check(C.rl_param_set(p.tensor, values))
    end)
  end
  source:close()
end

return model_file
