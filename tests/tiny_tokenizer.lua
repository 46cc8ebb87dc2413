--- A small tokenizer for tests: text(parts) -> a tokenizer.json; make(parts) -> the tokenizer.
local tokenizer = require "rllava.tokenizer"

local PARTS = { "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder" }
local MODEL = [=["type":"BPE","vocab":{"a":0,"b":1,"c":2,"ab":3,"abc":4,"<unk>":5,"▁":6,"▁a":7},
  "merges":["a b","ab c",["▁","a"]]]=]

--- A tokenizer.json of a few letters, with the parts given; model: what replaces the small one.
local function text_of(parts)
  local out = { ('"model":{%s}'):format((parts.model or MODEL) .. (parts.more or "")) }
  for _, key in ipairs(PARTS) do
    if parts[key] then out[#out + 1] = ('"%s":%s'):format(key, parts[key]) end
  end
  return "{" .. table.concat(out, ",") .. "}"
end

return { text = text_of,
  make = function(parts) return tokenizer.parse(text_of(parts), "t.json") end }
