--- tokenizer.json and tokenizer_config.json of the keys tokenizer.ggml.* of a GGUF file: "gpt2",
--- byte pairs over bytes with merges; "llama", SentencePiece's pairs over characters with scores.
local json = require "rllava.json"
local rl = require "rllava.ffi"
local split = require "rllava.gguf.split"

local tokenizer = {}

-- Types of tokens: 1 ordinary, 2 unknown, 3 control, 4 defined by the user, 5 unused, 6 one byte.
local CONTROL, USER, BYTE = 3, 4, 6

local function key(name) return "tokenizer.ggml." .. name end

--- A list of numbers, one a token.
local function one_each(g, name, tokens)
  local list = g:value(key(name), "list of numbers")
  if list and #list ~= #tokens then
    rl.raise("%s: key '%s': expected %d of them, one a token, found %d", g.path, key(name), #tokens,
      #list)
  end
  return list
end

--- Texts of all tokens, their types, and their ids by text.
local function vocabulary(g)
  local tokens, ids = g:expect(key "tokens", "list of texts"), {}
  for i, text in ipairs(tokens) do
    if text == "" then text = ("[EMPTY_%d]"):format(i - 1) end
    if ids[text] then
      rl.raise("%s: key '%s': expected each token once, found '%s' as %d and %d", g.path,
        key "tokens", text, ids[text], i - 1)
    end
    tokens[i], ids[text] = text, i - 1
  end
  return tokens, one_each(g, "token_type", tokens) or {}, ids
end

--- The text and the id of a token that a key names by its id; nil: no such key.
local function special(g, tokens, name)
  local id = g:value(key(name .. "_token_id"), "number")
  if id and not tokens[id + 1] then
    rl.raise("%s: key '%s': expected an id below %d, found %g", g.path, key(name .. "_token_id"),
      #tokens, id)
  end
  return id and tokens[id + 1], id
end

local function added_tokens(tokens, types)
  local list = json.array {}
  for i, text in ipairs(tokens) do
    if types[i] == CONTROL or types[i] == USER then
      list[#list + 1] = json.object { { "id", i - 1 }, { "content", text },
        { "single_word", false }, { "lstrip", false }, { "rstrip", false }, { "normalized", false },
        { "special", types[i] == CONTROL } }
    end
  end
  return list
end

--- Special tokens { text, id } around a text: null where there are none.
local function post_processor(before, after)
  local single, known = json.array {}, {}
  local function add(token)
    if not token[1] then return end
    single[#single + 1] = { SpecialToken = json.object { { "id", token[1] }, { "type_id", 0 } } }
    known[#known + 1] = { token[1], json.object { { "id", token[1] }, { "ids", { token[2] } },
      { "tokens", { token[1] } } } }
  end
  add(before)
  single[#single + 1] = { Sequence = json.object { { "id", "A" }, { "type_id", 0 } } }
  add(after)
  return #single == 1 and json.null or json.object { { "type", "TemplateProcessing" },
    { "single", single }, { "special_tokens", json.object(known) } }
end

--- A tokenizer's model.
local function pairs_model(tokens, merges, options)
  local members = {}
  for i, text in ipairs(tokens) do members[i] = { text, i - 1 } end
  return json.object { { "type", "BPE" }, { "dropout", json.null },
    { "unk_token", options.unk_token or json.null }, { "fuse_unk", options.fuse_unk or false },
    { "byte_fallback", options.byte_fallback or false },
    { "ignore_merges", options.ignore_merges or false }, { "vocab", json.object(members) },
    { "merges", json.array(merges) } }
end

--- ---- SentencePiece ----

--- Characters' ends in a text of UTF-8.
local function ends(text)
  local list = {}
  for i = 1, #text do
    local following = text:byte(i + 1)
    if not following or following < 0x80 or following >= 0xc0 then list[#list + 1] = i end
  end
  return list
end

local function first_merged(a, b)
  if a.score ~= b.score then return a.score > b.score end
  if a.left ~= b.left then return a.left > b.left end
  if a.right ~= b.right then return a.right > b.right end
  return a.order < b.order
end

--- Two pieces merge first where what they make has the higher score: every way to cut a token into
--- two tokens, by score, then the longer left and right one (in characters) first.
local function merges_of(tokens, types, ids, scores)
  local list = {}
  for i, text in ipairs(tokens) do
    local cuts = types[i] ~= CONTROL and types[i] ~= BYTE and ends(text) or {}
    for k = 1, #cuts - 1 do
      local left, right = text:sub(1, cuts[k]), text:sub(cuts[k] + 1)
      if ids[left] and ids[right] then
        list[#list + 1] = { left, right, score = scores[i], left = k, right = #cuts - k,
          order = #list }
      end
    end
  end
  table.sort(list, first_merged)
  for i, m in ipairs(list) do list[i] = json.array { m[1], m[2] } end
  return list
end

-- A space is written as U+2581; with the prefix, one is put before a text and taken away again.
local to_mark = [[{"type":"Replace","pattern":{"String":" "},"content":"▁"}]]
local from_mark = [[{"type":"Replace","pattern":{"String":"▁"},"content":" "},]]
  .. [[{"type":"ByteFallback"},{"type":"Fuse"}]]
local put_prefix = [[{"type":"Prepend","prepend":"▁"},]]
local take_prefix = [[,{"type":"Strip","content":" ","start":1,"stop":0}]]

local function sentence_piece(g, tokens, types, ids)
  local scores = one_each(g, "scores", tokens) or g:expect(key "scores", "list of numbers")
  local prefix = g:value(key "add_space_prefix", "bool") ~= false
  local function sequence(name, before, steps, after)
    return json.decode(('{"type":"Sequence","%s":[%s%s%s]}'):format(name, prefix and before or "",
      steps, prefix and after or ""))
  end
  return { bos = true, pre_tokenizer = json.null,
    normalizer = sequence("normalizers", put_prefix, to_mark, ""),
    decoder = sequence("decoders", "", from_mark, take_prefix),
    model = pairs_model(tokens, merges_of(tokens, types, ids, scores), { fuse_unk = true,
      unk_token = special(g, tokens, "unknown"), byte_fallback = ids["<0x00>"] ~= nil }) }
end

--- ---- byte pairs ----

local byte_level = [[{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,]]
  .. [["use_regex":true}]]

local function byte_pairs(g, tokens)
  local rule = split.rule(g)
  return { bos = rule.bos or false, normalizer = rule.normalizer or json.null,
    pre_tokenizer = rule.pre_tokenizer, decoder = json.decode(byte_level),
    model = pairs_model(tokens, g:expect(key "merges", "list of texts"),
      { ignore_merges = rule.ignore_merges }) }
end

--- ---- the two files ----

local kinds = { gpt2 = byte_pairs, llama = sentence_piece }

--- Is a token put at an end of a text?  -> { text, id }, empty if not.
local function around(g, tokens, name, default)
  local add = g:value(key("add_" .. name .. "_token"), "bool")
  if add == nil then add = default end
  return add and { special(g, tokens, name) } or {}
end

tokenizer["tokenizer.json"] = function(g)
  local kind = g:expect(key "model", "text")
  if not kinds[kind] then
    rl.raise("%s: key '%s': expected gpt2 or llama, found %s", g.path, key "model", kind)
  end
  local tokens, types, ids = vocabulary(g)
  local parts = kinds[kind](g, tokens, types, ids)
  return json.encode(json.object { { "version", "1.0" }, { "truncation", json.null },
    { "padding", json.null }, { "added_tokens", added_tokens(tokens, types) },
    { "normalizer", parts.normalizer }, { "pre_tokenizer", parts.pre_tokenizer },
    { "post_processor", post_processor(around(g, tokens, "bos", parts.bos),
      around(g, tokens, "eos", false)) },
    { "decoder", parts.decoder }, { "model", parts.model } })
end

--- The chat template, or the list of them by name.
local function chat_template(g)
  local plain = g:value("tokenizer.chat_template", "text")
  local names = g:value("tokenizer.chat_templates", "list of texts")
  if not plain or not names then return plain end
  local list = json.array { json.object { { "name", "default" }, { "template", plain } } }
  for _, name in ipairs(names) do
    if name ~= "default" then
      local text = g:expect("tokenizer.chat_template." .. name, "text")
      list[#list + 1] = json.object { { "name", name }, { "template", text } }
    end
  end
  return list
end

tokenizer["tokenizer_config.json"] = function(g)
  local tokens, members = vocabulary(g), {}
  local names = { { "bos", "bos" }, { "eos", "eos" }, { "unk", "unknown" }, { "pad", "padding" } }
  for _, name in ipairs(names) do
    members[#members + 1] = { name[1] .. "_token", (special(g, tokens, name[2])) }
  end
  members[#members + 1] = { "clean_up_tokenization_spaces", false }
  members[#members + 1] = { "chat_template", chat_template(g) }
  return json.encode(json.object(members))
end

return tokenizer
