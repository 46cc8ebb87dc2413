local T = require "check"
local json = require "rllava.json"
local jinja = require "rllava.jinja"
local chat = require "rllava.chat"
local embedded = require "rllava.embedded"

local folder = T.goldens .. "/templates/"
local now = os.time { year = 2026, month = 1, day = 2, hour = 3, min = 4, sec = 5 }

local function has(name) return #T.list(folder .. name) > 0 end

--- One golden case: what its body writes, or that it refuses; a message of raise_exception word for word.
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
  if got ~= case.output then error(("%s: expected %q, got %q"):format(case.id, case.output, got), 0) end
  if case.generation_chars and case.generation_chars ~= json.null then T.equal(spans, json.decode(json.encode(case.generation_chars))) end
end

local function each_case(file, run)
  if not has(file) then return end
  T.golden(folder .. file, function()
    for line in T.read(folder .. file):gmatch "[^\n]+" do
      local case = json.decode(line, file, true)
      check_case(case, function() return run(case, case.template or T.read(folder .. "templates/" .. case.template_file)) end)
    end
    return 0
  end)
end

for _, file in ipairs { "cases.jsonl", "chat_cases.jsonl" } do
  each_case(file, function(case, text) return jinja.compile(text, "chat_template"):render(case.context, { now = now }) end)
end

each_case("format_prompt.jsonl", function(case, text) return chat.format_prompt(text):render(case.context) end)

each_case("api_cases.jsonl", function(case, text)
  local options = { now = now }
  for key, v in pairs(case.options) do
    if key ~= "return_assistant_tokens_mask" then options[key] = v end
  end
  local text_out, spans = chat.new(text, { bos_token = "<s>", eos_token = "</s>" }):render(case.messages, options)
  return text_out, case.options.return_assistant_tokens_mask and json.decode(json.encode(json.array(spans))) or {}
end)

local function render(text, vars) return (jinja.compile(text, "chat_template"):render(vars)) end

T.test("a template's error names its line, what was expected and what was found", function()
  T.raises("chat_template:2: expected the end of the expression, found 'b'", function() render "\n{{ a b }}" end)
  T.raises("chat_template:3: '+': expected operands that go together, found str and NoneType", function()
    render("{% for m in messages %}\n\n{{ 'x' + m.content }}{% endfor %}", { messages = { { content = json.null } } })
  end)
  T.raises("chat_template:1: expected one of the tags elif, else, endif, found the end of the template", function()
    render "{% if a %}"
  end)
end)

T.test("an error after a macro's call names the line of the call", function()
  T.raises("chat_template:4: '+'", function() render "{% macro m() %}\n\n{% endmacro %}\n{{ m() + 1 }}" end)
end)

