--- Conversations as text: the model's chat template, and prompts with pictures as messages.
local beside = require "rllava.beside"
local rl = require "rllava.ffi"
local json = require "rllava.json"
local jinja = require "rllava.jinja"
local unicode = require "rllava.unicode"

local chat = {}

local Chat = {}
Chat.__index = Chat

--- A template's text -> chat.  options: bos_token, eos_token and any other variable by name; name:
--- for messages; tool_use: a second template, used where tools are given.
function chat.new(text, options)
  local self = setmetatable({ name = "chat_template", variables = {} }, Chat)
  for key, v in pairs(options or {}) do
    if key == "name" then self.name = v elseif key ~= "tool_use" then self.variables[key] = v end
  end
  self.template = jinja.compile(text, self.name)
  if options and options.tool_use then
    self.tool_use = jinja.compile(options.tool_use, self.name .. " tool_use")
  end
  return self
end

--- The special tokens of a tokenizer_config.json, by name; each is text or { content = text }.
local function special_tokens(config)
  local tokens = {}
  for _, name in ipairs { "bos", "eos", "unk", "sep", "pad", "cls", "mask" } do
    local v = config[name .. "_token"]
    if type(v) == "table" then v = v.content end
    if type(v) == "string" then tokens[name .. "_token"] = v end
  end
  return tokens
end

--- A chat_template: text, or a list of { name, template } -> text, text for tools.
local function choose(v, file)
  if type(v) == "string" then return v end
  if type(v) ~= "table" or not json.is_array(v) then
    rl.raise("%s: chat_template: expected text or a list of templates, found %s", file, type(v))
  end
  local by_name, names = {}, {}
  for i, entry in ipairs(v) do
    if type(entry) ~= "table" or type(entry.name) ~= "string"
      or type(entry.template) ~= "string" then
      rl.raise("%s: chat_template: entry %d: expected a name and a template", file, i)
    end
    by_name[entry.name], names[i] = entry.template, entry.name
  end
  if not by_name.default then
    rl.raise("%s: chat_template: expected one named 'default', found %s", file,
      table.concat(names, ", "))
  end
  return by_name.default, by_name.tool_use
end

local function object(model, name)
  local text, path = beside.read(model, name)
  local v = text and json.decode(text, path)
  if text and (type(v) ~= "table" or json.is_array(v)) then
    rl.raise("%s: expected an object", path)
  end
  return v, path
end

--- model: a folder or a .gguf file; its chat_template.jinja, else chat_template.json, else
--- tokenizer_config.json's chat_template -> chat, with the special tokens of tokenizer_config.json.
function chat.load(model)
  local config, config_file = object(model, "tokenizer_config.json")
  local options = special_tokens(config or {})
  local text, path = beside.read(model, "chat_template.jinja")
  if text then
    options.name = path
    options.tool_use = beside.read(model, "additional_chat_templates/tool_use.jinja")
    return chat.new(text, options)
  end
  local holder
  holder, path = object(model, "chat_template.json")
  if not holder or holder.chat_template == nil then path, holder = config_file, config or {} end
  if holder.chat_template == nil or holder.chat_template == json.null then
    rl.raise("%s: expected a chat template (chat_template.jinja, chat_template.json, "
      .. "or in tokenizer_config.json), found none", model)
  end
  text, options.tool_use = choose(holder.chat_template, path)
  options.name = path .. ": chat_template"
  return chat.new(text, options)
end

local function copy(t)
  local members = {}
  for i, key in ipairs(json.keys(t)) do members[i] = { key, t[key] } end
  return json.object(members)
end

--- Messages as templates expect them: a reasoning given as `reasoning` or `thinking` is also
--- reasoning_content.
local function prepared(messages)
  local list = json.array {}
  for i, m in ipairs(messages) do
    if type(m) ~= "table" then
      rl.raise("message %d: expected a table with role and content, found %s", i, type(m))
    end
    local reasoning = m.reasoning_content == nil and (m.reasoning or m.thinking)
    if reasoning and reasoning ~= json.null then
      m = copy(m)
      m.reasoning_content = reasoning
    end
    list[i] = m
  end
  return list
