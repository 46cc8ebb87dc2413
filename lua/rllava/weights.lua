--- Weights in files: Hugging Face folders, single .safetensors files and GGUF behind one face.
---   local w = weights.open "folder";  w:read_f32("model.norm.weight", pointer, 576);  w:close()
local ffi = require "ffi"
local rl = require "rllava.ffi"
local json = require "rllava.json"
local files = require "rllava.files"
local gguf = require "rllava.gguf"
local hf_config = require "rllava.hf_config"
local C, check, raise = rl.C, rl.check, rl.raise

local weights = {}
local Weights = {}
Weights.__index = Weights

weights.config = hf_config.normalise

-- Spellings of the same tensor, in the order in which they are undone.
local spellings = {
  { "^base_model%.model%.", "" },                             -- PEFT adapters
  { "%.lora_([AB])%.default%.", ".lora_%1." },
  { "^language_model%.model%.", "model." },                   -- LLaVA as published
  { "^language_model%.lm_head%.", "lm_head." },
  { "^model%.language_model%.", "model." },                   -- live names of recent releases
  { "^language_model%.", "model." },
  { "^model%.visual%.", "visual." },
  { "^model%.vision_tower%.", "vision_tower." },
  { "^model%.multi_modal_projector%.", "multi_modal_projector." },
  { "^vision_tower%._vision_tower%.", "vision_tower." },      -- TinyLLaVA's own files
  { "^vision_tower%.vision_model%.", "vision_tower." },
  { "^connector%._connector%.0%.", "multi_modal_projector.linear_1." },
  { "^connector%._connector%.2%.", "multi_modal_projector.linear_2." },
}

--- One name for every spelling of a tensor: model.X and lm_head.weight for the language model,
--- visual.X (Qwen) or vision_tower.X and multi_modal_projector.X (LLaVA) for the rest.
function weights.canonical(name)
  for _, s in ipairs(spellings) do name = name:gsub(s[1], s[2]) end
  return name
end

