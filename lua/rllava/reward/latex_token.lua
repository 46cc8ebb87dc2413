--- Cleaned LaTeX or plain notation -> tokens { kind, text }, for rllava.reward.latex.

local functions = { sin = "sin", cos = "cos", tan = "tan", cot = "cot", sec = "sec", csc = "csc",
  arcsin = "arcsin", arccos = "arccos", arctan = "arctan", sinh = "sinh", cosh = "cosh",
  tanh = "tanh", ln = "ln", log = "log", lg = "log", exp = "exp", floor = "floor", ceil = "ceil",
  abs = "abs" }
local structures = { frac = true, sqrt = true, binom = true, overline = true, bar = true }
local operators = { times = "*", cdot = "*", ast = "*", div = "/", circ = "circ" }
local words = { pi = "pi", infty = "infinity", infinity = "infinity", inf = "infinity",
  oo = "infinity" }

local function refuse() error("not a formula", 0) end

--- A name, with or without its backslash, -> token; plain runs of letters are unknowns, one by one.
local function name_token(name, macro, tokens)
  if functions[name] then tokens[#tokens + 1] = { kind = "function", functions[name] }
  elseif structures[name] and (macro or name == "sqrt") then tokens[#tokens + 1] = { kind = name }
  elseif macro and operators[name] then tokens[#tokens + 1] = { kind = operators[name] }
  elseif words[name] then tokens[#tokens + 1] = { kind = "var", words[name] }
  elseif macro then tokens[#tokens + 1] = { kind = "var", "\\" .. name }
  elseif #name > 3 then refuse()
  else
    for c in name:gmatch "." do tokens[#tokens + 1] = { kind = "var", c } end
  end
end

local function number_token(s, i, tokens)
  local digits = s:match("^%d+%.?%d*", i) or s:match("^%.%d+", i)
  local exponent = s:match("^[eE][-+]?%d+", i + #digits) or ""
  tokens[#tokens + 1] = { kind = "num", digits .. exponent, at = i, last = i + #digits + #exponent }
  return i + #digits + #exponent
end

--- s -> tokens; raises where it is no formula.  Numbers know the bytes at which they begin and end.
return function(s)
  local tokens, i = {}, 1
  while i <= #s do
    local c = s:sub(i, i)
    if c:find "%s" then i = i + 1
    elseif c:find "%d" or c == "." and s:find("^%d", i + 1) then i = number_token(s, i, tokens)
    elseif c == "\\" then
      local name = s:match("^%a+", i + 1) or refuse()
      name_token(name, true, tokens)
      i = i + 1 + #name
    elseif c:find "%a" then
      local name = s:match("^%a+", i)
      name_token(name, false, tokens)
      i = i + #name
    elseif s:find("^%*%*", i) then
      tokens[#tokens + 1], i = { kind = "^" }, i + 2
    elseif c:find "[-+*/^_()%[%]{}|!%%]" then
      tokens[#tokens + 1], i = { kind = c }, i + 1
    else refuse() end
  end
  return tokens
end

