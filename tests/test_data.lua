local T = require "check"
local data = require "rllava.data"
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local splits = require "rllava.data.splits"

local scratch = os.tmpname()
os.remove(scratch)
files.make_folder(scratch)

--- A file of the scratch folder with this content -> its path.
local function file(name, text)
  local path = files.join(scratch, name)
  files.make_folder(files.folder(path))
  files.write(path, text)
  return path
end

local png = "\137PNG\r\n\26\n" .. ("pixels"):rep(1000)

T.test("sha-256 has the published values, at every length around a block", function()
  T.equal(files.sha256_text "abc",
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  T.equal(files.sha256_text "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
  local two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
  T.equal(files.sha256_text(two_blocks),
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
  T.equal(files.sha256_text(("a"):rep(1000000)),
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  local seen = {}
  for n = 54, 130 do
    local h = files.sha256_text(("a"):rep(n))
    assert(#h == 64 and not seen[h])
    seen[h] = true
  end
end)

T.test("rows have their columns and prompt, answer, images, source", function()
  local path = file("plain/rows.jsonl",
    '{"problem":"1+1?","answer":"2","level":3,"tags":["a",null],"none":null}\n\n'
    .. '{"problem":"2+2?","answer":"4","image":"p.png"}')
  file("plain/p.png", png)
  local rows = data.open(path)
  T.equal({ rows.n, #rows.hash, #rows.dropped }, { 2, 16, 0 })
  local row = rows:get(1)
  T.equal({ row.prompt, row.answer, row.problem, row.level, #row.images },
    { "1+1?", "2", "1+1?", 3, 0 })
  T.equal({ row.none == nil, row.tags[2] == json.null, row.source }, { true, true, path .. ":1" })
  T.equal(rows:get(2).images, { { path = scratch .. "/plain/p.png" } })
  T.equal(rows:get(2).source, path .. ":3")
  T.raises("expected a row from 1 to 2, got 3", function() rows:get(3) end)
end)

T.test("globs: stars, question marks, sets and ranges, as a data set's card writes them", function()
  local function has(name, glob) return splits.matches(name, { glob }) end
  T.equal({ has("a/train-07.json", "a/train-[0-9][0-9].json"), has("a/b.json", "**/*.json"),
    has("b.json", "[!a].json"), has("x-y.json", "?-y.json"), has("50%", "[%5]0[%]") },
    { true, true, true, true, true })
  T.equal({ has("train-7.json", "train-[0-6].json"), has("a.json", "[!a].json"),
    has("a/b.json", "*.json"), has("ab", "a[") }, { false, false, false, false })
end)

T.test("a key names another column, or a member of one; columns it would hide stay", function()
  local list = { { question = "q", prompt = "other", source = "a book",
    reward_model = { ground_truth = "7" } } }
  local row = data.open(list, { prompt_key = "question" }):get(1)
  T.equal({ row.prompt, row.answer, row.source, row.columns.source, row.columns.prompt },
    { "q", "7", "row 1", "a book", "other" })
  T.equal(data.open(list, { prompt_key = "question", answer_key = "source" }):get(1).answer,
    "a book")
  T.equal(list[1].prompt, "other")
end)

T.test("messages: turns of either spelling; a last turn of the assistant is the answer", function()
  local turns = { { from = "human", value = "hi" }, { from = "gpt", value = "ho" } }
  local row = data.open { { conversations = turns } }:get(1)
  T.equal({ #row.prompt, row.prompt[1].role, row.prompt[1].content, row.answer },
    { 1, "user", "hi", "ho" })
  T.equal(#row.conversations, 2)
  local asked = { prompt = { { role = "user", content = "hi" } } }
  row = data.open({ asked }, { answer_key = false }):get(1)
  T.equal({ row.prompt[1].content, row.answer }, { "hi" })
end)

T.test("pictures: bytes, base64, data: URI, struct, list, path, and inside of messages", function()
  local b64 = "iVBORw0KGgo" .. ("AAAA"):rep(2000)
  local bytes = "\137PNG\r\n\26\n" .. ("\0"):rep(6000)
  file("pictures/p.png", png)
  local function images(image)
    local row = { problem = "?", answer = "1", images = image }
    return data.open({ row }, { image_dir = scratch .. "/pictures" }):get(1).images
  end
  T.equal(images(png)[1].bytes, png)
  T.equal(images("data:image/png;base64," .. b64)[1].bytes, bytes)
  T.equal(images { { bytes = b64 } }[1].bytes, bytes)
  T.equal(images { bytes = png, path = "x" }, { { bytes = png, path = "x" } })
  T.equal(images { bytes = ("abcd"):rep(20) }[1].bytes, ("abcd"):rep(20))
  T.equal(images { { path = "p.png" }, "p.png" }[2], { path = scratch .. "/pictures/p.png" })
  T.equal(images(scratch .. "/pictures/p.png")[1].path, scratch .. "/pictures/p.png")
  T.equal(images {}, {})
  local content = { { type = "image_url", image_url = { url = "data:image/png;base64," .. b64 } },
    { type = "text", text = "what?" } }
  local messages = { { role = "user", content = content } }
  local row = data.open { { messages = messages, answer = "1" } }:get(1)
  T.equal(row.images, { { bytes = bytes } })
  T.equal({ row.prompt[1].content[1].type, row.prompt[1].content[1].image_url,
    row.prompt[1].content[2].text },
    { "image", nil, "what?" })
  T.equal(row.messages[1].content[1].image_url.url:sub(1, 22), "data:image/png;base64,")
end)

T.test("a row that cannot be used is an error that names file, row, expected and found", function()
  local path = file("bad/rows.jsonl", [[{"quesion":"a","answer":"1"}
{"question":"b","answer":"1","image":"no.png"}
{"question":"c"}
{"question":"","answer":"1"}
{"question":"d","answer":"1","image":"http://x/y.png"}
{"question":"e","answer":false}
]])
  T.raises(path .. ":1: prompt: expected a column 'question', found columns 'quesion', 'answer'; "
    .. "the nearest is 'quesion'", function() data.open(path, { prompt_key = "question" }) end)
  local rows = data.open(path, { on_bad = "drop" })
  T.equal({ rows.n, rows:get(1).prompt, rows:get(1).answer }, { 1, "e", false })
  T.equal(#rows.dropped, 5)
  T.equal(rows.dropped[2],
    path .. ":2: image: expected the file '" .. scratch .. "/bad/no.png', found nothing")
  T.equal(rows.dropped[3],
    path .. ":3: answer: expected a column 'answer', found columns 'question'; "
    .. "the nearest is 'question' (data.answer_key; false where the reward needs none)")
  T.equal(rows.dropped[4],
    path .. ":4: prompt: expected text or messages in column 'question', found blank text")
  T.equal(rows.dropped[5], path .. ":5: image: expected a file, found the address 'http://x/y.png'")
end)

T.test("JSON files: a list, rows under a member, lines", function()
  local one = '{"problem":"a","answer":"1"}'
  T.equal(data.open(file("json/a.json", "[" .. one .. "," .. one .. "]")).n, 2)
  T.equal(data.open(file("json/b.json", '{"version":1,"data":[' .. one .. "]}")).n, 1)
  T.equal(data.open(file("json/c.json", '\239\187\191{"train":[' .. one .. '],"x":[]}')).n, 1)
  T.equal(data.open(file("json/d.json", one .. "\r\n\r\n" .. one)).n, 2)
  T.equal(data.open(file("json/e.jsonl", "\239\187\191" .. one .. "\r\n\n" .. one .. "\r\n")).n, 2)
  T.raises("d.jsonl:2:13: expected ':', found the end", function()
    data.open(file("json/d.jsonl", one .. '\n{"a":1, "b" \n' .. one))
  end)
  T.raises("expected UTF-8, found byte 0xe9", function()
    data.open(file("json/f.jsonl", '{"a":"\233"}'))
  end)
  T.raises("found 42", function() data.open(file("json/g.json", "42")) end)
  T.raises("g.jsonl:1: expected a row", function() data.open(file("json/g.jsonl", "[1]")) end)
  T.raises("lists a, b", function() data.open(file("json/h.json", '{"a":[],"b":[]}')) end)
  T.raises("expected a file ending in", function() data.open(file("json/i.txt", "x")) end)
end)

T.test("sources: several, lists of them, splits of a folder by name and by card", function()
  local function row(text) return ('{"problem":"%s","answer":"1"}'):format(text) end
  file("set/train-00000.jsonl", row "a" .. "\n" .. row "b")
  file("set/train-00001.jsonl", row "c")
  file("set/val/part.jsonl", row "v")
  file("set/dataset_infos.json", "{}")
  local set = scratch .. "/set"
  local function prompts(spec, options)
    local rows, list = data.open(spec, options), {}
    for i = 1, rows.n do list[i] = rows:get(i).prompt end
    return table.concat(list)
  end
  T.equal(prompts(set), "abc")
  T.equal(prompts(set .. "@validation"), "v")
  T.equal(prompts("set, set/val/part.jsonl", { folder = scratch }), "abcv")
  T.equal(prompts({ set, "set@val" }, { folder = scratch .. "/set" }), "abcv")
  T.equal(prompts(set, { split = "validation" }), "v")
  T.raises("expected files of split 'test', found train-00000.jsonl, train-00001.jsonl, "
    .. "val/part.jsonl", function() data.open(set .. "@test") end)
  T.raises("expected no split, since a file is one", function()
    data.open(set .. "/val/part.jsonl@test")
  end)
  file("set/README.md", "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n"
    .. "  - split: train\n    path: \"val/*.jsonl\"   # turned round\n  - split: test\n    path:\n"
    .. "    - train-*.jsonl\n- config_name: other\n  data_files: [train-00001.jsonl]\n---\n"
    .. "# a set\n")
  T.equal(prompts(set), "v")
  T.equal(prompts(set .. "@test"), "abc")
  T.raises("expected split 'dev', found train, test", function() data.open(set .. "@dev") end)
  T.raises("expected a file, a folder, an embedded set or a hub name owner/name", function()
    data.open "nothing"
  end)
end)

T.test("a function and an embedded set make their rows when asked for", function()
  local asked = {}
  local rows = data.open(function(i)
    asked[#asked + 1] = i
    return { prompt = "p" .. i, answer = i }
  end, { n = 1000 })
  T.equal({ rows.n, rows:get(7).answer, rows:get(7).source }, { 1000, 7, "function: row 7" })
  assert(#asked < 20, "all rows were made at once")
  T.raises("options.n", function() data.open(print) end)
  local tiny = data.open "geoqa-tiny@test"
  local row = tiny:get(3)
  T.equal({ tiny.n, row.images[1].width, row.images[1].height, type(row.images[1].rgb) },
    { 400, 112, 112, "cdata" })
  assert(row.prompt:find "%a" and tonumber(row.answer) and row.type)
  local again = tiny:get(3)
  T.equal({ again.prompt, again.answer }, { row.prompt, row.answer })
  assert(ffi.string(again.images[1].rgb, 37632) == ffi.string(row.images[1].rgb, 37632),
    "another picture")
  T.equal({ data.open("geoqa-tiny").n, data.open("geoqa-tiny@test_numbers").n }, { 2000, 400 })
  T.equal(data.open("geoqa-tiny@test").hash, tiny.hash)
  assert(data.open("geoqa-tiny@test_numbers").hash ~= tiny.hash)
  T.raises("one of train, test, test_numbers, demonstrations, got 'x'", function()
    data.open "geoqa-tiny@x"
  end)
  local maker = file("maker.lua", [[return { rows = function(split)
    return 2, function(i) return { prompt = split .. i, answer = i } end
  end }]])
  T.equal(data.open(maker .. "@odd"):get(2).prompt, "odd2")
end)

T.test("the hash is that of the content: rows, their order, what was dropped", function()
  local a, b = { problem = "a", answer = "1" }, { problem = "b", answer = "2" }
  local hash = data.open({ a, b }).hash
  T.equal(data.open({ a, b }).hash, hash)
  assert(data.open({ b, a }).hash ~= hash and data.open({ a }).hash ~= hash)
  local function drawn(byte)
    local rgb = ffi.new("unsigned char[12]", byte)
    local image = { rgb = rgb, width = 2, height = 2 }
    return data.open({ { problem = "a", answer = "1", image = image } }).hash
  end
  T.equal(drawn(1), drawn(1))
  assert(drawn(1) ~= drawn(2))
  local text = '{"problem":"a","answer":"1"}\n{"problem":"b"}'
  local path = file("hash.jsonl", text)
  assert(data.open(path, { on_bad = "drop" }).hash ~= data.open(path, { answer_key = false }).hash)
end)

T.test("Arrow files and save_to_disk folders are refused, telling how to write Parquet", function()
  T.raises("pyarrow.feather.read_table", function() data.open(file("x.feather", "ARROW1\0\0")) end)
  T.raises("Dataset.from_file", function() data.open(file("x.arrow", "\255\255\255\255")) end)
  file("saved/state.json", "{}")
  T.raises("datasets.load_from_disk", function() data.open(scratch .. "/saved") end)
end)

T.test("an unknown option is an error", function()
  T.raises("unknown option 'promt_key'", function() data.open({}, { promt_key = "x" }) end)
  T.raises("expected 'error' or 'drop'", function() data.open({}, { on_bad = "skip" }) end)
end)

T.test("an order is a permutation, another in each epoch and seed, the same everywhere", function()
  T.equal(data.order(1, 0, 10), { 1, 9, 2, 5, 3, 4, 7, 10, 8, 6 })
  T.equal(data.order(1, 1, 10), { 4, 5, 7, 10, 1, 6, 2, 3, 9, 8 })
  T.equal(data.order(2, 0, 10), { 9, 10, 4, 5, 3, 8, 2, 1, 7, 6 })
  T.equal(data.order(1, 0, 3, false), { 1, 2, 3 })
  T.equal({ #data.order(1, 0, 0), #data.order(1, 0, 1) }, { 0, 1 })
  local seen, list = {}, data.order(3, 2, 1000)
  for _, i in ipairs(list) do
    assert(i >= 1 and i <= 1000 and not seen[i])
    seen[i] = true
  end
  local firsts = {}
  for epoch = 1, 600 do
    local first = data.order(0, epoch, 6)[1]
    firsts[first] = (firsts[first] or 0) + 1
  end
  for i = 1, 6 do assert(firsts[i] > 60 and firsts[i] < 140, "not uniform") end
end)

files.remove(scratch)