--- The files that an index names, sorted, all of which must be there -> files, its map from tensors
--- to files.
local function indexed(path, has)
  local map = json.decode(files.read(path), path).weight_map
  if type(map) ~= "table" then raise("%s: weight_map: expected an object", path) end
  local parts, seen = {}, {}
  for _, name in ipairs(json.keys(map)) do
    local file = map[name]
    if type(file) ~= "string" or file:find("/", 1, true) then
      raise("%s: tensor '%s': expected the name of a file in this folder, found '%s'", path, name,
        tostring(file))
    elseif not has[file] then
      raise("%s: tensor '%s': expected in '%s', which is absent", path, name, file)
    end
    if not seen[file] then seen[file], parts[#parts + 1] = true, file end
  end
  table.sort(parts)
  return parts, map
end

--- The names that are shards, which must be all of them; an empty list where there is none.
local function numbered(folder, names)
  local parts = {}
  for _, name in ipairs(names) do
    local k, n = name:match "^model%-(%d+)%-of%-(%d+)%.safetensors$"
    if k then
      parts[#parts + 1] = name
      if tonumber(k) ~= #parts then
        raise("%s: expected shard %d of %d, found '%s'", folder, #parts, tonumber(n), name)
      end
    end
  end
  local count = #parts > 0 and tonumber(parts[1]:match "of%-(%d+)")
  if count and count ~= #parts then
    raise("%s: expected %d shards, found %d", folder, count, #parts)
  end
  return parts
end

--- Files in the order of their names; an index (or nil), which says what each holds, and its path.
local function shards(folder)
  local names, has = files.list(folder), {}
  for _, name in ipairs(names) do has[name] = true end
  if has["model.safetensors"] then return { "model.safetensors" } end
  local index = "model.safetensors.index.json"
  if has[index] then
    local path = files.join(folder, index)
    local parts, map = indexed(path, has)
    return parts, map, path
  end
  local parts = numbered(folder, names)
  if #parts > 0 then return parts end
  if has["adapter_model.safetensors"] then return { "adapter_model.safetensors" } end
  raise("%s: expected model.safetensors, shards of it, or a .gguf file, found none", folder)
end

--- Adds a tensor under its name; two spellings of one tensor are refused.
function Weights:add(name, stored, file)
  local key = weights.canonical(name)
  local other = self.by_name[key]
  if other then
    raise("%s: tensor '%s': already given by '%s' in %s", file, name, other.name, other.file)
  end
  local t = { name = name, stored = stored, file = file }
  self.by_name[key], self.list[#self.list + 1] = t, t
  return t
end

local function open_safetensors(self, path)
  local st = ffi.gc(check(C.rl_safetensors_open(path)), C.rl_safetensors_close)
  self.open[#self.open + 1] = function() C.rl_safetensors_close(ffi.gc(st, nil)) end
  for i = 0, C.rl_safetensors_count(st) - 1 do
    local stored = C.rl_safetensors_at(st, i)
    self:add(ffi.string(stored.name), stored, path)
  end
end

--- A GGUF file: its tensors under Hugging Face names, its keys as config.json and
--- generation_config.json.
local function open_gguf(self, path)
  local g = gguf.open(path)
  self.open[#self.open + 1], self.gguf = function() g:close() end, g
  self.raw_config = json.decode(g:file "config.json", path)
  self.generation_config = json.decode(g:file "generation_config.json", path)
  self.config = weights.config(self.raw_config, path)
  for _, t in ipairs(g:tensors()) do self:add(t.name, t.stored, path).head_rows = t.head_rows end
end

local function open_shards(self, folder)
  local parts, map, index = shards(folder)
  for _, part in ipairs(parts) do open_safetensors(self, files.join(folder, part)) end
  for _, name in ipairs(map and json.keys(map) or {}) do
    local t = self.by_name[weights.canonical(name)]
    if not t or t.name ~= name then
      raise("%s: tensor '%s': expected in '%s', which does not hold it", index, name, map[name])
    elseif files.name(t.file) ~= map[name] then
      raise("%s: tensor '%s': expected in '%s', found in '%s'", index, name, map[name],
        files.name(t.file))
    end
  end
end

local function read_json(path)
  return files.kind(path) == "file" and json.decode(files.read(path), path) or nil
end

--- path: a Hugging Face folder (one file, or shards), a folder with one .gguf file, a .safetensors
--- or a .gguf file -> weights.
--- .config: its config.json through weights.config, .raw_config as it is written,
--- .generation_config; each nil where there is none.  Everything is checked here: missing shards,
--- an index that names an absent file or tensor, headers, truncated files.
function weights.open(path)
  local self = setmetatable({ path = path, by_name = {}, list = {}, open = {} }, Weights)
  local kind = files.kind(path)
  if not kind then
    raise("%s: expected a model folder, a .safetensors or a .gguf file, found nothing", path)
  end
  local as_gguf = kind == "folder" and gguf.inside(path) or gguf.is(path) and path
  if as_gguf then
    open_gguf(self, as_gguf)
  elseif kind == "folder" then
    open_shards(self, path)
    local config = files.join(path, "config.json")
    self.raw_config = read_json(config)
    self.generation_config = read_json(files.join(path, "generation_config.json"))
    self.config = self.raw_config and weights.config(self.raw_config, config)
  else
    open_safetensors(self, path)
  end
  return self
end

--- The names as the file spells them, in its order.
function Weights:names()
  local names = {}
  for i, t in ipairs(self.list) do names[i] = t.name end
  return names
end

--- Is there a tensor of this name, in any spelling?
function Weights:has(name) return self.by_name[weights.canonical(name)] ~= nil end

--- The file's spelling of a name (to save under), or nil.
function Weights:key(name)
  local t = self.by_name[weights.canonical(name)]
  return t and t.name
end

function Weights:find(name)
  if self.closed then raise("%s: these weights are closed", self.path) end
  return self.by_name[weights.canonical(name)]
    or raise("%s: tensor '%s': expected, found none", self.path, name)
end

--- dtype as the file names it, shape (a list), count of elements, the file.
function Weights:info(name)
  local t = self:find(name)
  local stored, shape = t.stored, {}
  for i = 1, stored.ndim do shape[i] = stored.dim[i - 1] end
  return { dtype = ffi.string(stored.dtype), shape = shape, count = stored.count, file = t.file }
end

--- Refuses unless the tensor has this shape.
function Weights:expect(name, shape)
  local info = self:info(name)
  local got, want = table.concat(info.shape, ", "), table.concat(shape, ", ")
  if got ~= want then
    raise("%s: tensor '%s': expected [%s], found [%s]", info.file, name, want, got)
  end
end

--- Converts a tensor to float: out [count], which must be all of it; or, with first, the elements
--- first .. first+count-1 (whole rows).
function Weights:read_f32(name, out, count, first)
  local t = self:find(name)
  if not first and count ~= t.stored.count then
    raise("%s: tensor '%s': expected %.0f elements, found %.0f", t.file, name, count,
      t.stored.count)
  end
  out = ffi.cast("float *", out)
  if t.head_rows then return gguf.read_heads(t.stored, t.head_rows, first or 0, count, out) end
  check(C.rl_stored_read(t.stored, first or 0, count, out))
end

--- Unmaps the files; pointers into them are dead from here on.
function Weights:close()
  self.closed = true
  for _, close in ipairs(self.open) do close() end
  self.open = {}
end

return weights
