--- Formulas in plain text, read as a Python symbolic parser reads them: 2x, (x+1)(x-1), x^2, 3!,
--- sqrt(2), ab for a times b.  text -> tree
---   tree: { op = "num", digits } | { op = "var", name } | { op = "add" | ..., left, right }
local text = require "rllava.reward.text"

local MAX_LENGTH, MAX_DEPTH = 2000, 60

local functions = { sqrt = true, ln = true }
local refused = { nan = true, oo = true, zoo = true, is = true, ["if"] = true, ["in"] = true,
  ["or"] = true, as = true, csc = true, re = true, im = true, rf = true, ff = true, li = true,
  jn = true, yn = true, fft = true, eye = true, fu = true }
local whole = { xi = true, mu = true, nu = true }        -- Greek letters stay in one piece

local function refuse() error("not a formula", 0) end

--- A name -> tokens: known names whole, others letter by letter and number by number.
local function split_name(name, tokens)
  if functions[name] then tokens[#tokens + 1] = { kind = "function", name } return end
  if refused[name] then refuse() end
  if name == "pi" or whole[name] or name:find("_", 1, true) then
    tokens[#tokens + 1] = { kind = "var", name }
    return
  end
  local i = 1
  while i <= #name do
    local digits = name:match("^%d+", i)
    if digits then tokens[#tokens + 1] = { kind = "num", digits } i = i + #digits
    else
      local _, after = text.decode(name, i)
      tokens[#tokens + 1] = { kind = "var", name:sub(i, after - 1) }
      i = after
    end
  end
end

--- A number at byte i -> its token, the byte after.
local function number_at(s, i)
  local mantissa = s:match("^%d+%.?%d*", i) or s:match("^%.%d+", i)
  local exponent = s:match("^e[-+]?%d+", i + #mantissa) or ""
  local after = i + #mantissa + #exponent
  if s:match("^0%d", i) and mantissa:find "^%d+$" and tonumber(mantissa) ~= 0
    and exponent == "" then
    refuse()
  end
  if s:sub(after, after) == "_" or s:match("^0[xob]", i) then refuse() end
  local token = { kind = "num", mantissa .. exponent }
  if s:sub(after, after) == "j" then return { kind = "imaginary", token[1] }, after + 1 end
  return token, after
end

local function tokenize(s)
  local tokens, i = {}, 1
  while i <= #s do
    local c = s:sub(i, i)
    local code, after = text.decode(s, i)
    if c:find "%s" then i = i + 1
    elseif c:find "%d" or c == "." and s:find("^%d", i + 1) then
      tokens[#tokens + 1], i = number_at(s, i)
    elseif c == "_" or text.is_letter(code) then
      local start = i
      while i <= #s do
        code, after = text.decode(s, i)
        if not text.is_word(code) then break end
        i = after
      end
      split_name(s:sub(start, i - 1), tokens)
    else
      local operator = s:match("^%*%*", i) or s:match("^[-+*/^()!]", i)
      if not operator or s:find("^//", i) then refuse() end
      i = i + #operator
      tokens[#tokens + 1] = { kind = operator == "^" and "**" or operator }
    end
  end
  return tokens
end

--- Holds a tree a decimal fraction?
local function has_decimal(x)
  if x.op == "num" then return x[1]:find("[.e]") ~= nil end
  return type(x[1]) == "table" and has_decimal(x[1]) or type(x[2]) == "table" and has_decimal(x[2])
end

local Parser = {}
Parser.__index = Parser

function Parser:kind() return self.tokens[self.at] and self.tokens[self.at].kind end
function Parser:take(kind)
  if self:kind() ~= kind then refuse() end
  self.at = self.at + 1
  return self.tokens[self.at - 1]
end

function Parser:enter()
  self.depth = self.depth + 1
  if self.depth > MAX_DEPTH then refuse() end
end

function Parser:group()
  self:take "("
  local x = self:sum()
  self:take ")"
  return x
end

function Parser:atom()
  local kind = self:kind()
  if kind == "(" then return self:group() end
  local token = self:take(kind or "end")
  if kind == "num" then return { op = "num", token[1] } end
  if kind == "var" then return { op = "var", token[1] } end
  if kind == "imaginary" then return { op = "mul", { op = "num", token[1] }, { op = "i" } } end
  if kind ~= "function" then refuse() end
  local x = self:group()
  if token[1] ~= "sqrt" then return { op = "call", name = token[1], x } end
  if has_decimal(x) then return { op = "opaque", name = "sqrt", x } end
  return { op = "root", degree = 2, x }
end

function Parser:power()
  local x = self:atom()
  while self:kind() == "!" do
    self:take "!"
    x = { op = "call", name = "factorial", x }
  end
  if self:kind() ~= "**" then return x end
  self:take "**"
  local y = self:unary()
  if has_decimal(y) then refuse() end
  return { op = "pow", x, y }
end

function Parser:unary()
  self:enter()
  local x
  if self:kind() == "-" then
    self:take "-"
    x = { op = "neg", self:unary() }
  elseif self:kind() == "+" then
    self:take "+"
    x = self:unary()
  else x = self:power() end
  self.depth = self.depth - 1
  return x
end

local starts = { num = true, var = true, imaginary = true, ["function"] = true, ["("] = true }

function Parser:product()
  local x = self:unary()
  while true do
    local kind = self:kind()
    if kind == "*" or kind == "/" then
      self:take(kind)
      x = { op = kind == "*" and "mul" or "div", x, self:unary() }
    elseif starts[kind] then x = { op = "mul", x, self:power() }
    else return x end
  end
end

function Parser:sum()
  self:enter()
  local x = self:product()
  while self:kind() == "+" or self:kind() == "-" do
    local kind = self:kind()
    self:take(kind)
    x = { op = kind == "+" and "add" or "sub", x, self:product() }
  end
  self.depth = self.depth - 1
  return x
end

--- Plain text -> tree; nil where it is no formula.
return function(s)
  if #s == 0 or #s > MAX_LENGTH then return nil end
  local ok, tokens = pcall(tokenize, s)
  if not ok then return nil end
  local parser = setmetatable({ tokens = tokens, at = 1, depth = 0 }, Parser)
  local parsed, x = pcall(parser.sum, parser)
  return parsed and parser.at > #tokens and x or nil
end
