local T = require "check"
local json = require "rllava.json"
local jinja = require "rllava.jinja"
local chat = require "rllava.chat"
local embedded = require "rllava.embedded"

local folder = T.goldens .. "/templates/"
local now = os.time { year = 2026, month = 1, day = 2, hour = 3, min = 4, sec = 5 }

local function has(name) return #T.list(folder .. name) > 0 end

--- One golden case: what body writes, or that it refuses (what raise_exception says to the letter).
local function check_case(case, body)
  local ok, got, spans = pcall(body)
  if case.error then
    if ok then error(("%s: expected an error, got %q"):format(case.id, got), 0) end
    local message = case.error.message
    if case.error.type == "TemplateError" and got:sub(-#message) ~= message then
      error(("%s: expected the error %q, got %q"):format(case.id, message, got), 0)
    end
    return
  end
  if not ok then error(("%s: %s"):format(case.id, got), 0) end
  if got ~= case.output then
    error(("%s: expected %q, got %q"):format(case.id, case.output, got), 0)
  end
  if case.generation_chars and case.generation_chars ~= json.null then
    T.equal(spans, json.decode(json.encode(case.generation_chars)))
  end
end

local function each_case(file, run)
  if not has(file) then return end
  T.golden(folder .. file, function()
    for line in T.read(folder .. file):gmatch "[^\n]+" do
      local case = json.decode(line, file, true)
      check_case(case, function()
        return run(case, case.template or T.read(folder .. "templates/" .. case.template_file))
      end)
    end
    return 0
  end)
end

for _, file in ipairs { "cases.jsonl", "chat_cases.jsonl" } do
  each_case(file, function(case, text)
    return jinja.compile(text, "chat_template"):render(case.context, { now = now })
  end)
end

each_case("format_prompt.jsonl", function(case, text)
  return chat.format_prompt(text):render(case.context)
end)

each_case("api_cases.jsonl", function(case, text)
  local options = { now = now }
  for key, v in pairs(case.options) do
    if key ~= "return_assistant_tokens_mask" then options[key] = v end
  end
  local c = chat.new(text, { bos_token = "<s>", eos_token = "</s>" })
  local got, spans = c:render(case.messages, options)
  return got, json.decode(json.encode(json.array(spans)))
end)

local function render(text, vars) return (jinja.compile(text, "chat_template"):render(vars)) end

T.test("a template's error names its line, what was expected and what was found", function()
  T.raises("chat_template:2: expected the end of the expression, found 'b'", function()
    render "\n{{ a b }}"
  end)
  T.raises("chat_template:3: '+': expected operands that go together, found str and NoneType",
    function()
      render("{% for m in messages %}\n\n{{ 'x' + m.content }}{% endfor %}",
        { messages = { { content = json.null } } })
    end)
  T.raises("chat_template:1: expected one of the tags elif, else, endif, found the end of",
    function() render "{% if a %}" end)
end)

T.test("an error after a macro's call names the line of the call", function()
  T.raises("chat_template:4: '+'", function()
    render "{% macro m() %}\n\n{% endmacro %}\n{{ m() + 1 }}"
  end)
end)

local function growing(start, step, n, last)
  return ("{%% set n = namespace(x=%s) %%}{%% for i in range(%d) %%}"):format(start, n)
    .. ("{%% set n.x = %s %%}{%% endfor %%}{{ %s }}"):format(step, last)
end

local endless = {
  "{% for i in range(100000) %}{% for j in range(100000) %}{{ i }}{% endfor %}{% endfor %}",
  growing("'ab'", "n.x + n.x", 99, "n.x"), growing("[]", "[n.x, n.x]", 99, "n.x"),
  growing("[]", "[n.x]", 99999, "n.x | tojson"), growing("[]", "[n.x]", 99999, "n.x == [n.x]"),
  "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
  "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
  "{{ 'x' * 10000000000 }}", "{{ [0] * 10000000000 }}", "{{ 'x'.ljust(9999999999) }}",
  "{{ 7 ** 99999 ** 9 }}", "{{ '%999999999d' % 1 }}", "{{ '{:999999999}'.format(1) }}",
  "{{ ('x' * 999999).replace('', 'y' * 999999) }}", "{{ 'a' | center(99999999999) }}",
  "{{ ['x'] | batch(99999999999, 'y') | list }}", "{{ 1 | tojson(indent=9999999999) }}",
  "{{" .. ("["):rep(5000), "{{ " .. ("-"):rep(5000) .. "1 }}", ("{% if 1 %}"):rep(5000),
}
T.test("a template that would not end, or fill memory, is refused", function()
  for _, text in ipairs(endless) do
    local ok, message = pcall(render, text)
    if ok or not message:find "expected" then
      error(text:sub(1, 60) .. ": expected a refusal, got " .. tostring(message):sub(1, 200))
    end
  end
end)

T.test("a long needle in a long text is found in linear time", function()
  local hay, needle = ("a"):rep(400000), ("a"):rep(150000) .. "b"
  T.equal(render("{{ n in h }}{{ n in h ~ n }}", { h = hay, n = needle }), "FalseTrue")
end)

T.test("a template sees its variables and nothing of Lua", function()
  for _, name in ipairs { "os", "io", "require", "_G", "string", "print", "ffi", "__index" } do
    T.equal(render("{{ " .. name .. " is defined }}"), "False")
  end
  T.equal(render "{{ ''.__class__ }}{{ 'x'.__index is defined }}|{{ [].__len__ }}" , "False|")
  T.raises("found a function", function() render("{{ f() }}", { f = print }) end)
end)

T.test("integers are exact at any size", function()
  T.equal(render "{{ 2 ** 100 }} {{ 2 ** 64 - 2 ** 64 + 1 }}", "1267650600228229401496703205376 1")
  T.equal(render "{{ -(10 ** 20) // 7 }} {{ 10 ** 20 % 7 }}", "-14285714285714285715 2")
  T.equal(render "{{ 9007199254740993 * 3 }}", "27021597764222979")
  local vars = json.decode '{"big": 12345678901234567890}'
  T.equal(render("{{ big + 1 }} {{ big | tojson }} {{ big > big - 1 }}", vars),
    "12345678901234567891 12345678901234567890 True")
end)

T.test("call blocks, blocks and filter blocks", function()
  T.equal(render("{% macro box(t) %}[{{ t }}:{{ caller('x') }}]{% endmacro %}"
    .. "{% call(v) box('a') %}{{ v }}!{% endcall %}"), "[a:x!]")
  T.equal(render "{% block b %}1{% endblock %}{{ self.b() }}", "11")
  T.equal(render "{% filter upper | replace('A', 'b') %}a{% endfilter %}", "b")
end)

--- A generator whose numbers depend on their place alone (splitmix32).
local function counter(seed)
  local bit, at = require "bit", seed
  return function(n)
    at = bit.tobit(at + 0x9e3779b9)
    local z = bit.bxor(at, bit.rshift(at, 16))
    z = tonumber(bit.tobit(0x21f0aaadLL * z))
    z = bit.bxor(z, bit.rshift(z, 15))
    z = tonumber(bit.tobit(0x735a2d97LL * z))
    return bit.bxor(z, bit.rshift(z, 15)) % 2 ^ 31 % n + 1
  end
end

local pieces = {
  "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", "|", "(", ")", "[", "]", "{", "}", "'", '"', "\\",
  "\0", "\255", " if ", " else ", " for x in ", " in ", " not ", " is ", "endfor", "endif",
  "endmacro", "loop", "**", "//", "~", ",", ":", ".", "1e999", "99999999999999999999", "messages",
  "namespace(", "raw", "set ", "macro ", "|tojson", "|map(", ".split(", "%s", "::-1",
}

--- text with one to four cuts, insertions or copies of its own parts.
local function mutate(text, draw)
  for _ = 1, draw(4) do
    local from, kind, piece = draw(#text), draw(3), ""
    if kind == 1 then piece = pieces[draw(#pieces)]
    elseif kind == 2 then piece = text:sub(draw(#text)):sub(1, draw(40)) end
    text = text:sub(1, from - 1) .. piece .. text:sub(from + draw(12) - 1)
    if text == "" then text = " " end
  end
  return text
end

local function clean(message)
  return message:find "chat_template:%d+: " and not message:find "lua/rllava"
    and not message:find "stack overflow"
end

T.test("mutated templates end in text or in a clean error", function()
  local names, draw = T.list(folder .. "templates"), counter(7)
  local vars = { tools = json.array {}, bos_token = "<s>",
    messages = { { role = "user", content = "q" }, { role = "assistant", content = "a" } } }
  for i = 1, 3000 do
    local text = mutate(T.read(folder .. "templates/" .. names[draw(#names)]), draw)
    local ok, message = pcall(render, text, vars)
    if not ok and not clean(message) then
      error(("mutation %d: expected a clean error, got %s\n%s"):format(i, message, text))
    end
  end
end)

local function with_folder(list, body)
  local files = require "rllava.files"
  local path = os.tmpname()
  os.remove(path)
  files.make_folder(path)
  for name, text in pairs(list) do files.write(path .. "/" .. name, text) end
  local ok, message = pcall(body, path)
  files.remove(path)
  if not ok then error(message, 0) end
end

--- What the template of a folder with these files makes of one question.
local function answer(list, options)
  local text
  with_folder(list, function(path)
    text = chat.load(path):render({ { role = "user", content = "q" } }, options)
  end)
  return text
end

T.test("a model's folder gives its template and its special tokens", function()
  T.equal(answer { ["tokenizer_config.json"] = [[{
    "bos_token": {"content": "<b>"}, "eos_token": "</e>",
    "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"}]] }, "<b>q</e>")
  T.equal(answer { ["chat_template.jinja"] = "J{{ tools is none }}",
    ["tokenizer_config.json"] = '{"chat_template": "no"}' }, "JTrue")
  T.equal(answer { ["chat_template.json"] = '{"chat_template": "P"}' }, "P")
  local two = { ["tokenizer_config.json"] = [[{"chat_template": [
    {"name": "default", "template": "D"},
    {"name": "tool_use", "template": "T{{ tools | length }}"}]}]] }
  T.equal(answer(two), "D")
  T.equal(answer(two, { tools = { {} } }), "T1")
end)

T.test("a folder without a template, or with a broken one, is refused by name", function()
  T.raises("expected a chat template", function() answer {} end)
  T.raises("expected one named 'default', found x", function()
    answer { ["tokenizer_config.json"] = '{"chat_template": [{"name": "x", "template": "D"}]}' }
  end)
  T.raises("chat_template.jinja:2: expected a tag that is known, found 'end'", function()
    answer { ["chat_template.jinja"] = "\n{% end %}" }
  end)
end)

T.test("append_only tells templates that rewrite earlier turns from those that do not", function()
  local chatml = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    .. "{% if add_generation_prompt %}<|assistant|>{% endif %}"
  T.equal(chat.new(chatml):append_only(), true)
  local forgets = "{{ m.content.split('</think>')[-1] if not loop.last else m.content }}"
  local ok, why = chat.new((chatml:gsub("{{ m.content }}", forgets))):append_only()
  T.equal(ok, false)
  if not why:find "^turn 2: expected the text to go on" then error(why) end
end)

T.test("a prompt is split at its marks; a missing mark is put in front", function()
  local image = { type = "image" }
  local function words(s) return { type = "text", text = s } end
  local function content(...) return json.decode(json.encode(chat.messages(...)[1].content)) end
  local function list(t) return json.decode(json.encode(json.array(t))) end
  T.equal(content("a <image> b<image>", 2), list { words "a ", image, words " b", image })
  T.equal(content("q", 1), list { image, words "q" })
  T.equal(content("<video>q", nil, 1), list { { type = "video" }, words "q" })
  T.equal(chat.messages("a <image>")[1].content, "a <image>")
  local format_prompt = chat.format_prompt "{{ content | trim }}!\n"
  T.equal(chat.messages("q", nil, nil, format_prompt)[1].content, "q!")
  for message, args in pairs {
    ["expected 2 <image> marks, one for each image, found 1"] = { "<image>q", 2 },
    ["expected 0 <image> marks, one for each image, found 1"] = { "<image>q", 0 },
    ["expected 1 <video> marks"] = { "q", nil, 1 },
  } do
    T.raises(message, function() chat.messages(args[1], args[2], args[3]) end)
  end
end)

T.test("messages stay as they are, but for marks of pictures in their text", function()
  local given = { { role = "system", content = "s" }, { role = "user", content = "<image>q" } }
  T.equal(chat.messages(given), given)
  T.equal(chat.messages(given, 1)[2].content[1].type, "image")
  T.equal(chat.messages(given, 1)[1].content, "s")
  T.raises("found 1", function() chat.messages(given, 2) end)
end)

T.test("every shipped prompt template renders the question", function()
  local n = 0
  for _, name in ipairs(embedded.names()) do
    if name:find "^recipes/prompts/.*%.jinja$" then
      n = n + 1
      local template = chat.format_prompt(embedded.read(name), name)
      local text = template:render { content = " How many {{x}}? " }
      if not text:find("How many {{x}}?", 1, true) then error(name .. ": " .. text) end
    end
  end
  T.equal(n >= 10, true)
end)
