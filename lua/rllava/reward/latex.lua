--- Cleaned LaTeX or plain notation -> the tree of a formula (see rllava.reward.formula for its
--- form).
---   2\sqrt{3}, 1\frac{1}{2}, x^{2}, \sin 30^\circ, \log_2 8, |x|, 3!, 50%, 0.\overline{3},
---   \binom{5}{2}
local text = require "rllava.reward.text"
local tokenize = require "rllava.reward.latex_token"

local MAX_LENGTH, MAX_DEPTH = 2000, 60

local trigonometric = { sin = true, cos = true, tan = true, cot = true, sec = true, csc = true }

local function refuse() error("not a formula", 0) end
local function number(digits) return { op = "num", digits } end

local P = {}
P.__index = P

function P:kind(k) local t = self.tokens[self.at + (k or 0)] return t and t.kind end

function P:take(kind)
  local t = self.tokens[self.at]
  if not t or kind and t.kind ~= kind then refuse() end
  self.at = self.at + 1
  return t
end

function P:accept(kind) return self:kind() == kind and self:take() ~= nil end

--- One level deeper; leave() is the way back.
function P:enter()
  self.depth = self.depth + 1
  if self.depth > MAX_DEPTH then refuse() end
end
function P:leave(x)
  self.depth = self.depth - 1
  return x
end

local closing = { ["("] = ")", ["["] = "]", ["{"] = "}", ["|"] = "|" }

function P:group()
  local open = self:take().kind
  if not closing[open] then refuse() end
  local bars = self.bars
  self.bars = open == "|" and 1 or 0
  local x = self:sum()
  self.bars = bars
  self:take(closing[open])
  return open == "|" and { op = "call", name = "abs", x } or x
end

--- The argument of \frac and \sqrt: a group, or one token; one digit of a number if `digit`.
function P:argument(digit)
  if self:kind() == "{" then return self:group() end
  local t = self.tokens[self.at]
  if t and t.kind == "num" and digit and #t[1] > 1 and t[1]:find "^%d+$" then
    self.tokens[self.at] = { kind = "num", t[1]:sub(2), at = t.at + 1, last = t.last }
    return number(t[1]:sub(1, 1))
  end
  return self:atom()
end

function P:fraction()
  local a = self:argument(true)
  return { op = "div", a, (self:argument(true)) }
end

function P:root()
  local degree = 2
  if self:accept "[" then
    degree = tonumber(self:take("num")[1])
    self:take "]"
  end
  if not degree or degree < 2 or degree > 100 or degree % 1 ~= 0 then refuse() end
  if self:kind() == "(" then return { op = "root", degree = degree, self:group() } end
  return { op = "root", degree = degree, self:argument(false) }
end

--- base^... and base_... of a function's name -> power, subscript trees.
function P:scripts()
  local power, below
  for _ = 1, 2 do
    if self:accept "^" then power = self:exponent()
    elseif self:accept "_" then below = self:argument(false) end
  end
  return power, below
end

function P:call(name)
  local power, below = self:scripts()
  self.trig = self.trig + (trigonometric[name] and 1 or 0)
  local x
  if self:kind() == "(" or self:kind() == "{" then x = self:group() else x = self:juxtaposed() end
  self.trig = self.trig - (trigonometric[name] and 1 or 0)
  local y = { op = "call", name = name, x }
  if name == "log" then
    y = below and { op = "log", below, x } or { op = "log", number "10", x }
  elseif below then refuse() end
  if not power then return y end
  if power.op == "neg" and trigonometric[name] then refuse() end
  return { op = "pow", y, power }
end

