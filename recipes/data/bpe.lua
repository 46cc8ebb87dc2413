--- Trains a byte-level BPE vocabulary as Qwen2 uses it, from English text: for the embedded models'
--- tokenizers.
---
---   bpe.train(texts, size) -> merges
---   bpe.tokenizer_json(merges, special, added) -> text of tokenizer.json
--- A few thousand short texts take about a second.
local json = require "rllava.json"
local array, object = json.array, json.object

local bpe = {}

--- digits: how many of a number's one piece holds at most: 1 as in Qwen2, 3 as in Llama 3.
local function pattern(digits)
  local contractions, words = [[(?i:'s|'t|'re|'ve|'m|'ll|'d)]], [[[^\r\n\p{L}\p{N}]?\p{L}+]]
  local numbers = digits > 1 and [[\p{N}{1,3}]] or [[\p{N}]]
  local signs, spaces = [[ ?[^\s\p{L}\p{N}]+[\r\n]*]], [[\s*[\r\n]+|\s+(?!\S)|\s+]]
  return table.concat({ contractions, words, numbers, signs, spaces }, "|")
end

--- GPT-2's letters for bytes: printable ones stand for themselves, the others for code points from
--- 256 on.
local letter, printable, extra = {}, {}, 256
local function utf8(c)
  if c < 128 then return string.char(c) end
  return string.char(192 + math.floor(c / 64), 128 + c % 64)
end
for _, range in ipairs { { 33, 126 }, { 161, 172 }, { 174, 255 } } do
  for b = range[1], range[2] do letter[b], printable[#printable + 1] = utf8(b), b end
end
local order = { unpack(printable) }
for b = 0, 255 do
  if not letter[b] then
    letter[b], extra = utf8(extra), extra + 1
    order[#order + 1] = b
  end
end

--- The pieces of ASCII text under the pattern (contractions apart).
local function pieces(text, digits)
  local out, at = {}, 1
  while at <= #text do
    local _, last = text:find("^[^%w\r\n]?%a+", at)
    if not last then _, last = text:find(digits > 1 and "^%d%d?%d?" or "^%d", at) end
    if not last then _, last = text:find("^ ?[^%s%w]+[\r\n]*", at) end
    if not last then _, last = text:find("^%s*[\r\n]+", at) end
    if not last then
      _, last = text:find("^%s+", at)
      if last > at and last < #text then last = last - 1 end
    end
    out[#out + 1] = text:sub(at, last)
    at = last + 1
  end
  return out
end

local function count_words(texts, digits)
  local counts, words = {}, {}
  for _, text in ipairs(texts) do
    for _, piece in ipairs(pieces(text, digits)) do
      if not counts[piece] then
        counts[piece] = 0
        local symbols = {}
        for i = 1, #piece do symbols[i] = letter[piece:byte(i)] end
        words[#words + 1] = { piece = piece, symbols = symbols }
      end
      counts[piece] = counts[piece] + 1
    end
  end
  for _, w in ipairs(words) do w.count = counts[w.piece] end
  return words
end

local function best_pair(words)
  local counts, best = {}, nil
  for _, w in ipairs(words) do
    for i = 1, #w.symbols - 1 do
      local pair = w.symbols[i] .. " " .. w.symbols[i + 1]
      counts[pair] = (counts[pair] or 0) + w.count
    end
  end
  for pair, n in pairs(counts) do
    if not best or n > counts[best] or (n == counts[best] and pair < best) then best = pair end
  end
  return best
end

local function join(symbols, a, b)
  local out, i = {}, 1
  while i <= #symbols do
    if symbols[i] == a and symbols[i + 1] == b then
      out[#out + 1], i = a .. b, i + 2
    else
      out[#out + 1], i = symbols[i], i + 1
    end
  end
  return out
end

--- The merges, in order, until bytes and merges are `size` tokens.  digits: how many of a number's
--- one token may hold, 1 or 3.
function bpe.train(texts, size, digits)
  digits = digits or 1
  local words, merges = count_words(texts, digits), {}
  while #merges < size - 256 do
    local pair = best_pair(words)
    if not pair then break end
    merges[#merges + 1] = pair
    local a, b = pair:match "^(%S+) (%S+)$"
    for _, w in ipairs(words) do w.symbols = join(w.symbols, a, b) end
  end
  return merges
end

--- The tokens of bytes and merges -> list of { token, id }, in the order of ids from 0.
local function vocabulary(merges)
  local list = {}
  local function add(token) list[#list + 1] = { token, #list } end
  for _, b in ipairs(order) do add(letter[b]) end
  for _, merge in ipairs(merges) do add((merge:gsub(" ", "", 1))) end
  return list
end

--- Tokens that are taken whole from a text; id: of the first.
local function added_tokens(id, special, added)
  local list = {}
  local function add(content, is_special)
    list[#list + 1] = object { { "id", id + #list }, { "content", content },
      { "single_word", false }, { "lstrip", false }, { "rstrip", false }, { "normalized", false },
      { "special", is_special } }
  end
  for _, content in ipairs(special) do add(content, true) end
  for _, content in ipairs(added) do add(content, false) end
  return array(list)
end

local function byte_level()
  return object { { "type", "ByteLevel" }, { "add_prefix_space", false },
    { "trim_offsets", false }, { "use_regex", false } }
end

local function pre_tokenizer(digits)
  local split = object { { "type", "Split" },
    { "pattern", object { { "Regex", pattern(digits) } } },
    { "behavior", "Isolated" }, { "invert", false } }
  return object { { "type", "Sequence" }, { "pretokenizers", array { split, byte_level() } } }
end

local function model(vocab, merges)
  return object { { "type", "BPE" }, { "dropout", json.null }, { "unk_token", json.null },
    { "continuing_subword_prefix", "" }, { "end_of_word_suffix", "" }, { "fuse_unk", false },
    { "byte_fallback", false }, { "ignore_merges", false }, { "vocab", object(vocab) },
    { "merges", array(merges) } }
end

--- tokenizer.json in Hugging Face's form; special: tokens that decoding may skip, added: those it
--- keeps; digits as in train.
function bpe.tokenizer_json(merges, special, added, digits)
  local vocab = vocabulary(merges)
  return json.encode(object {
    { "version", "1.0" }, { "truncation", json.null }, { "padding", json.null },
    { "added_tokens", added_tokens(#vocab, special, added) },
    { "normalizer", object { { "type", "NFC" } } },
    { "pre_tokenizer", pre_tokenizer(digits or 1) },
    { "post_processor", byte_level() }, { "decoder", byte_level() },
    { "model", model(vocab, merges) },
  })
end

return bpe
