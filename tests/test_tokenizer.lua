--- The tokenizer: golden cases of the reference, its parts one by one, long texts.
local T = require "check"
local json = require "rllava.json"
local files = require "rllava.files"
local tokenizer = require "rllava.tokenizer"
local make = require("tiny_tokenizer").make

local function lines(path)
  local out = {}
  for line in T.read(path):gmatch "[^\n]+" do out[#out + 1] = json.decode(line, path) end
  return out
end

local function show(v) return json.encode(v):sub(1, 300) end

--- got must be want; what: the case, for the message.
local function same(got, want, what)
  local ok = pcall(T.equal, json.array(got), json.array(want))
  if not ok then error(("%s: expected %s, got %s"):format(what, show(want), show(got)), 0) end
end

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(text)
  local bits, n, out = 0, 0, {}
  for c in text:gmatch "[%w+/]" do
    bits, n = bits * 64 + BASE64:find(c, 1, true) - 1, n + 6
    if n >= 8 then
      n = n - 8
      out[#out + 1] = string.char(math.floor(bits / 2 ^ n))
      bits = bits % 2 ^ n
    end
  end
  return table.concat(out)
end

local function check_case(t, case)
  local what = ("case %d %q"):format(case.id, case.text)
  local text = case.bytes_b64 and base64(case.bytes_b64) or case.text
  local ids, from, to = t:offsets(text)
  same(ids, case.ids, what)
  for i, pair in ipairs(case.offsets or {}) do
    same({ from[i], to[i] }, pair, what .. ": offsets " .. i)
  end
  if case.bytes_b64 then return same({ t:decode(ids) }, { case.decoded }, what .. ": decoded") end
  same(t:encode(text, true), case.ids_with_special or case.ids, what .. ": with special tokens")
  same(t:encode(text, false, true), case.ids_special_as_text or case.ids,
       what .. ": special tokens as text")
  same({ t:decode(ids) }, { case.decoded }, what .. ": decoded")
  same({ t:decode(ids, true) }, { case.decoded_skip_special },
       what .. ": decoded without special tokens")
end

local function check_stream(t, case)
  local s, pieces, what = t:stream(case.skip_special), {}, "ids " .. show(case.ids)
  for i, id in ipairs(case.ids) do pieces[i] = s:put(id) end
  local flush = s:finish()
  same({ t:decode(case.ids, case.skip_special) }, { case.decoded }, what)
  if case.pieces then
    same(pieces, case.pieces, what)
    same({ flush }, { case.flush }, what .. ": at the end")
  end
  if case.pieces or case.valid_bytes then
    same({ table.concat(pieces) .. flush }, { case.decoded }, what)
  end
end

local function check_pieces(t, case)
  local normalized, pieces = t:pieces(case.text)
  same({ normalized }, { case.normalized }, ("normalized %q"):format(case.text))
  same({ #pieces }, { #case.pieces }, ("pieces of %q"):format(case.text))
  for i, piece in ipairs(case.pieces) do
    same(pieces[i], piece, ("piece %d of %q"):format(i, case.text))
  end
end

for _, name in ipairs(T.list(T.goldens .. "/tokenizers")) do
  local folder = T.goldens .. "/tokenizers/" .. name
  if files.kind(folder .. "/tokenizer.json") then
    local t
    local function each(file, body)
      if not files.kind(folder .. "/" .. file) then return end
      T.golden("tokenizers/" .. name .. "/" .. file, function()
        t = t or tokenizer.load(folder)
        for _, case in ipairs(lines(folder .. "/" .. file)) do body(t, case) end
        return 0
      end)
    end
    each("cases.jsonl", check_case)
    each("stream.jsonl", check_stream)
    each("pretok.jsonl", check_pieces)
  end
end

local function utf8(c)
  if c < 0x80 then return string.char(c) end
  if c < 0x800 then return string.char(0xc0 + math.floor(c / 64), 0x80 + c % 64) end
  local low = string.char(0x80 + math.floor(c / 64) % 64, 0x80 + c % 64)
  if c < 0x10000 then return string.char(0xe0 + math.floor(c / 4096)) .. low end
  return string.char(0xf0 + math.floor(c / 2 ^ 18), 0x80 + math.floor(c / 4096) % 64) .. low
end

local function hex(list)
  local out = {}
  for i, code in ipairs(list) do out[i] = utf8(tonumber(code, 16)) end
  return table.concat(out)
end

--- The characters of `all` (every code point but surrogates) that a pattern matches, as ranges.
local function ranges(all, pattern)
  local t = make { pre_tokenizer = ([[{"type":"Split","behavior":"Contiguous","invert":false,
    "pattern":{"Regex":"\%s"}}]]):format(pattern) }
  local other = make { pre_tokenizer = ([[{"type":"Split","behavior":"Removed","invert":true,
    "pattern":{"Regex":"(?:\%s)(?:\%s)?(?:\%s)?"}}]]):format(pattern, pattern, pattern) }
  local _, pieces = t:pieces(all)
  local _, kept = other:pieces(all)
  local out, inside = {}, {}
  for _, p in ipairs(kept) do inside[p[1]] = true end
  for _, p in ipairs(pieces) do
    if inside[p[1]] then
      local shift = p[1] >= 0xd800 and 0x800 or 0
      out[#out + 1] = { p[1] + shift, p[2] + shift - 1 }
    end
  end
  return out
end

if files.kind(T.goldens .. "/tokenizers/unicode.json") then
  T.golden("tokenizers/unicode.json", function()
    local golden = json.decode(T.read(T.goldens .. "/tokenizers/unicode.json"))
    local all = {}
    for c = 0, 0x10ffff do
      if c < 0xd800 or c > 0xdfff then all[#all + 1] = utf8(c) end
    end
    all = table.concat(all)
    for _, class in ipairs { "L", "N", "M", "s" } do
      local got = ranges(all, class == "s" and "\\s" or "\\p{" .. class .. "}")
      T.equal(#got, #golden[class])
      for i, range in ipairs(golden[class]) do same(got[i], range, class) end
    end
    local nfc = make { normalizer = [[{"type":"NFC"}]] }
    for _, code in ipairs(json.keys(golden.nfc_single_changed)) do
      same({ (nfc:pieces(hex { code })) }, { hex(golden.nfc_single_changed[code]) }, code)
    end
    for _, pair in ipairs(golden.nfc_sequences) do
      same({ (nfc:pieces(hex(pair[1]))) }, { hex(pair[2]) }, table.concat(pair[1], " "))
    end
    return 0
  end)
end

T.test("normalizers do what they are called", function()
  local function normal(json_text, text) return (make { normalizer = json_text }:pieces(text)) end
  T.equal(normal([[{"type":"NFD"}]], "é한"),
    "e\204\129" .. "\225\132\146\225\133\161\225\134\171")
  T.equal(normal([[{"type":"NFKC"}]], "ﬁ①Ａｶﾞ"), "fi1Aガ")
  T.equal(normal([[{"type":"NFKD"}]], "½"), "1⁄2")
  T.equal(normal([[{"type":"Lowercase"}]], "ÀİΣẞ"), "ài\204\135σß")
  T.equal(normal([[{"type":"Strip","strip_left":true,"strip_right":false}]], " a "), "a ")
  T.equal(normal([[{"type":"Replace","pattern":{"String":"ab"},"content":"xyz"}]], "cabab"),
    "cxyzxyz")
  T.equal(normal([[{"type":"Replace","pattern":{"Regex":"\\s+"},"content":""}]], " a \n b"), "ab")
  T.equal(normal([[{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},
    {"type":"Lowercase"}]}]], "A"), "_a")
end)

T.test("pre-tokenizers cut where they say", function()
  local function cut(json_text, text)
    local normalized, pieces = make { pre_tokenizer = json_text }:pieces(text)
    local out = {}
    for i, p in ipairs(pieces) do out[i] = normalized:sub(p[1] + 1, p[2]) end
    return table.concat(out, "|")
  end
  local function split(behavior, invert)
    return cut(([[{"type":"Split","pattern":{"String":"-"},"behavior":"%s","invert":%s}]]):format(
      behavior, tostring(invert or false)), "a--b-c-")
  end
  T.equal(split "Isolated", "a|-|-|b|-|c|-")
  T.equal(split "Removed", "a|b|c")
  T.equal(split("Removed", true), "-|-|-|-")
  T.equal(split "MergedWithPrevious", "a-|-|b-|c-")
  T.equal(split "MergedWithNext", "a|-|-b|-c|-")
  T.equal(split "Contiguous", "a|--|b|-|c|-")
  T.equal(cut([[{"type":"Digits","individual_digits":true}]], "a12"), "a|1|2")
  T.equal(cut([[{"type":"Digits","individual_digits":false}]], "a12b"), "a|12|b")
  T.equal(cut([[{"type":"ByteLevel","add_prefix_space":false}]], "it's  a 12!"), "it|'s| | a| 12|!")
  local regex = [[{"type":"Split","behavior":"Isolated","pattern":{"Regex":"%s"}}]]
  T.equal(cut(regex:format [[(?i:'s|'T)|a(?:b|cd)?|\\d{2,3}|x(?=y)|z(?!z)]],
    "'S'tabacdae1234xyxzz"), "'S|'t|ab|acd|a|e|123|4|x|yxz|z")
end)

T.test("ids, tokens and what is special", function()
  local t = make { added_tokens = [[[{"id":8,"content":"<s>","special":true},
    {"id":20,"content":"<x>","special":false,"normalized":false}] ]] }
  T.equal({ t.size, t:id "abc", t:id "<x>", t:id "zz" }, { 21, 4, 20 })
  T.equal({ t:token(4), t:token(8), t:token(12), t:token(-1) }, { "abc", "<s>" })
  T.equal({ t:is_special(8), t:is_special(20), t:is_special(4) }, { true, false, false })
  T.equal(t:encode "a<s>bc<x>", { 0, 8, 1, 2, 20 })
  T.equal(t:decode { 0, 99, 8, -5, 3 }, "a <s> ab")
  T.equal(t:decode({ 0, 8, 3 }, true), "a ab")
  T.equal({ t:encode "", t:decode {} }, { {}, "" })
end)

T.test("a template goes around the text, and only where asked", function()
  local t = make { post_processor = [[{"type":"TemplateProcessing","single":[
    {"SpecialToken":{"id":"S","type_id":0}},{"Sequence":{"id":"A","type_id":0}},
    {"SpecialToken":{"id":"E","type_id":0}}],
    "special_tokens":{"S":{"ids":[5,6]},"E":{"ids":[2]}}}]] }
  T.equal(t:encode("ab", true), { 5, 6, 3, 2 })
  T.equal(t:encode "ab", { 3 })
end)

T.test("unknown characters: bytes, one token together, one each, or nothing", function()
  T.equal(make {}:encode "aéb", { 3 })
  T.equal(make { more = [[,"unk_token":"<unk>"]] }:encode "aééb", { 0, 5, 5, 1 })
  T.equal(make { more = [[,"unk_token":"<unk>","fuse_unk":true]] }:encode "aééb", { 0, 5, 1 })
  local bytes = make {
    model = [["vocab":{"a":0,"<0xC3>":1,"<0xA9>":2},"merges":[],"byte_fallback":true]],
    decoder = [[{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"}]}]] }
  T.equal(bytes:encode "aé", { 0, 1, 2 })
  T.equal(bytes:decode { 0, 1, 2, 0, 1 }, "aéa\239\191\189")
  local s, out = bytes:stream(), {}
  for i, id in ipairs { 0, 1, 2, 1, 0, 1 } do out[i] = s:put(id) end
  out[7], out[8], out[9] = s:finish(), s:put(1), s:put(2)
  local bad = "\239\191\189"
  T.equal(out, { "a", "", "é", "", bad .. "a", "", bad, "", "é" })
end)

T.test("a stream waits for what a decoder may take away", function()
  local t = make { decoder = [[{"type":"Sequence","decoders":[{"type":"Fuse"},
    {"type":"Strip","content":"a","start":2,"stop":1}]}]] }
  local s, out = t:stream(), {}
  for _, id in ipairs { 0, 0, 0, 1, 0, 2, 0 } do out[#out + 1] = s:put(id) end
  out[#out + 1] = s:finish()
  T.equal(out, { "", "", "", "ab", "", "ac", "", "" })
  T.equal(t:decode { 0, 0, 0, 1, 0, 2, 0 }, "abac")
end)

T.test("long texts: no spaces, only marks, one letter", function()
  local t = tokenizer.load("tests/golden/tokenizers/qwen_small")
  for _, text in ipairs { ("abcdefghijklmnopqrstuvwxyz"):rep(4e4), (" "):rep(1e6), ("\n "):rep(2e5),
    ("\204\129\204\167"):rep(1e5), ("a"):rep(3e5) } do
    local nfc = (t:pieces(text))
    T.equal(t:decode(t:encode(text)), nfc)
  end
end)

T.test("the word cache changes nothing", function()
  local folder = "tests/golden/tokenizers/qwen_small"
  local words, state = {}, 7
  for i = 1, 60000 do
    local letters = {}
    for k = 1, 2 + i % 9 do
      state = (state * 16807) % 2147483647
      letters[k] = string.char(97 + state % 9)
    end
    words[i] = table.concat(letters)
  end
  local t, parts = tokenizer.load(folder), {}
  for i = 1, #words, 5000 do parts[#parts + 1] = table.concat(words, " ", i, i + 4999) end
  for pass = 1, 2 do
    for _, text in ipairs(parts) do
      if pass == 2 then T.equal(t:encode(text), tokenizer.load(folder):encode(text)) end
      T.equal(t:decode(t:encode(text)), text)
    end
  end
end)

T.test("a pattern that takes forever is refused, not waited for", function()
  local t = make { pre_tokenizer = ([[{"type":"Split","behavior":"Isolated",
    "pattern":{"Regex":"%sx"}}]]):format(("(?:a|a)"):rep(40)) }
  T.raises("in proportion to the text", function() t:encode(("a"):rep(60)) end)
  T.equal(t:encode "ab", { 3 })
end)