T.test("a template that would not end, or fill memory, is refused", function()
  for _, text in ipairs {
    "{% for i in range(100000) %}{% for j in range(100000) %}{{ i }}{% endfor %}{% endfor %}",
    "{{ 'x' * 10000000000 }}", "{{ [0] * 10000000000 }}", "{{ 'x'.ljust(9999999999) }}", "{{ 7 ** 99999 ** 9 }}",
    "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=[]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x | tojson }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ("("):rep(5000), "{{" .. ("["):rep(5000),
    "{{ " .. ("-"):rep(5000) .. "1 }}", ("{% if 1 %}"):rep(5000), "{{ '%999999999d' % 1 }}", "{{ '{:999999999}'.format(1) }}",
    "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}", "{{ ('x' * 999999).replace('', 'y' * 999999) }}",
    "{{ 'a' | center(99999999999) }}", "{{ ['x'] | batch(99999999999, 'y') | list }}", "{{ 1 | tojson(indent=9999999999) }}",
  } do
    local ok, message = pcall(render, text .. (text:find "^%(" and "" or ""))
    if text:find "^%(" then T.equal(ok, true)
    elseif ok or not message:find "expected" then
      error(("%s: expected a refusal, got %s"):format(text:sub(1, 60), tostring(message):sub(1, 200)))
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
  T.equal(render "{{ 2 ** 100 }} {{ 2 ** 64 - 2 ** 64 + 1 }} {{ -(10 ** 20) // 7 }} {{ 10 ** 20 % 7 }} {{ 9007199254740993 * 3 }}",
    "1267650600228229401496703205376 1 -14285714285714285715 2 27021597764222979")
  T.equal(render("{{ big + 1 }} {{ big | tojson }} {{ big > big - 1 }}", json.decode '{"big": 12345678901234567890}'),
    "12345678901234567891 12345678901234567890 True")
end)

T.test("call blocks, blocks and filter blocks", function()
  T.equal(render "{% macro box(t) %}[{{ t }}:{{ caller('x') }}]{% endmacro %}{% call(v) box('a') %}{{ v }}!{% endcall %}", "[a:x!]")
  T.equal(render "{% block b %}1{% endblock %}{{ self.b() }}{% filter upper | replace('A', 'b') %}a{% endfilter %}", "11b")
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

local pieces = { "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", "|", "(", ")", "[", "]", "{", "}", "'", '"', "\\", "\0", "\255",
  " if ", " else ", " for x in ", " in ", " not ", " is ", "endfor", "endif", "endmacro", "loop", "**", "//", "~", ",", ":", ".",
  "1e999", "99999999999999999999", "messages", "namespace(", "raw", "set ", "macro ", "|tojson", "|map(", ".split(", "%s", "::-1" }

T.test("mutated templates end in text or in a clean error", function()
  local names, messages = T.list(folder .. "templates"), { { role = "user", content = "q" }, { role = "assistant", content = "a" } }
  local draw = counter(7)
  for i = 1, 3000 do
    local text = T.read(folder .. "templates/" .. names[draw(#names)])
    for _ = 1, draw(4) do
      local from = draw(#text)
      local kind = draw(3)
      local piece = kind == 1 and pieces[draw(#pieces)] or kind == 2 and "" or text:sub(draw(#text)):sub(1, draw(40))
      text = text:sub(1, from - 1) .. piece .. text:sub(from + draw(12) - 1)
      if text == "" then text = " " end
    end
    local ok, message = pcall(render, text, { messages = messages, tools = json.array {}, bos_token = "<s>" })
    if not ok and (not message:find "chat_template:%d+: " or message:find "lua/rllava" or message:find "stack overflow") then
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

local question = { { role = "user", content = "q" } }

T.test("a model's folder gives its template and its special tokens", function()
  with_folder({ ["tokenizer_config.json"] = '{"bos_token": {"content": "<b>"}, "eos_token": "</e>", "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"}' },
    function(path) T.equal((chat.load(path):render(question)), "<b>q</e>") end)
  with_folder({ ["chat_template.jinja"] = "J{{ tools is none }}", ["tokenizer_config.json"] = '{"chat_template": "no"}' },
    function(path) T.equal((chat.load(path):render(question)), "JTrue") end)
  with_folder({ ["chat_template.json"] = '{"chat_template": "P"}' },
    function(path) T.equal((chat.load(path):render(question)), "P") end)
  with_folder({ ["tokenizer_config.json"] = '{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T{{ tools | length }}"}]}' },
    function(path)
      T.equal((chat.load(path):render(question)), "D")
      T.equal((chat.load(path):render(question, { tools = { {} } })), "T1")
    end)
end)

T.test("a folder without a template, or with a broken one, is refused by name", function()
  with_folder({}, function(path) T.raises("expected a chat template", function() chat.load(path) end) end)
  with_folder({ ["tokenizer_config.json"] = '{"chat_template": [{"name": "x", "template": "D"}]}' },
    function(path) T.raises("expected one named 'default', found x", function() chat.load(path) end) end)
  with_folder({ ["chat_template.jinja"] = "\n{% end %}" },
    function(path) T.raises("chat_template.jinja:2: expected a tag that is known, found 'end'", function() chat.load(path) end) end)
end)

T.test("append_only tells templates that rewrite earlier turns from those that do not", function()
  local chatml = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
  T.equal(chat.new(chatml):append_only(), true)
  local ok, why = chat.new((chatml:gsub("{{ m.content }}", "{{ m.content.split('</think>')[-1] if not loop.last else m.content }}"))):append_only()
  T.equal(ok, false)
  if not why:find "^turn 2: expected the text to go on" then error(why) end
end)

T.test("a prompt is split at its marks; a missing mark is put in front", function()
  local image, function_text = { type = "image" }, function(s) return { type = "text", text = s } end
  local function content(...) return json.decode(json.encode(chat.messages(...)[1].content)) end
  local function list(t) return json.decode(json.encode(json.array(t))) end
  T.equal(content("a <image> b<image>", 2), list { function_text "a ", image, function_text " b", image })
  T.equal(content("q", 1), list { image, function_text "q" })
  T.equal(content("<video>q", nil, 1), list { { type = "video" }, function_text "q" })
  T.equal(chat.messages("a <image>")[1].content, "a <image>")
  T.equal(chat.messages("q", nil, nil, chat.format_prompt "{{ content | trim }}!\n")[1].content, "q!")
  T.raises("expected 2 <image> marks, one for each image, found 1", function() chat.messages("<image>q", 2) end)
  T.raises("expected 0 <image> marks, one for each image, found 1", function() chat.messages("<image>q", 0) end)
  T.raises("expected 1 <video> marks", function() chat.messages("q", nil, 1) end)
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
      local text = chat.format_prompt(embedded.read(name), name):render { content = " How many {{x}}? " }
      if not text:find("How many {{x}}?", 1, true) then error(name .. ": " .. text) end
    end
  end
  T.equal(n >= 10, true)
end)
