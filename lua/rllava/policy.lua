--- A policy: a model with its parameters, its tokenizer and what turns a row of data into a prompt.
---
---   local p = policy.new(config)                fresh parameters;  policy.load "folder" reads them
---   p.model.params[name].tensor, p:zero_grad(), p:grad_norm()
---   p.tokenizer, p.chat, p.processor            made from the folder's files when first touched
local ffi = require "ffi"
local rl = require "rllava.ffi"
local nn = require "rllava.nn"
local hf_config = require "rllava.hf_config"
local files = require "rllava.files"
local model_source = require "rllava.model_source"
local C, check = rl.C, rl.check

local policy = {}
local Policy = {}

-- What stands beside the weights, made when it is first touched; false where there is none.
local beside = {
  tokenizer = function(p) return require("rllava.tokenizer").load(p.path) end,
  chat = function(p) return require("rllava.chat").load(p.path) end,
  processor = function(p)
    return p.config.vision_config and require("rllava.processor").load(p.path) or false
  end,
}
function Policy.__index(p, name)
  if Policy[name] or not beside[name] then return Policy[name] end
  local made = rawget(p, "path") and beside[name](p) or false
  rawset(p, name, made)
  return made
end

function Policy:__tostring() return require("rllava.describe").policy(self) end

-- model_type of config.json -> the file that records it.
local families = { llama = "llama", qwen2 = "llama", qwen3 = "llama", qwen2_5_vl = "qwen2_5_vl" }

