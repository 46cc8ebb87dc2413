--- Tokens -> statements: text, output, and the tags between {% and %}.
local V = require "rllava.jinja.value"
local Parser = require "rllava.jinja.parse_value"

local tags = {}

--- What a tag assigns to: a name, several, or ns.name.  how: as for tuples.
function Parser:target(how)
  how = how or {}
  how.simple = true
  local names = self.names
  self.names = nil
  local node = self:tuple(how)
  self.names = names
  local function check(n)
    if n.kind == "tuple" then for _, item in ipairs(n.items) do check(item) end
    elseif n.kind ~= "name" and n.kind ~= "namespace" then self:fail "a name to assign to" end
  end
  check(node)
  return node
end

--- A single name.
function Parser:name(what)
  local t = self:expect("name", what)
  if ({ ["true"] = 1, ["false"] = 1, none = 1, True = 1, False = 1, None = 1 })[t.value] then
    self.i = self.i - 1
    self:fail(what)
  end
  return t.value
end

--- Statements up to one of the tags in ends ("endif else"), which is left as the current token.
function Parser:body(ends)
  self:expect("block_end", "the end of the block")
  return self:deeper(self.statements, ends)
end

--- The same, and over that tag.
function Parser:body_to(word)
  local body = self:body(word)
  self:expect_name(word)
  return body
end

--- A list of parts, each of which stands in a loop that breaks can leave only if `inside` says so.
function Parser:in_loop(inside, part, ...)
  local loops = self.loops
  self.loops = inside and loops + 1 or 0
  local node = part(self, ...)
  self.loops = loops
  return node
end

function Parser:statements(ends)
  local list = { kind = "body", line = self:token().line }
  while true do
    local t = self:token()
    if t.kind == "end" then
      if ends then self:fail("one of the tags " .. ends:gsub(" ", ", ")) end
      return list
    end
    self:next()
    if t.kind == "data" then list[#list + 1] = self:node("data", { text = t.value, line = t.line })
    elseif t.kind == "variable_begin" then
      list[#list + 1] = self:node("output", { value = self:tuple(), line = t.line })
      self:expect("variable_end", "the end of the expression")
    else
      local word = self:token()
      if word.kind ~= "name" then self:fail "a tag's name" end
      if ends and (" " .. ends .. " "):find(" " .. word.value .. " ", 1, true) then return list end
      if not tags[word.value] then self:fail "a tag that is known" end
      self:next()
      list[#list + 1] = self:node(word.value, tags[word.value](self, word.line))
      list[#list].line = word.line
      self:expect("block_end", "the end of the block")
    end
    self:settle()
  end
end

tags["for"] = function(self)
  local target = self:target { stop = "in" }
  self:expect_name "in"
  local over = self:tuple { plain = true, stop = "recursive" }
  local test = self:skip_name "if" and self:expression() or nil
  local recursive = self:skip_name "recursive" ~= nil
  local body = self:in_loop(true, self.body, "endfor else")
  local other
  if self:next().value == "else" then other = self:body_to "endfor" end
  return { target = target, over = over, test = test, recursive = recursive, body = body,
    other = other }
end

tags["if"] = function(self)
  self.softness = self.softness + 1
  local branches, other = {}, nil
  repeat
    local test = self:tuple { plain = true }
    branches[#branches + 1] = { test = test, body = self:body "elif else endif" }
    local word = self:next().value
    if word == "else" then other = self:body_to "endif" end
  until word ~= "elif"
  self.softness, self.unknown = self.softness - 1, nil
  return { branches = branches, other = other }
end

tags["set"] = function(self)
  local target = self:target { namespace = true }
  if self:skip "=" then return { target = target, value = self:tuple() } end
  local filter = self:is "|" and self:filter(nil) or nil
  return { target = target, filter = filter, body = self:body_to "endset" }
end

--- (a, b=1): names and defaults; the names that the body uses tell whether it takes more.
function Parser:signature()
  local names, defaults = {}, {}
  self:expect "("
  while not self:is ")" do
    if #names > 0 then self:expect "," end
    names[#names + 1] = self:name "a parameter's name"
    if self:skip "=" then defaults[#names] = self:expression()
    elseif next(defaults) then self:fail "a default, as the parameter before has one" end
  end
  self:expect ")"
  return names, defaults
end

function Parser:callable(word, names, defaults)
  local outer, used = self.names, {}
  self.names = used
  local body = self:in_loop(false, self.body_to, word)
  self.names = outer
  if outer then for name in pairs(used) do outer[name] = true end end
  return { names = names, defaults = defaults, body = body,
    varargs = used.varargs, kwargs = used.kwargs, caller = used.caller }
end

tags["macro"] = function(self)
  local name = self:name "the macro's name"
  local node = self:callable("endmacro", self:signature())
  node.name = name
  return node
end

tags["call"] = function(self)
  local names, defaults = {}, {}
  if self:is "(" then names, defaults = self:signature() end
  local call = self:expression()
  if call.kind ~= "call" then self:fail "a call" end
  local node = self:callable("endcall", names, defaults)
  node.call = call
  return node
end

tags["filter"] = function(self)
  local filter = self:filter(nil, true)
  return { filter = filter, body = self:body_to "endfilter" }
end

tags["with"] = function(self)
  local targets, values = {}, {}
  while not self:is "block_end" do
    if #targets > 0 then self:expect "," end
    targets[#targets + 1] = self:target { stop = "=" }
    self:expect "="
    values[#targets] = self:expression()
  end
  return { targets = targets, values = values, body = self:body_to "endwith" }
end

tags["print"] = function(self)
  local values = { self:expression() }
  while self:skip "," do values[#values + 1] = self:expression() end
  return { values = values }
end

tags["block"] = function(self)
  local name = self:name "the block's name"
  self:skip_name "scoped"
  self:skip_name "required"
  if self.blocks[name] then self:fail("a block name that is new, not '" .. name .. "' again;") end
  self.blocks[name] = true
  local body = self:in_loop(false, self.body, "endblock")
  self:expect_name "endblock"
  self:skip_name(name)
  self.blocks[name] = body
  return { name = name, body = body }
end

tags["generation"] = function(self)
  return { body = self:in_loop(false, self.body_to, "endgeneration") }
end

for _, word in ipairs { "break", "continue" } do
  tags[word] = function(self)
    if self.loops == 0 then V.fail("expected '%s' inside a loop, found it outside", word) end
    return {}
  end
end

for _, word in ipairs { "include", "import", "from", "extends" } do
  tags[word] = function()
    V.fail("expected a template that stands by itself, found '%s'", word)
  end
end

return Parser
