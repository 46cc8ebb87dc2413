--- Tokens -> operands: names, literals, brackets, and what follows them: attributes, calls,
--- filters, tests.
local V = require "rllava.jinja.value"
local Parser = require "rllava.jinja.parse"

local constants = { ["true"] = true, ["True"] = true, ["false"] = false, ["False"] = false,
  none = V.none, None = V.none }

function Parser:primary(with_namespace)
  local t = self:token()
  if t.kind == "name" then
    self:next()
    if constants[t.value] ~= nil then return self:node("const", { value = constants[t.value] }) end
    if with_namespace and self:skip "." then
      return self:node("namespace", { name = t.value, attr = self:expect("name", "a name").value })
    end
    if self.names then self.names[t.value] = true end
    return self:node("name", { name = t.value, line = t.line })
  elseif t.kind == "string" then
    local parts = {}
    while self:is "string" do parts[#parts + 1] = self:next().value end
    return self:node("const", { value = table.concat(parts) })
  elseif t.kind == "integer" or t.kind == "float" then
    return self:node("const", { value = self:next().value })
  elseif self:skip "(" then
    local node = self:deeper(self.tuple, { explicit = true })
    self:expect ")"
    return node
  elseif t.kind == "[" then return self:deeper(self.list_literal)
  elseif t.kind == "{" then return self:deeper(self.dict_literal) end
  self:fail "an expression"
end

--- One value, or several with commas between: a tuple.  how: simple (targets only), plain (no
--- conditional expression), stop (a word that ends it), explicit (in brackets: may be empty).
function Parser:tuple(how)
  how = how or {}
  local items, is_tuple, line = {}, false, self:token().line
  while true do
    if #items > 0 then self:expect "," end
    local k = self:kind()
    local stop = how.stop and self:is_name(how.stop)
    if stop or k == "variable_end" or k == "block_end" or k == ")" then break end
    items[#items + 1] = how.simple and self:primary(how.namespace)
      or how.plain and self:deeper(self.either) or not how.simple and self:expression()
    if not self:is "," then break end
    is_tuple = true
  end
  if not is_tuple then
    if items[1] then return items[1] end
    if not how.explicit then self:fail "an expression" end
  end
  return self:node("tuple", { items = items, line = line })
end

function Parser:list_literal()
  local line = self:expect("[").line
  local items = {}
  while not self:is "]" do
    if #items > 0 then self:expect "," end
    if self:is "]" then break end
    items[#items + 1] = self:expression()
  end
  self:expect "]"
  return self:node("list", { items = items, line = line })
end

function Parser:dict_literal()
  local line = self:expect("{").line
  local keys, values = {}, {}
  while not self:is "}" do
    if #keys > 0 then self:expect "," end
    if self:is "}" then break end
    keys[#keys + 1] = self:expression()
    self:expect ":"
    values[#keys] = self:expression()
  end
  self:expect "}"
  return self:node("dict", { keys = keys, values = values, line = line })
end

function Parser:postfix(node)
  while true do
    local line = self:token().line
    if self:skip "." then
      local t = self:next()
      if t.kind == "name" then node = self:node("attr", { of = node, name = t.value, line = line })
      elseif t.kind == "integer" then
        local key = self:node("const", { value = t.value })
        node = self:node("item", { of = node, key = key, line = line })
      else
        self.i = self.i - 1
        self:fail "a name or a number"
      end
    elseif self:is "[" then node = self:deeper(self.subscript, node)
    elseif self:is "(" then
      node = self:node("call", { f = node, args = self:deeper(self.arguments), line = line })
    else return node end
  end
end

--- of[key], of[a:b:c]; of[a, b] is a tuple as key.
function Parser:subscript(of)
  local line = self:expect("[").line
  local keys = {}
  repeat keys[#keys + 1] = self:subscribed() until not self:skip ","
  self:expect "]"
  if #keys > 1 then
    return self:node("item", { of = of, key = self:node("tuple", { items = keys }), line = line })
  end
  if keys[1].kind == "slice" then
    keys[1].of, keys[1].line = of, line
    return keys[1]
  end
  return self:node("item", { of = of, key = keys[1], line = line })
end

function Parser:subscribed()
  local parts, colons = {}, 0
  while colons < 3 do
    if self:skip ":" then colons = colons + 1
    elseif self:is "]" or self:is "," then break
    elseif parts[colons + 1] then self:fail "':' or ']'"
    else parts[colons + 1] = self:expression() end
  end
  if colons == 3 then self:fail "']'" end
  if colons == 0 then
    if not parts[1] then self:fail "an expression" end
    return parts[1]
  end
  return self:node("slice", { start = parts[1], stop = parts[2], step = parts[3] })
end

--- (a, b, name=c, *list, **dict)
function Parser:arguments()
  self:expect "("
  local args, first = { line = self:token().line }, true
  while not self:is ")" do
    if not first then self:expect "," end
    first = false
    if self:is ")" then break end
    local t, ahead = self:token(), self.tokens[self.i + 1]
    if self:skip "*" then args[#args + 1] = { spread = self:expression() }
    elseif self:skip "**" then args[#args + 1] = { spread_dict = self:expression() }
    elseif t.kind == "name" and ahead.kind == "=" then
      self.i = self.i + 2
      args[#args + 1] = { name = t.value, value = self:expression() }
    else
      if args[#args] and (args[#args].name or args[#args].spread_dict) then
        self:fail "a named argument"
      end
      args[#args + 1] = { value = self:expression() }
    end
  end
  self:expect ")"
  return args
end

--- name.of.filter, checked against what is known.
function Parser:dotted(what, known)
  local t = self:expect("name", "a " .. what .. "'s name")
  local name = t.value
  while self:skip "." do name = name .. "." .. self:expect("name", "a name").value end
  if not known[name] then
    self.unknown = self.unknown or { what = what, name = name, line = t.line }
  end
  return name
end

--- | filter | filter(...) is test
function Parser:filters(node)
  while true do
    if self:is "|" then node = self:filter(node)
    elseif self:is_name "is" then node = self:test(node)
    elseif self:is "(" then
      node = self:node("call", { f = node, args = self:deeper(self.arguments) })
    else return node end
  end
end

--- One chain of filters; inline: the first bar has no sign ({% filter upper %}).
function Parser:filter(node, inline)
  while self:is "|" or inline do
    if not inline then self:next() end
    inline = false
    local line = self:token().line
    local name = self:dotted("filter", self.known.filters)
    local args = self:is "(" and self:deeper(self.arguments) or {}
    node = self:node("filter", { of = node, name = name, args = args, line = line })
  end
  return node
end

local ends_test = { ["else"] = true, ["or"] = true, ["and"] = true }
local begins_value = { name = true, string = true, integer = true, float = true, ["("] = true,
  ["["] = true, ["{"] = true }

function Parser:test(node)
  local line = self:expect_name("is").line
  local negated = self:skip_name "not" ~= nil
  local name = self:dotted("test", self.known.tests)
  local args, t = {}, self:token()
  if self:is "(" then args = self:deeper(self.arguments)
  elseif begins_value[t.kind] and not (t.kind == "name" and ends_test[t.value]) then
    if self:is_name "is" then self:fail "one test at a time" end
    args = { { value = self:postfix(self:primary()) } }
  end
  local result = self:node("test", { of = node, name = name, args = args, line = line })
  return negated and self:node("not", { a = result }) or result
end

return Parser