local function family(config)
  local name = families[config.model_type]
  if not name then
    local known = {}
    for k in require("rllava").sorted(families) do known[#known + 1] = k end
    rl.raise("config.json: model_type: expected one of %s, got %s", table.concat(known, ", "),
      tostring(config.model_type))
  end
  return require("rllava.model." .. name)
end

--- config: a decoded config.json -> a policy with zero parameters.  options.value: a critic, with a
--- head score.weight [1, d] of one number a token instead of the vocabulary's.  options.features:
--- the vision tower is frozen and its features are an input, "apart" from a tower of its own or
--- "alone".
function policy.new(raw, options)
  local config = hf_config.normalise(raw)
  local self = setmetatable({ config = config, raw_config = raw, family = family(config) }, Policy)
  self.features = options and options.features
  if self.features and not config.vision_config then
    rl.raise("trainer.freeze_vision_tower: expected a model with a vision tower, got %s",
      config.model_type)
  end
  self.model = nn.model(config)
  self.model.value, self.model.features = options and options.value, self.features
  self.family.record(self.model)
  return self
end

local function numel(shape)
  local n = 1
  for _, d in ipairs(shape) do n = n * d end
  return n
end

local function set_ones(p)
  local ones = ffi.new("float[?]", p.shape[1])
  for k = 0, p.shape[1] - 1 do ones[k] = 1 end
  check(C.rl_param_set(p.tensor, ones))
end

--- Normal numbers for matrices, ones for norms, zeros for biases, as the reference initialises.
function Policy:init(seed, std)
  for i, name in ipairs(self.model.names) do
    local p = self.model.params[name]
    if #p.shape > 1 then check(C.rl_param_normal(p.tensor, seed * 65536 + i, 0, std or 0.02))
    elseif name:find "%.weight$" then set_ones(p) end
  end
  return self
end

--- A folder with config.json and no weights yet -> a policy with fresh numbers.
local function fresh(path, options)
  local file = files.join(path, "config.json")
  local self = policy.new(require("rllava.json").decode(files.read(file), file), options)
  self.path, self.keys = path, function(key) return key end
  return self:init(options.init_seed, self.raw_config.initializer_range)
end

--- The model of a name, recorded but without numbers: nothing of its weights is read, or fetched.
function policy.shape(name, options)
  local path = model_source.find(name, { "*.json", "*.jinja", "*.txt" })
  local text, place = require("rllava.beside").read(path, "config.json")
  if not text then rl.raise("%s: expected one, found none", place) end
  local self = policy.new(require("rllava.json").decode(text, place), options)
  self.path = path
  return self
end

--- A folder as from the hub, a .gguf file, a model of the house, or a name of the hub.
--- options.init_seed: fresh numbers of this seed; the folder needs no weights then.  options.value:
--- a critic, whose head is zero where the folder has none.
function policy.load(name, options)
  local path = model_source.find(name)
  if options and options.init_seed then return fresh(path, options) end
  local weights = require("rllava.weights").open(path)
  if not weights.raw_config then rl.raise("%s: expected a config.json, found none", path) end
  local value = options and options.value
  local self = policy.new(weights.raw_config, options)
  self.path, self.generation_config = path, weights.generation_config
  self.model:load(function(name, shape)
    if value and name == "score.weight" and not weights:has(name) then return nil end
    weights:expect(name, shape)
    local buffer = ffi.new("float[?]", numel(shape))
    weights:read_f32(name, buffer, numel(shape))
    return buffer
  end)
  self.keys = function(name) return weights:key(name) end
  weights:close()
  return self
end

--- Parameters in the order of their recording.
function Policy:tensors()
  local list = ffi.new("rl_tensor *[?]", #self.model.names)
  for i, name in ipairs(self.model.names) do list[i - 1] = self.model.params[name].tensor end
  return list, #self.model.names
end

function Policy:zero_grad()
  for _, name in ipairs(self.model.names) do
    C.rl_param_zero_grad(self.model.params[name].tensor)
  end
end

--- The 2-norm of all gradients together.
function Policy:grad_norm()
  local sum = 0
  for _, name in ipairs(self.model.names) do
    sum = sum + C.rl_param_grad_squares(self.model.params[name].tensor)
  end
  return math.sqrt(sum)
end

--- Ids that end a response: those of generation_config.json, config.json and the tokenizer.
function Policy:stop_ids()
  local ids, seen = {}, {}
  local function add(v)
    if type(v) == "table" then for _, id in ipairs(v) do add(id) end
    elseif type(v) == "number" and not seen[v] then seen[v], ids[#ids + 1] = true, v end
  end
  add((self.generation_config or {}).eos_token_id)
  add(self.config.eos_token_id or self.config.text_config.eos_token_id)
  if #ids == 0 and self.chat then add(self.tokenizer:id(self.chat.variables.eos_token or "")) end
  return ids
end

--- How many numbers are trained.
function Policy:size()
  local n = 0
  for _, name in ipairs(self.model.names) do n = n + numel(self.model.params[name].shape) end
  return n
end

--- Neither gradients nor moments for any parameter.
function Policy:freeze()
  for _, name in ipairs(self.model.names) do
    C.rl_param_train(self.model.params[name].tensor, 0)
  end
  return self
end

--- Moves every parameter that other has too towards its number there: w += share (other - w).
function Policy:approach(other, share)
  for _, name in ipairs(self.model.names) do
    local own, from = self.model.params[name], other.model.params[name]
    if from then
      local n = numel(own.shape)
      local w, target = ffi.new("float[?]", n), ffi.new("float[?]", n)
      check(C.rl_param_get(from.tensor, target))
      if share < 1 then
        check(C.rl_param_get(own.tensor, w))
        for i = 0, n - 1 do target[i] = w[i] + share * (target[i] - w[i]) end
      end
      check(C.rl_param_set(own.tensor, target))
    end
  end
  return self
end

--- The same model without numbers, for a reference or (value) a critic beside this one: features of
--- a frozen tower come from this one's.
function Policy:sibling(value)
  return policy.new(self.raw_config, { value = value, features = self.features and "alone" })
end

--- A frozen copy: the reference policy.
function Policy:clone() return self:sibling():approach(self, 1):freeze() end

--- A critic that begins with this policy's numbers; its head with zeros,
--- or normal ones of that std.
function Policy:critic(std, seed)
  local copy = self:sibling(true):approach(self, 1)
  if std > 0 then
    check(C.rl_param_normal(copy.model.params["score.weight"].tensor, seed, 0, std))
  end
  return copy
end

return policy
