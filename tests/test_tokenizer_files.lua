--- The files of a tokenizer: what is refused and why, what stands beside tokenizer.json.
local T = require "check"
local files = require "rllava.files"
local tokenizer = require "rllava.tokenizer"
local tiny = require "tiny_tokenizer"
local make = tiny.make

T.test("bad files are refused with the place and what was found", function()
  local function bad(message, parts)
    T.raises(message, function()
      if type(parts) == "string" then return tokenizer.parse(parts, "t.json") end
      return make(parts)
    end)
  end
  bad("t.json:1:12: expected", [[{"model":{"]])
  bad("t.json: the file: expected an object, found an array", "[]")
  bad("t.json: model: expected an object, found none", "{}")
  bad("t.json: model.type: expected BPE, found 'Unigram'",
    [[{"model":{"type":"Unigram","vocab":[]}}]])
  bad("model.vocab: expected an object, found an array", { model = [["vocab":[],"merges":[] ]] })
  bad("model.vocab['b']: expected a whole number from 0 to 4194303, found '1.5'",
    { model = [["vocab":{"a":0,"b":1.5},"merges":[] ]] })
  bad("model.vocab['b']: expected a whole number from 0 to 4194303, found '-1'",
    { model = [["vocab":{"a":0,"b":-1},"merges":[] ]] })
  bad("model.vocab['b']: expected an id of its own, found 0, which is that of 'a'",
    { model = [["vocab":{"a":0,"b":0},"merges":[] ]] })
  bad("model.vocab['a']: expected it once, found it twice",
    { model = [["vocab":{"a":0,"a":1},"merges":[] ]] })
  bad("model.vocab: expected a token for each id from 0 to 2, found none for 1",
    { model = [["vocab":{"a":0,"b":2},"merges":[] ]] })
  bad("model.merges: expected an array, found none", { model = [["vocab":{"a":0}]] })
  bad("model.merges[1]: expected \"left right\" or [\"left\", \"right\"], found 'ab'",
    { model = [["vocab":{"a":0,"b":1,"ab":2},"merges":["a b","ab"] ]] })
  bad("model.merges[0]: expected tokens of the vocabulary, found 'x'",
    { model = [=["vocab":{"a":0},"merges":[["a","x"]]]=] })
  bad("model.merges[0]: expected tokens of the vocabulary, found 'aa'",
    { model = [["vocab":{"a":0},"merges":["a a"] ]] })
  bad("model.unk_token: expected null or a token of the vocabulary, found 'zz'",
    { more = [[,"unk_token":"zz"]] })
  bad("model.dropout: expected null or 0, found '0.1'", { more = [[,"dropout":0.1]] })
  bad("model.end_of_word_suffix: expected null or \"\", found '</w>'",
    { more = [[,"end_of_word_suffix":"</w>"]] })
  bad("model.fuse_unk: expected true or false, found '1'", { more = [[,"fuse_unk":1]] })
  bad("normalizer.normalizers[1].type: expected NFC,", { normalizer =
    [[{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Precompiled"}]}]] })
  bad("normalizer: expected an object or null, found 'NFC'", { normalizer = [["NFC"]] })
  bad("normalizer.prepend: expected a text, found none", { normalizer = [[{"type":"Prepend"}]] })
  bad("pre_tokenizer.type: expected Split,", { pre_tokenizer = [[{"type":"Whitespace"}]] })
  bad("pre_tokenizer.replacement: expected one character, found '__'",
    { pre_tokenizer = [[{"type":"Metaspace","replacement":"__"}]] })
  bad("pre_tokenizer.pattern: expected {\"String\": text} or", { pre_tokenizer =
    [[{"type":"Split","behavior":"Isolated","pattern":"x"}]] })
  for _, case in ipairs { { "(", "expected ')'" }, { "[a", "expected ']'" },
    { "a**", "one greedy" }, { "\\\\p{Lu}", "{L}, {N} or {M}" }, { "\\\\q", "a known escape" },
    { "(?<=a)b", "(?i:" }, { "(ab)*", "behind a group" }, { "a{3,1}", "{m,n}" },
    { "x)", "the end" }, { "(?i:é)", "ASCII in (?i:" }, { "[b-a]", "a range" } } do
    local pattern, message = case[1], case[2]
    bad(message, { pre_tokenizer =
      ([[{"type":"Split","behavior":"Isolated","pattern":{"Regex":"%s"}}]]):format(pattern) })
  end
  bad("decoder.type: expected ByteLevel,", { decoder = [[{"type":"CTC"}]] })
  bad("decoder.decoders[1].type: expected Fuse or Strip behind", { decoder =
    [[{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]}]] })
  bad("post_processor.type: expected TemplateProcessing,",
    { post_processor = [[{"type":"BertProcessing"}]] })
  bad("post_processor.special_tokens: expected the ids", { post_processor =
    [[{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"S"}}],"special_tokens":{}}]] })
  bad("added_tokens: expected an array, found an object", { added_tokens = "{}" })
  bad("added_tokens[0].content: expected a text, found none", { added_tokens = [[ [{"id":8}] ]] })
  bad("added_tokens[0].id: expected a whole number",
    { added_tokens = [[ [{"content":"x","id":"8"}] ]] })
  bad("added_tokens[0].id: expected 0, as 'a' has elsewhere, found 8",
    { added_tokens = [[ [{"content":"a","id":8}] ]] })
  bad("added_tokens[1].id: expected an id of its own for 'y', found 8, that of 'x'",
    { added_tokens = [[ [{"content":"x","id":8},{"content":"y","id":8}] ]] })
  T.raises("no/such/folder: cannot open", function() tokenizer.load "no/such/folder" end)
end)

T.test("every cut of a file is refused", function()
  local text = T.read("tests/golden/tokenizers/addedtok/tokenizer.json")
  for n = 0, #text - 2, 97 do
    T.raises("t.json", function() tokenizer.parse(text:sub(1, n), "t.json") end)
  end
end)

local scratch = os.tmpname()
files.remove(scratch)
T.test("the files beside tokenizer.json add tokens and name special ones", function()
  files.make_folder(scratch)
  files.write(scratch .. "/tokenizer.json", tiny.text { added_tokens = [[ [
    {"id":8,"content":"<s>","special":true},
    {"id":9,"content":"<t>","special":false}] ]] })
  files.write(scratch .. "/tokenizer_config.json", [[{"chat_template":"x","eos_token":"abc",
    "pad_token":null,
    "added_tokens_decoder":{"10":{"content":"<new>","special":true,"lstrip":true}}}]])
  files.write(scratch .. "/special_tokens_map.json", [[{"bos_token":{"content":"<s>"},
    "additional_special_tokens":["<t>"]}]])
  local t = tokenizer.load(scratch)
  T.equal({ t.size, t.bos_token, t.eos_token, t.pad_token, t.config.chat_template },
    { 11, "<s>", "abc", nil, "x" })
  T.equal(t:encode "a <new>abc", { 0, 10, 4 })
  T.equal({ t:is_special(10), t:is_special(4), t:is_special(9) }, { true, true, false })
  local config = scratch .. "/tokenizer_config.json"
  files.write(config, [[{"added_tokens_decoder":{"10":{"content":"abc"}}}]])
  T.raises("expected 4, as 'abc' has elsewhere, found 10", function() tokenizer.load(scratch) end)
  files.write(config, [[{"added_tokens_decoder":{"x":{"content":"abc"}}}]])
  T.raises("expected an id, found \"x\"", function() tokenizer.load(scratch) end)
end)
files.remove(scratch)
