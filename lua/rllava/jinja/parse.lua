--- Tokens -> a tree of expressions, by Jinja2's grammar and precedences.
local V = require "rllava.jinja.value"
local lex = require "rllava.jinja.lex"

local Parser = {}
Parser.__index = Parser

local deepest = 120                        -- levels of nested expressions and blocks

function Parser:token() return self.tokens[self.i] end
function Parser:kind() return self.tokens[self.i].kind end

--- What the current token looks like to a reader.
function Parser:found()
  local t = self:token()
  if t.kind == "end" then return "the end of the template" end
  if t.kind == "block_end" then return "the end of the block" end
  if t.kind == "variable_end" then return "the end of the expression" end
  return "'" .. tostring(t.value or t.kind) .. "'"
end

function Parser:fail(expected)
  self.position.line = self:token().line
  V.fail("expected %s, found %s", expected, self:found())
end

function Parser:next()
  local t = self:token()
  if t.kind ~= "end" then self.i = self.i + 1 end
  return t
end

function Parser:is(kind) return self:kind() == kind end
function Parser:is_name(word)
  local t = self:token()
  return t.kind == "name" and t.value == word
end

function Parser:skip(kind)
  if self:is(kind) then return self:next() end
end
function Parser:skip_name(word)
  if self:is_name(word) then return self:next() end
end

function Parser:expect(kind, what)
  if not self:is(kind) then self:fail(what or "'" .. kind .. "'") end
  return self:next()
end
function Parser:expect_name(word)
  if not self:is_name(word) then self:fail("'" .. word .. "'") end
  return self:next()
end

--- A node at the line of the current token.
function Parser:node(kind, fields)
  fields.kind, fields.line = kind, fields.line or self:token().line
  return fields
end

--- Runs a part of the grammar one level deeper.
function Parser:deeper(part, ...)
  self.depth = self.depth + 1
  if self.depth > deepest then self:fail(("at most %d levels"):format(deepest)) end
  local node = part(self, ...)
  self.depth = self.depth - 1
  return node
end

function Parser:expression() return self:deeper(self.conditional) end

function Parser:conditional()
  local line = self:token().line
  local before, node = self.unknown, self:either()
  while self:skip_name "if" do
    local test = self:either()
    local other = self:skip_name "else" and self:expression() or nil
    self.unknown = before                   -- none of it is sure to run
    node = self:node("cond", { test = test, yes = node, no = other, line = line })
  end
  return node
end

--- Refuses an unknown filter or test in what was just read, unless a condition may leave it out.
function Parser:settle()
  local unknown = self.unknown
  self.unknown = nil
  if unknown and self.softness == 0 then
    self.position.line = unknown.line
    V.fail("expected a %s that is known, found '%s'", unknown.what, unknown.name)
  end
end

function Parser:either()
  local node = self:both()
  while self:skip_name "or" do node = self:node("or", { a = node, b = self:both() }) end
  return node
end

function Parser:both()
  local node = self:negation()
  while self:skip_name "and" do node = self:node("and", { a = node, b = self:negation() }) end
  return node
end

function Parser:negation()
  if self:skip_name "not" then return self:node("not", { a = self:deeper(self.negation) }) end
  return self:comparison()
end

local comparisons = { ["=="] = true, ["!="] = true, ["<"] = true, ["<="] = true, [">"] = true,
  [">="] = true }

function Parser:comparison()
  local first, rest = self:sum(), {}
  while true do
    local ahead = self.tokens[self.i + 1]
    if comparisons[self:kind()] then rest[#rest + 1] = { op = self:next().kind, value = self:sum() }
    elseif self:skip_name "in" then rest[#rest + 1] = { op = "in", value = self:sum() }
    elseif self:is_name "not" and ahead and ahead.kind == "name" and ahead.value == "in" then
      self.i = self.i + 2
      rest[#rest + 1] = { op = "not in", value = self:sum() }
    else break end
  end
  return #rest == 0 and first or self:node("compare", { first = first, rest = rest })
end

--- A chain of left-associative operators.
local function chain(ops, operand)
  return function(self)
    local node = self[operand](self)
    while ops[self:kind()] do
      local t = self:next()
      node = self:node("binary", { op = t.kind, a = node, b = self[operand](self), line = t.line })
    end
    return node
  end
end

Parser.sum = chain({ ["+"] = true, ["-"] = true }, "concat")

function Parser:concat()
  local parts = { self:product() }
  while self:skip "~" do parts[#parts + 1] = self:product() end
  return #parts == 1 and parts[1] or self:node("concat", { parts = parts })
end

Parser.product = chain({ ["*"] = true, ["/"] = true, ["//"] = true, ["%"] = true }, "power")
Parser.power = chain({ ["**"] = true }, "unary")

function Parser:unary(plain)
  local node
  if self:skip "-" then node = self:node("negative", { a = self:deeper(self.unary, true) })
  elseif self:skip "+" then node = self:node("positive", { a = self:deeper(self.unary, true) })
  else node = self:primary() end
  node = self:postfix(node)
  return plain and node or self:filters(node)
end

--- text -> Parser at its first token.  position.line follows, for messages.
--- known: { filters, tests } by name.
function Parser.new(text, options, position, known)
  return setmetatable({ tokens = lex.tokens(text, options.trim_blocks, options.lstrip_blocks,
    position), i = 1,
    depth = 0, softness = 0, loops = 0, position = position, known = known }, Parser)
end

return Parser
