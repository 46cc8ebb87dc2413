--- Text to token ids and back: the tokenizer.json of Hugging Face.
---
---   t = tokenizer.load(path)      ids = t:encode(text)      text = t:decode(ids)
---   s = t:stream()                s:put(id) -> text that is complete so far     s:finish()
local ffi = require "ffi"
local beside = require "rllava.beside"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local C, check = rl.C, rl.check

local tokenizer = {}
local Tokenizer, Stream = {}, {}
Tokenizer.__index, Stream.__index = Tokenizer, Stream

local length = ffi.new "int[1]"

--- text of a tokenizer.json -> tokenizer.  name: the file, for messages.
function tokenizer.parse(text, name)
  local handle = check(C.rl_tokenizer_parse(text, #text, name or "tokenizer.json"))
  local t = setmetatable({ handle = ffi.gc(handle, C.rl_tokenizer_free), config = {} }, Tokenizer)
  t.size = C.rl_tokenizer_size(handle)
  return t
end

local FLAGS = { special = 1, lstrip = 2, rstrip = 4, single_word = 8, normalized = 16 }
local NAMED = { "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
  "mask_token" }

--- An added token as the files spell it: a text, or { content, lstrip, ... }.
local function add(t, token, id, special, place)
  if type(token) == "string" then token = { content = token } end
  if type(token) ~= "table" or type(token.content) ~= "string" then
    rl.raise("%s: expected a text or an object with content, found %s", place, tostring(token))
  end
  local flags = (special or token.special == true) and 1 or 0
  for _, name in ipairs { "lstrip", "rstrip", "single_word", "normalized" } do
    if token[name] == true then flags = flags + FLAGS[name] end
  end
  check(C.rl_tokenizer_add(t.handle, token.content, #token.content, id or -1, flags))
  return token.content
end

local function read_json(model, name)
  local text, path = beside.read(model, name)
  if not text then return {}, path end
  local value = json.decode(text, path)
  if type(value) ~= "table" or json.is_array(value) then
    rl.raise("%s: expected an object, found something else", path)
  end
  return value, path
end

--- What tokenizer_config.json says: more added tokens, or other flags of known ones.
local function read_config(t, model)
  local path
  t.config, path = read_json(model, "tokenizer_config.json")
  local decoder = t.config.added_tokens_decoder
  for _, key in ipairs(type(decoder) == "table" and json.keys(decoder) or {}) do
    local id = tonumber(key)
    local place = ("%s: added_tokens_decoder[%q]"):format(path, key)
    if not id or id < 0 or id ~= math.floor(id) then
      rl.raise("%s: expected an id, found %q", place, key)
    end
    add(t, decoder[key], id, false, place)
  end
end

--- bos_token and its like, from a file: those of the vocabulary that are not added tokens become
--- special ones.
local function read_special(t, values, path)
  local function mark(token, place)
    local text = type(token) == "table" and token.content or token
    if type(text) ~= "string" then
      rl.raise("%s: expected a text or an object with content", place)
    end
    local id = t:id(text)
    if id and C.rl_tokenizer_kind(t.handle, id) == 0 then add(t, token, id, true, place) end
    return text
  end
  for _, name in ipairs(NAMED) do
    if values[name] ~= nil and values[name] ~= json.null then
      t[name] = mark(values[name], path .. ": " .. name)
    end
  end
  local more = values.additional_special_tokens
  for i, token in ipairs(type(more) == "table" and more or {}) do
    mark(token, ("%s: additional_special_tokens[%d]"):format(path, i - 1))
  end
end

--- A model: a folder with tokenizer.json (and tokenizer_config.json, special_tokens_map.json) or a
--- .gguf file; or a tokenizer.json.
--- t.config: tokenizer_config.json; t.eos_token and its like: texts, where the files name them.
function tokenizer.load(path)
  if not beside.is(path) then return tokenizer.parse(files.read(path), path) end
  local text, file = beside.read(path, "tokenizer.json")
  local t = tokenizer.parse(text or files.read(file), file)
  read_config(t, path)
  read_special(t, read_json(path, "special_tokens_map.json"))
  read_special(t, t.config, files.join(path, "tokenizer_config.json"))
  t.size = C.rl_tokenizer_size(t.handle)
  return t
end

local function encode(t, text, add_special, plain)
  if type(text) ~= "string" then rl.raise("encode: text: expected a string, got %s", type(text)) end
  add_special, plain = add_special and 1 or 0, plain and 1 or 0
  local n = check(C.rl_tokenizer_encode(t.handle, text, #text, add_special, plain))
  return C.rl_tokenizer_tokens(t.handle), n
end

--- text -> ids.  add_special: with what the post-processor puts around (a BOS); plain: special
--- tokens in the text are read as text, as befits what a user wrote.
function Tokenizer:encode(text, add_special, plain)
  local tokens, n = encode(self, text, add_special, plain)
  local ids = {}
  for i = 1, n do ids[i] = tokens[i - 1].id end
  return ids
end

--- The same, and for each id the code points [from, to) of the text that it came from, from 0.
function Tokenizer:offsets(text, add_special, plain)
  local tokens, n = encode(self, text, add_special, plain)
  local ids, from, to = {}, {}, {}
  for i = 1, n do
    local token = tokens[i - 1]
    ids[i], from[i], to[i] = token.id, token.from, token.to
  end
  return ids, from, to
end

--- How a text is cut before its pieces become tokens: the normalised text and a list of
--- { from, to }, code points of it counted from 0.  Added tokens are not looked for.
function Tokenizer:pieces(text)
  local n = check(C.rl_tokenizer_pieces(self.handle, text, #text))
  local tokens, list = C.rl_tokenizer_tokens(self.handle), {}
  for i = 1, n do list[i] = { tokens[i - 1].from, tokens[i - 1].to } end
  local normalized = C.rl_tokenizer_text(self.handle, length)
  return ffi.string(normalized, length[0]), list
end

--- ids (a list) -> text.  skip_special: leaves special tokens out.  Ids without a token give "".
function Tokenizer:decode(ids, skip_special)
  return self:decode_ints(ffi.new("int[?]", math.max(1, #ids), ids), #ids, skip_special)
end

--- The same of n ids at an int *.
function Tokenizer:decode_ints(ids, n, skip_special)
  local bytes = check(C.rl_tokenizer_decode(self.handle, ids, n, skip_special and 1 or 0))
  return ffi.string(C.rl_tokenizer_text(self.handle, nil), bytes)
end

--- The id of a token, nil if there is none; the token of an id, nil if there is none.
function Tokenizer:id(token)
  local id = C.rl_tokenizer_id(self.handle, token, #token)
  return id >= 0 and id or nil
end

function Tokenizer:token(id)
  local text = C.rl_tokenizer_token(self.handle, id, length)
  return text ~= nil and ffi.string(text, length[0]) or nil
end

--- Is id a special token (which decoding may skip)?
function Tokenizer:is_special(id) return C.rl_tokenizer_kind(self.handle, id) == 2 end

--- Decoding one token at a time.
function Tokenizer:stream(skip_special)
  local handle = check(C.rl_stream_new(self.handle, skip_special and 1 or 0))
  return setmetatable({ handle = ffi.gc(handle, C.rl_stream_free), owner = self }, Stream)
end

local function text(stream, bytes) return ffi.string(C.rl_stream_text(stream), bytes) end

--- The text that became complete with id: "" while a character is unfinished.
function Stream:put(id)
  local bytes = check(C.rl_stream_put(self.handle, id))
  return text(self.handle, bytes)
end

--- What is left, broken characters as U+FFFD.  The stream then begins anew.
function Stream:finish()
  local bytes = check(C.rl_stream_end(self.handle))
  return text(self.handle, bytes)
end

return tokenizer
