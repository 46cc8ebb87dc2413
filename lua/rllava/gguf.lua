--- GGUF files: their keys, their tensors under Hugging Face names, and the files of a Hugging Face
--- folder that the keys stand for.
---
---   g = gguf.open "model.gguf"
---   g:value "llama.block_count"     g:tensors()     g:file "config.json"     g:close()
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local C, check = rl.C, rl.check

local gguf = {}
local Gguf = {}
Gguf.__index = Gguf

local length = ffi.new "int[1]"

--- path: a .gguf file, checked completely -> g; g.architecture: llama, qwen2 or qwen3.
function gguf.open(path)
  local handle = ffi.gc(check(C.rl_gguf_open(path)), C.rl_gguf_close)
  local g = setmetatable({ path = path, handle = handle, made = {} }, Gguf)
  local parts = g:value("split.count", "number") or 1
  if parts > 1 then
    rl.raise("%s: key 'split.count': expected a model in one file, found a part of %d", path, parts)
  end
  g.architecture = g:expect("general.architecture", "text")
  return g
end

--- Is path a file named as one?
function gguf.is(path)
  return path:lower():find "%.gguf$" ~= nil and files.kind(path) == "file"
end

--- The .gguf file of a folder that holds one and no safetensors; nil where there is none.
function gguf.inside(folder)
  local found = {}
  for _, name in ipairs(files.list(folder)) do
    if name:find "%.safetensors$" then return nil end
    if name:lower():find "%.gguf$" then found[#found + 1] = name end
  end
  if #found > 1 then
    rl.raise("%s: expected one .gguf file, found %d; name one of them: %s", folder, #found,
      table.concat(found, ", "))
  end
  return found[1] and files.join(folder, found[1])
end

--- ---- keys ----

local kinds = { [C.RL_GGUF_NUMBER] = "number", [C.RL_GGUF_BOOL] = "bool",
  [C.RL_GGUF_TEXT] = "text" }

local function item(g, key, kind, i)
  if kind ~= "text" then
    local n = C.rl_gguf_number(g.handle, key, i)
    if kind == "bool" then return n == 1 end
    return n
  end
  local text = C.rl_gguf_text(g.handle, key, i, length)
  if text == nil then rl.raise("%s: expected texts below 2 GiB, found a longer one", g.path) end
  return ffi.string(text, length[0])
end

--- The value of a key; nil: absent.  kind: "number", "bool", "text", "list of numbers" and so on.
function Gguf:value(name, kind)
  local key = C.rl_gguf_meta(self.handle, name)
  if key < 0 then return nil end
  local n, of = C.rl_gguf_length(self.handle, key), kinds[C.rl_gguf_kind(self.handle, key)]
  local found = n < 0 and of or ("list of %ss"):format(of)
  if kind and found ~= kind then
    rl.raise("%s: key '%s': expected a %s, found a %s", self.path, name, kind, found)
  end
  if n < 0 then return item(self, key, of, 0) end
  local list = {}
  for i = 1, n do list[i] = item(self, key, of, i - 1) end
  return list
end

--- The same of a key that must be there.
function Gguf:expect(name, kind)
  local v = self:value(name, kind)
  if v == nil then
    rl.raise("%s: key '%s': expected a %s, found none", self.path, name, kind)
  end
  return v
end

--- ---- tensors ----

local plain_names = { ["token_embd.weight"] = "model.embed_tokens.weight",
  ["output_norm.weight"] = "model.norm.weight", ["output.weight"] = "lm_head.weight" }
local block_names = { attn_norm = "input_layernorm", ffn_norm = "post_attention_layernorm",
  attn_q = "self_attn.q_proj", attn_k = "self_attn.k_proj", attn_v = "self_attn.v_proj",
  attn_output = "self_attn.o_proj",
  attn_q_norm = "self_attn.q_norm", attn_k_norm = "self_attn.k_norm",
  ffn_gate = "mlp.gate_proj", ffn_up = "mlp.up_proj", ffn_down = "mlp.down_proj" }

--- A tensor's name in a Hugging Face folder; nil: none of a model that is read.
function gguf.name(name)
  local block, part, kind = name:match "^blk%.(%d+)%.([%w_]+)%.(%a+)$"
  if block and block_names[part] then
    return ("model.layers.%d.%s.%s"):format(block, block_names[part], kind)
  end
  return plain_names[name]
end

--- Rows of one head where they lie in another order: llama.cpp rotates neighbouring pairs, so that
--- in its llama files row 2i + s of a head (s = 0, 1) is row s head_dim / 2 + i of Hugging Face.
--- nil: in order.
local function head_rows(g, name)
  local part = g.architecture == "llama" and name:match "^blk%.%d+%.attn_([qk])%."
  return part and g:head_dim() or nil
end

--- All tensors: list of { name, stored, head_rows }.
function Gguf:tensors()
  local list = {}
  for i = 0, C.rl_gguf_count(self.handle) - 1 do
    local stored = C.rl_gguf_at(self.handle, i)
    local own = ffi.string(stored.name)
    local name = gguf.name(own)
    if name then
      list[#list + 1] = { name = name, stored = stored, head_rows = head_rows(self, own) }
    elseif own ~= "rope_freqs.weight" then
      rl.raise("%s: tensor '%s': expected one of a decoder of llama, qwen2 or qwen3, found another",
        self.path, own)
    end
  end
  return list
end

--- A tensor by its name in the file; nil: none.
function Gguf:find(name)
  local i = C.rl_gguf_find(self.handle, name)
  return i >= 0 and C.rl_gguf_at(self.handle, i) or nil
end

--- Elements first .. first + count - 1, whole rows in Hugging Face's order, of a tensor whose heads
--- of n rows lie as head_rows says, to out.
function gguf.read_heads(stored, n, first, count, out)
  local columns = stored.ndim > 1 and stored.dim[1] or 1
  for row = first / columns, (first + count) / columns - 1 do
    local head, i = math.floor(row / n), row % n
    local at = head * n + 2 * (i % (n / 2)) + math.floor(2 * i / n)
    check(C.rl_stored_read(stored, at * columns, columns, out + (row * columns - first)))
  end
end

--- Numbers of one head.
function Gguf:head_dim()
  local a = self.architecture
  local own = self:value(a .. ".attention.key_length", "number")
  if own then return own end
  return self:expect(a .. ".embedding_length", "number")
    / self:expect(a .. ".attention.head_count", "number")
end

--- ---- the files of a Hugging Face folder ----

gguf.files = { "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json" }
local makers = { ["config.json"] = "config", ["generation_config.json"] = "config",
  ["tokenizer.json"] = "tokenizer", ["tokenizer_config.json"] = "tokenizer" }

--- The text of such a file, made from the keys; nil: not one of gguf.files.
function Gguf:file(name)
  if not makers[name] then return nil end
  if not self.made[name] then
    self.made[name] = require("rllava.gguf." .. makers[name])[name](self)
  end
  return self.made[name]
end

--- Unmaps the file; pointers into it are dead from here on.
function Gguf:close() C.rl_gguf_close(ffi.gc(self.handle, nil)) end

return gguf
