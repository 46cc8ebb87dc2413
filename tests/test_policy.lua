--- Fresh policies: the numbers that embedded models start from.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava"
local C = require("rllava.ffi").C
local tiny = rl.recipe_file "data/tiny_vl.lua"

local folder = os.tmpname()
os.remove(folder)

--- The root of the mean square of a fresh model's token vectors, initializer_range given.
local function spread(range)
  local path = tiny.folder(folder,
    { texts = { "a b" }, vocab_size = 268, text = { initializer_range = range } })
  local policy = rl.policy.load(path, { init_seed = 3 })
  local n = 268 * 192
  local values, sum = ffi.new("float[?]", n), 0
  C.rl_param_get(policy.model.params["model.embed_tokens.weight"].tensor, values)
  for i = 0, n - 1 do sum = sum + values[i] ^ 2 end
  return math.sqrt(sum / n)
end

T.test("fresh matrices have config.json's initializer_range as their spread, else 0.02", function()
  T.near(spread(0.1), 0.1, 0.001)
  T.near(spread(nil), 0.02, 0.0002)
  rl.files.remove(folder)
end)

T.test("a tokenizer of the house takes digits one by one, or up to three at once", function()
  local function tokens(digits)
    local path = tiny.folder(folder,
      { texts = { "[104,28]", "[104,28]" }, vocab_size = 275, digits = digits })
    local n = #rl.policy.shape(path).tokenizer:encode "[104,28]"
    rl.files.remove(folder)
    return n
  end
  T.equal({ tokens(nil), tokens(3) }, { 8, 5 })
end)

T.test("a config.json that is no model's is refused by the field", function()
  local function refused(message, changes)
    local config = { model_type = "qwen2", hidden_size = 64, intermediate_size = 96,
      num_hidden_layers = 1, num_attention_heads = 4, vocab_size = 20 }
    for k, v in pairs(changes) do config[k] = v end
    T.raises("config.json: " .. message, function() rl.policy.new(config) end)
  end
  local null = rl.json.null
  refused("hidden_size: expected a number, found none", { hidden_size = null })
  refused("hidden_size: expected a whole number above 0, found 64.5", { hidden_size = 64.5 })
  refused("num_hidden_layers: expected a whole number above 0, found many",
    { num_hidden_layers = "many" })
  refused("head_dim: expected a whole number above 0, found 12.8", { num_attention_heads = 5 })
  refused("text_config: expected an object, found 5", { text_config = 5 })
  refused("vision_config: expected an object, found a list", { vision_config = { 1 } })
  refused("rope_scaling: expected an object, found yarn", { rope_scaling = "yarn" })
  refused("vision_config.depth: expected a whole number above 0, found -1",
    { model_type = "qwen2_5_vl", vision_config = { depth = -1 } })
end)