end

local mark = "CONTINUE_FINAL_MESSAGE_TAG "

--- Puts the mark behind the last text of the last message -> that text.
local function put_mark(list)
  local last = copy(list[#list])
  list[#list] = last
  local content = last.content
  if type(content) == "string" then
    last.content = content .. mark
    return content
  end
  local parts = json.array {}
  for i, part in ipairs(type(content) == "table" and content or {}) do parts[i] = part end
  for i = #parts, 1, -1 do
    if type(parts[i].text) == "string" then
      local text = parts[i].text
      parts[i] = copy(parts[i])
      parts[i].text, last.content = text .. mark, parts
      return text
    end
  end
  rl.raise "continue_final_message: expected text in the last message, found none"
end

--- Cuts what the template puts behind the last message.
local function cut_mark(text, final)
  local short = mark:sub(1, -2)
  local found = text:find(unicode.trim(final), 1, true)
    and text:reverse():find(short:reverse(), 1, true)
  if not found then
    rl.raise("continue_final_message: expected the last message in the text, "
      .. "found that the template changed it: %q", final)
  end
  local at = #text - found - #short + 2
  local head = text:sub(1, at - 1)
  return text:sub(at, at + #mark - 1) == mark and head or unicode.strip(head, nil, false, true)
end

--- messages: list of { role =, content = }, content: text or a list of { type = "text", text = }
--- and { type = "image" } -> text, spans.  options: add_generation_prompt; tools;
--- continue_final_message (the text ends inside the last message); any other variable of the
--- template; now, seconds since 1970.
--- spans: { from, to } in characters, half open, of the template's generation blocks.
function Chat:render(messages, options)
  local vars = { tools = json.null, documents = json.null, add_generation_prompt = false }
  for key, v in pairs(self.variables) do vars[key] = v end
  for key, v in pairs(options or {}) do vars[key] = v end
  vars.messages, vars.continue_final_message, vars.now = prepared(messages), nil, nil
  local final
  if options and options.continue_final_message then
    if vars.add_generation_prompt then
      rl.raise "continue_final_message: expected no add_generation_prompt beside it, found both"
    end
    if #vars.messages == 0 then
      rl.raise "continue_final_message: expected a message, found none"
    end
    final = put_mark(vars.messages)
  end
  local template = vars.tools ~= json.null and self.tool_use or self.template
  local text, spans = template:render(vars, { now = options and options.now })
  if final then return cut_mark(text, final), spans end
  return text, spans
end

local function excerpt(s, at)
  local from = math.max(1, at - 20)
  return ("%q"):format(s:sub(from, at + 20))
end

local function first_difference(a, b)
  local n = 1
  while n <= #a and a:byte(n) == b:byte(n) do n = n + 1 end
  return n
end

--- Three turns, the answers with a thought; parts: contents as lists.
local function three_turns(parts)
  local function content(s) return parts and { { type = "text", text = s } } or s end
  local messages = {}
  for turn = 1, 3 do
    messages[2 * turn - 1] = { role = "user", content = content("question " .. turn) }
    local answer = ("<think>\nthought %d\n</think>\n\nanswer %d"):format(turn, turn)
    messages[2 * turn] = { role = "assistant", content = content(answer) }
  end
  return messages
end

--- Does the text of a conversation stay a prefix of itself as turns are added?  -> true; or false
--- and why.  Where it does not, only the tokens of each turn as they were sampled are right.
function Chat:append_only()
  local ok, messages = false, nil
  for _, parts in ipairs { false, true } do
    messages = three_turns(parts)
    ok = pcall(self.render, self, { messages[1] })
    if ok then break end
  end
  local before = ""
  for n = 1, 6 do
    local so_far = {}
    for i = 1, n do so_far[i] = messages[i] end
    local rendered, text = pcall(self.render, self, so_far, { add_generation_prompt = n % 2 == 1 })
    if not rendered then
      return false, ("turn %d does not render: %s"):format(math.ceil(n / 2), text)
    end
    if text:sub(1, #before) ~= before then
      local at = first_difference(before, text)
      local message = "turn %d: expected the text to go on after %s, found %s"
      return false, message:format(math.ceil(n / 2), excerpt(before, at), excerpt(text, at))
    end
    before = text
  end
  return true
end

--- The text of a prompt template (recipes/prompts/NAME.jinja) -> template with one variable,
--- content. White space at its ends goes; blanks and newlines around its blocks stay.
function chat.format_prompt(text, name)
  return jinja.compile(unicode.trim(text), name or "format_prompt",
    { trim_blocks = false, lstrip_blocks = false })
end

--- "a <image> b" -> parts of text, image, video; empty texts go.  counts: by kind, added to.
local function split(text, counts)
  local parts, at = {}, 1
  local function add(s) if s ~= "" then parts[#parts + 1] = { type = "text", text = s } end end
  while true do
    local from, to, kind
    for name in pairs(counts) do
      local i, j = text:find("<" .. name .. ">", at, true)
      if i and (not from or i < from) then from, to, kind = i, j, name end
    end
    add(text:sub(at, (from or 0) - 1))
    if not from then return parts end
    parts[#parts + 1] = { type = kind }
    counts[kind], at = counts[kind] + 1, to + 1
  end
end

--- Messages that came as such, their text split at the marks where no part is a picture yet.
local function split_messages(messages, counts)
  local has_parts, list = false, {}
  for _, m in ipairs(messages) do
    for _, part in ipairs(type(m.content) == "table" and m.content or {}) do
      if counts[part.type] then counts[part.type], has_parts = counts[part.type] + 1, true end
    end
  end
  for i, m in ipairs(messages) do
    list[i] = m
    if not has_parts and type(m.content) == "string" and next(counts) then
      local parts = split(m.content, counts)
      if #parts > 1 or parts[1] and parts[1].type ~= "text" then
        list[i] = copy(m)
        list[i].content = json.array(parts)
      end
    end
  end
  return list
end

local function verify(counts, wanted)
  for _, kind in ipairs { "image", "video" } do
    if counts[kind] and counts[kind] ~= wanted[kind] then
      rl.raise("prompt: expected %d <%s> marks, one for each %s, found %d", wanted[kind], kind,
        kind, counts[kind])
    end
  end
end

--- prompt: a text, or a list of messages (then format_prompt is not applied); nimages, nvideos: how
--- many the row has, nil: it has no such column; format_prompt: template or nil -> messages.
--- A text is split at <image> and <video>; if it has pictures and no mark, one is put in front.
--- Refuses a number of marks that is not that of the pictures.
function chat.messages(prompt, nimages, nvideos, format_prompt)
  local wanted, counts = { image = nimages, video = nvideos }, {}
  for kind in pairs(wanted) do counts[kind] = 0 end
  if type(prompt) == "table" then
    local list = split_messages(prompt, counts)
    verify(counts, wanted)
    return list
  end
  if type(prompt) ~= "string" then
    rl.raise("prompt: expected text or a list of messages, found %s", type(prompt))
  end
  if format_prompt then prompt = format_prompt:render { content = prompt } end
  if (nimages or 0) > 0 and not prompt:find("<image>", 1, true) then
    prompt = "<image>" .. prompt
  end
  if not next(counts) then return { { role = "user", content = prompt } } end
  local parts = split(prompt, counts)
  verify(counts, wanted)
  if nimages == 0 and (nvideos or 0) == 0 then return { { role = "user", content = prompt } } end
  return { { role = "user", content = json.array(parts) } }
end

return chat
