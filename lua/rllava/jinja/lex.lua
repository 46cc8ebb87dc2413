--- A template's text -> tokens { kind, value, line }: data, block_begin/end, variable_begin/end,
--- name, string, integer, float, operators by themselves.  White space is controlled here, as
--- Jinja2 does.
local big = require "rllava.jinja.big"
local unicode = require "rllava.unicode"
local V = require "rllava.jinja.value"

local lex = {}

local operators = {}
for op in ("+ - / // * % ** ~ [ ] ( ) { } == != > >= < <= = . : | , ;"):gmatch "%S+" do
  operators[op] = true
end
local closing = { ["("] = ")", ["["] = "]", ["{"] = "}" }

local escapes = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v",
  ["\\"] = "\\", ["'"] = "'", ['"'] = '"', ["\n"] = "" }
local digits_of = { x = 2, u = 4, U = 8 }

--- Resolves Python's escapes in the inside of a string literal.
local function unescape(s)
  local out, at = {}, 1
  while true do
    local i = s:find("\\", at, true)
    out[#out + 1] = s:sub(at, (i or 0) - 1)
    if not i then return table.concat(out) end
    local c = s:sub(i + 1, i + 1)
    local hex = digits_of[c] and s:match("^%x+", i + 2)
    local octal = s:match("^[0-7][0-7]?[0-7]?", i + 1)
    if digits_of[c] then
      hex = (hex or ""):sub(1, digits_of[c])
      local code = tonumber(hex, 16)
      at = i + 2 + digits_of[c]
      local low = c == "u" and code and code >= 0xd800 and code < 0xdc00
        and s:match("^\\u(%x%x%x%x)", at)
      if low and tonumber(low, 16) >= 0xdc00 and tonumber(low, 16) < 0xe000 then
        code, at = 0x10000 + (code - 0xd800) * 1024 + tonumber(low, 16) - 0xdc00, at + 6
      end
      if #hex < digits_of[c] or code > 0x10ffff then
        V.fail("string: expected %d hexadecimal digits after \\%s, found '%s'", digits_of[c], c,
          hex)
      end
      out[#out + 1] = unicode.char(code)
    elseif c == "N" then V.fail "string: expected a code point after \\, found a name: \\N"
    elseif octal then out[#out + 1], at = unicode.char(tonumber(octal, 8)), i + 1 + #octal
    elseif escapes[c] then out[#out + 1], at = escapes[c], i + 2
    else out[#out + 1], at = "\\" .. c, i + 2 end
  end
end

--- The position after the white space at s[at].
local function skip_space(s, at)
  while true do
    at = s:match("^%s*()", at)
    local c = s:match("^[\28-\31\194\225-\227][\128-\191]*", at)
    if not c or not unicode.is_space(c) then return at end
    at = at + #c
  end
end

--- A number at s[at]: value, kind, position after it; or nil.  Behind a point it is an integer
--- (list.0.1).
local function number(s, at)
  for prefix, radix in ("b2 o8 x16 "):gmatch "(%a)(%d+)" do
    local digits, stop = s:match("^0[" .. prefix .. prefix:upper() .. "]([%x_]+)()", at)
    local n = digits and tonumber((digits:gsub("_", "")), tonumber(radix))
    if n then return n, "integer", stop end
  end
  local whole, stop = s:match("^([%d_]+)()", at)
  if not whole then return nil end
  local text, after = whole, stop
  local part, next = s:match("^(%.%d[%d_]*)()", after)
  if s:sub(at - 1, at - 1) == "." then part = nil end
  if part then text, after = text .. part, next end
  local exponent, last = s:match("^([eE][-+]?%d[%d_]*)()", after)
  if exponent then text, after = text .. exponent, last end
  if after == stop then return big.integer((whole:gsub("_", ""))), "integer", stop end
  return V.float(tonumber((text:gsub("_", "")))), "float", after
end

local Lexer = {}
Lexer.__index = Lexer

function Lexer:add(kind, value)
  self.tokens[#self.tokens + 1] = { kind = kind, value = value, line = self.line }
end

--- Moves to `to`, counting lines.
function Lexer:move(to)
  local _, lines = self.text:sub(self.at, to - 1):gsub("\n", "")
  self.line, self.at = self.line + lines, to
end

function Lexer:string()
  local s, mark = self.text, self.text:sub(self.at, self.at)
  local i = self.at + 1
  while true do
    i = s:find("[\\" .. mark .. "]", i)
    if not i then V.fail("expected %s, found the end of the template", mark) end
    if s:sub(i, i) == mark then break end
    i = i + 2
  end
  self:add("string", unescape(s:sub(self.at + 1, i - 1)))
  self:move(i + 1)
end

--- The end of a tag at the current position, or nil: position behind what it swallows.
function Lexer:tag_end(mark)
  local s, at = self.text, self.at
  local sign = s:match("^[-+]", at)
  if sign == "+" and mark == "}}" then sign = nil end
  local from = sign and at + 1 or at
  if s:sub(from, from + 1) ~= mark then return nil end
  from = from + 2
  if sign == "-" then return skip_space(s, from) end
  local newline = self.trim and sign ~= "+" and mark ~= "}}" and s:sub(from, from) == "\n"
  return newline and from + 1 or from
end

--- One operator; brackets are counted, so that }} inside braces ends nothing.
function Lexer:operator()
  local s = self.text
  local op = s:sub(self.at, self.at + 1)
  if not operators[op] then op = s:sub(self.at, self.at) end
  if not operators[op] then
    V.fail("expected an expression, found '%s'", s:match("^.[\128-\191]*", self.at))
  end
  if closing[op] then
    if #self.open == 200 then
      V.fail "expected brackets nested at most 200 deep, found deeper ones"
    end
    self.open[#self.open + 1] = closing[op]
  elseif op == ")" or op == "]" or op == "}" then
    local want = table.remove(self.open)
    if want ~= op then
      V.fail("expected %s, found '%s'", want and "'" .. want .. "'" or "no closing bracket", op)
    end
  end
  self:add(op, op)
  self.at = self.at + #op
end

--- The tokens of one tag, up to its end.
function Lexer:tag(kind, mark)
  self:add(kind .. "_begin")
  self.open = {}
  local s = self.text
  while true do
    self:move(skip_space(s, self.at))
    if self.at > #s then return end
    local stop = #self.open == 0 and self:tag_end(mark)
    if stop then
      self:add(kind .. "_end")
      return self:move(stop)
    end
    local c = s:sub(self.at, self.at)
    local name, after = s:match("^([%a_\128-\255][%w_\128-\255]*)()", self.at)
    if name then
      self:add("name", name)
      self.at = after
    elseif c:find "%d" then
      local n, number_kind, stop_at = number(s, self.at)
      self:add(number_kind, n)
      self.at = stop_at
    elseif c == "'" or c == '"' then self:string()
    else self:operator() end
  end
end

--- Text before a tag, as the tag's sign and lstrip_blocks leave it.
function Lexer:before(text, sign, strips)
  if sign == "-" then return (unicode.strip(text, nil, false, true)) end
  if sign == "+" or not strips or not self.lstrip then return text end
  local last = text:match ".*\n()" or 1
  if (last > 1 or self.line_start) and skip_space(text, last) > #text then
    return text:sub(1, last - 1)
  end
  return text
end

function Lexer:data(text) if text ~= "" then self:add("data", text) end end

--- {% raw %} ... {% endraw %}.  -> false if there is none here.
function Lexer:raw(at, text)
  local s = self.text
  local sign, stop = s:match("^{%%([-+]?)%s*raw%s*%%}()", at)
  if not sign then
    sign, stop = s:match("^{%%([-+]?)%s*raw%s*%-%%}()", at)
    if not sign then return false end
    stop = skip_space(s, stop)
  end
  self:data(self:before(text, sign, true))
  self:move(stop)
  self.line_start = s:sub(stop - 1, stop - 1) == "\n"
  local from = stop
  while true do
    from = s:find("{%", from, true)
    if not from then V.fail "expected {% endraw %}, found the end of the template" end
    local mark, after = s:match("^{%%([-+]?)%s*endraw%s*()", from)
    if mark then
      local body = self:before(s:sub(self.at, from - 1), mark, true)
      local here = self.at
      self.at = after
      local past = self:tag_end "%}"
      self.at = here
      if past then
        self:data(body)
        self:move(past)
        return true
      end
    end
    from = from + 2
  end
end

function Lexer:comment(at)
  local i = at + 2
  while true do
    i = self.text:find("#}", i, true)
    if not i then V.fail "expected #}, found the end of the template" end
    self:move(i)
    local sign = i > at + 2 and self.text:sub(i - 1, i - 1)
    if sign == "-" or sign == "+" then self.at = i - 1 end
    return self:move(self:tag_end "#}")
  end
end

--- From text up to the next tag and over it.
function Lexer:step()
  local s, from = self.text, self.at
  local at = from
  repeat
    at = s:find("{", at, true)
    local c = at and s:sub(at + 1, at + 1)
    if c == "{" or c == "%" or c == "#" then break end
    at = at and at + 1
  until not at
  local text = s:sub(from, (at or 0) - 1)
  if not at then
    self:data(text)
    self.at = #s + 1
    return
  end
  local sign = s:match("^[-+]?", at + 2)
  local c = s:sub(at + 1, at + 1)
  if c == "%" and self:raw(at, text) then return end
  self:data(self:before(text, sign, c ~= "{"))
  self:move(at)
  if c == "#" then return self:comment(at) end
  self.at = at + 2 + #sign
  self:tag(c == "{" and "variable" or "block", c == "{" and "}}" or "%}")
end

--- text -> list of tokens, the last of kind "end".  trim: a newline after a block goes; lstrip:
--- blanks before a block at a line's start go.
function lex.tokens(text, trim, lstrip, position)
  text = text:gsub("\r\n?", "\n"):gsub("\n$", "")
  local self = setmetatable({ text = text, at = 1, line = 1, tokens = {}, trim = trim,
    lstrip = lstrip, line_start = true, open = {} }, Lexer)
  while self.at <= #text do
    self:step()
    position.line = self.line
    self.line_start = text:sub(self.at - 1, self.at - 1) == "\n"
  end
  self:add("end")
  return self.tokens
end

return lex