--- The digits over which a line is drawn: 0.\overline{3} is 1/3.
function P:repeating(digits)
  self:take()
  self:take "{"
  local period = self:take("num")[1]
  self:take "}"
  local places = digits:match "%.(%d*)$"
  if not places or not period:find "^%d+$" then refuse() end
  local nines = ("9"):rep(#period) .. ("0"):rep(#places)
  local prefix = digits:gsub("%.", "")
  if prefix == "" then prefix = "0" end
  return { op = "div", { op = "sub", number(prefix .. period), number(prefix) }, number(nines) }
end

function P:unknown(name)
  if self:kind() == "_" then
    self:take()
    local brace = self:accept "{"
    local index = {}
    repeat index[#index + 1] = self:take()[1] or refuse() until not brace or self:kind() == "}"
    if brace then self:take "}" end
    return { op = "var", name .. "_" .. table.concat(index) }
  end
  if name == "i" then return { op = "i" } end
  return { op = "var", name }
end

function P:number()
  local digits = self:take("num")[1]
  local kind = self:kind()
  if (kind == "overline" or kind == "bar") and digits:find "%." then
    return self:repeating(digits)
  end
  if kind == "_" then return self:unknown(digits) end        -- in another base
  if kind == "frac" and digits:find "^%d+$" then             -- 1\frac{1}{2}
    local at = self.at
    self:take()
    local f = self:fraction()
    if f[1].op == "num" and f[2].op == "num" then return { op = "add", number(digits), f } end
    self.at = at
  end
  return number(digits)
end

function P:atom()
  local kind = self:kind()
  if kind == "num" then return self:number() end
  if kind == "(" or kind == "{" or kind == "[" then return self:group() end
  if kind == "|" and self.bars == 0 then return self:group() end
  local t = self:take()
  if kind == "frac" then return self:fraction() end
  if kind == "sqrt" then return self:root() end
  if kind == "function" then return self:call(t[1]) end
  if kind == "var" then return self:unknown(t[1]) end
  if kind == "overline" or kind == "bar" then return self:argument(false) end
  if kind ~= "binom" then refuse() end
  return { op = "binom", self:argument(true), (self:argument(true)) }
end

--- What stands above: a group, a signed number or one token; nil for degrees.
function P:exponent()
  if self:kind() == "circ" then self:take() return nil end
  if self:kind() == "{" then return self:group() end
  if self:accept "-" then return { op = "neg", self:exponent() } end
  self:accept "+"
  local x = self:atom()
  if self:accept "^" then
    local y = self:exponent()
    return y and { op = "pow", x, y } or x
  end
  return x
end

function P:power()
  self:enter()
  local x = self:atom()
  while true do
    if self:accept "!" then x = { op = "call", name = "factorial", x }
    elseif self:accept "%" then x = { op = "div", x, number "100" }
    elseif self:accept "^" then
      local y = self:exponent()
      if y then x = { op = "pow", x, y }
      elseif self.trig > 0 then
        x = { op = "mul", x, { op = "div", { op = "var", "pi" }, number "180" } }
      end
    else break end
  end
  return self:leave(x)
end

function P:unary()
  self:enter()
  local x
  if self:accept "-" then x = { op = "neg", self:unary() }
  elseif self:accept "+" then x = self:unary()
  else x = self:power() end
  return self:leave(x)
end

local starts = { num = true, var = true, frac = true, sqrt = true, ["function"] = true,
  ["("] = true, ["["] = true, ["{"] = true, binom = true, overline = true, bar = true }

function P:starts() return starts[self:kind()] or self:kind() == "|" and self.bars == 0 end

--- The argument of a function without parentheses: what stands side by side.
function P:juxtaposed()
  local x = self:unary()
  while self:starts() and self:kind() ~= "function" do x = { op = "mul", x, self:power() } end
  return x
end

--- "1 1/2": a whole number, a space, a fraction.
function P:mixed()
  local a, b, c, d = self.tokens[self.at], self.tokens[self.at + 1], self:kind(2),
    self.tokens[self.at + 3]
  if not (a and b and d and a.kind == "num" and b.kind == "num" and c == "/"
    and d.kind == "num") then
    return nil
  end
  if b.at == a.last or not (a[1] .. b[1] .. d[1]):find "^%d+$" then refuse() end
  self.at = self.at + 4
  return { op = "add", number(a[1]), { op = "div", number(b[1]), number(d[1]) } }
end

function P:product()
  local x = self:mixed() or self:unary()
  while true do
    if self:accept "*" then x = { op = "mul", x, self:unary() }
    elseif self:accept "/" then x = { op = "div", x, self:unary() }
    elseif self:kind() == "num" and self.tokens[self.at - 1].kind == "num" then refuse()
    elseif self:starts() then x = { op = "mul", x, self:power() }
    else return x end
  end
end

function P:sum()
  self:enter()
  local negative = self:accept "-"
  local x = self:product()
  if negative then x = { op = "neg", x } end
  while true do
    if self:accept "+" then x = { op = "add", x, self:product() }
    elseif self:accept "-" then x = { op = "sub", x, self:product() }
    else return self:leave(x) end
  end
end

--- s -> tree; nil where it is no formula.
return function(s)
  if #s > MAX_LENGTH or text.strip(s) == "" then return nil end
  local ok, tokens = pcall(tokenize, s)
  if not ok then return nil end
  local parser = setmetatable({ tokens = tokens, at = 1, depth = 0, trig = 0, bars = 0 }, P)
  local parsed, x = pcall(parser.sum, parser)
  return parsed and parser.at > #tokens and x or nil
end
