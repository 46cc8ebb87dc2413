--- How text is cut before byte pairs are merged: what the names of tokenizer.ggml.pre stand for.
local json = require "rllava.json"
local rl = require "rllava.ffi"

local split = {}

local gpt2 = [['s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+]]
local words = [[(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s]]
  .. [[| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+]]
local one, three = words:format [[\p{N}]], words:format [[\p{N}{1,3}]]

local digits = json.decode [[{"type":"Digits","individual_digits":true}]]
local bytes = json.decode([[{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,]]
  .. [["use_regex":false}]])
local nfc = json.decode [[{"type":"NFC"}]]

local function by(pattern)
  return json.object { { "type", "Split" }, { "pattern", { Regex = pattern } },
    { "behavior", "Isolated" }, { "invert", false } }
end

local function sequence(...)
  local steps = json.array { ... }
  steps[#steps + 1] = bytes
  return json.object { { "type", "Sequence" }, { "pretokenizers", steps } }
end

local rules = {
  { "gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais",
    rule = { pre_tokenizer = sequence(by(gpt2)) } },
  { "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
    rule = { pre_tokenizer = sequence(digits, by(gpt2)) } },
  { "qwen2", "deepseek-r1-qwen", "stablelm2", "megrez",
    rule = { pre_tokenizer = sequence(by(one)), normalizer = nfc } },
  { "llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral",
    rule = { pre_tokenizer = sequence(by(three)), ignore_merges = true, bos = true } },
  { "dbrx", "smaug-bpe", rule = { pre_tokenizer = sequence(by(three)) } },
  { "default", rule = { pre_tokenizer = sequence(by [=[[\p{P}\$\+<=>\^~\|]+]=], by(gpt2),
    by [[\p{N}+]], by "[0-9][0-9][0-9]") } },
}

--- The rule of a GGUF file: pre_tokenizer, normalizer, as tokenizer.json says them; ignore_merges:
--- a piece that is a token is taken whole; bos: a text begins with the bos token unless a key says
--- otherwise.
function split.rule(g)
  local name, known = g:value("tokenizer.ggml.pre", "text") or "default", {}
  for _, entry in ipairs(rules) do
    for _, other in ipairs(entry) do
      if other == name then return entry.rule end
      known[#known + 1] = other
    end
  end
  rl.raise("%s: key 'tokenizer.ggml.pre': expected one of %s, found %s", g.path,
    table.concat(known, ", "), name)
end

return split
