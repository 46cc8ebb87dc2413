--- Jinja2 templates, as the hub's chat templates use them, without a way to files, Lua or an
--- endless run.
---
---   local t = jinja.compile(text, "chat_template")
---   local text = t:render { messages = ..., add_generation_prompt = true }
local rl = require "rllava.ffi"
local V = require "rllava.jinja.value"
local Parser = require "rllava.jinja.parse_block"
local Run = require "rllava.jinja.run"
local functions = require "rllava.jinja.functions"

local jinja = {}
local known = { filters = require "rllava.jinja.filters", tests = require "rllava.jinja.tests" }

local Template = {}
Template.__index = Template

--- Runs body; its failures become errors at the user's line: "name:line: expected ..., found ...".
local function guarded(name, position, body)
  local ok, result = xpcall(body, function(e)
    if type(e) == "table" and e.jinja then return e.jinja end
    local text = tostring(e)
    if text:find("stack overflow", 1, true) then
      return "expected fewer nested steps, found a stack overflow"
    end
    return text
  end)
  if not ok then rl.raise("%s:%d: %s", name, position.line, result) end
  return result
end

--- text -> template.  name: for messages.  options: trim_blocks, lstrip_blocks (true: as chat
--- templates are read).  Refuses what is no template, with its line.
function jinja.compile(text, name, options)
  options = options or {}
  local position = { line = 1 }
  local self = setmetatable({ name = name or "template" }, Template)
  guarded(self.name, position, function()
    V.allow(math.huge)
    local parser = Parser.new(text, {
      trim_blocks = options.trim_blocks ~= false, lstrip_blocks = options.lstrip_blocks ~= false,
    }, position, known)
    parser.blocks = {}
    self.body = parser:statements()
    self.blocks = parser.blocks
  end)
  return self
end

--- The names every template finds, under its variables.
local function globals(options)
  local scope = {}
  for _, name in ipairs { "range", "dict", "namespace", "cycler", "joiner", "raise_exception" } do
    scope[name] = functions[name]
  end
  scope.strftime_now = functions.clock(options.now and function() return options.now end or os.time)
  return scope
end

--- vars: variables by name (Lua tables, values of rllava.json) -> text; spans: where its generation
--- blocks stand, a list of { from, to } in characters, half open.  options: now (seconds since
--- 1970, for strftime_now), work (limit, in values made or 16 bytes of text).
function Template:render(vars, options)
  options = options or {}
  local position, root = { line = 1 }, { n = 0 }
  local run = setmetatable({ known = known, position = position, depth = 0, out = root, root = root,
    spans = {} }, Run)
  guarded(self.name, position, function()
    V.allow(options.work or 1e7)
    local scope = Run.inner(globals(options))
    for name, v in pairs(vars or {}) do scope[name] = v end
    run.top = scope
    scope.self = V.object("TemplateReference", { attr = function(name)
      local body = self.blocks[name]
      return body and V.object("Block", { call = function() return run:capture(body,
        Run.inner(scope)) end })
    end })
    run:exec(self.body, scope)
  end)
  return table.concat(root), run.spans
end

return jinja
