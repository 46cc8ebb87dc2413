--- One spelling for an answer: Unicode signs as LaTeX or ASCII, no wrappers, no spacing macros,
--- text macros as plain words, sets in the bytes \17 ... \18.
local text = require "rllava.reward.text"
local replace = text.replace

local signs = { { "−", "-" }, { "–", "-" }, { "×", "\\times " }, { "·", "\\cdot " },
  { "⋅", "\\cdot " }, { "÷", "/" }, { "π", "\\pi " }, { "√", "\\sqrt " }, { "∞", "\\infty " },
  { "°", "^\\circ " }, { "≤", "\\le " }, { "≥", "\\ge " }, { "⩽", "\\le " }, { "⩾", "\\ge " },
  { "≠", "\\ne " }, { "∪", "\\cup " }, { "∩", "\\cap " }, { "∅", "\\emptyset " }, { "±", "\\pm " },
  { "∈", "\\in " }, { "≈", "\\approx " }, { "∠", "\\angle " }, { "½", "\\frac{1}{2}" },
  { "⅓", "\\frac{1}{3}" }, { "⅔", "\\frac{2}{3}" }, { "¼", "\\frac{1}{4}" },
  { "¾", "\\frac{3}{4}" }, { "²", "^2" }, { "³", "^3" }, { "θ", "\\theta " }, { "α", "\\alpha " },
  { "β", "\\beta " }, { "，", "," }, { "。", "." }, { "（", "(" }, { "）", ")" }, { "：", ":" },
  { "；", ";" }, { "％", "%" }, { "＝", "=" }, { "＋", "+" }, { "－", "-" }, { "“", '"' }, { "”", '"' },
  { "‘", "'" }, { "’", "'" }, { "\194\160", " " }, { "\227\128\128", " " } }

local macros = { { "\\dfrac", "\\frac" }, { "\\tfrac", "\\frac" }, { "\\cfrac", "\\frac" },
  { "\\dbinom", "\\binom" }, { "\\tbinom", "\\binom" }, { "\\leqslant", "\\le " },
  { "\\geqslant", "\\ge " }, { "\\leq", "\\le " }, { "\\geq", "\\ge " }, { "\\lt", "<" },
  { "\\gt", ">" }, { "\\neq", "\\ne " }, { "\\lvert", "|" }, { "\\rvert", "|" },
  { "\\varnothing", "\\emptyset " }, { "\\lbrace", "\\{" }, { "\\rbrace", "\\}" },
  { "\\colon", ":" }, { "{,}", "," }, { "\\degree", "^\\circ " }, { "^{\\circ}", "^\\circ " },
  { "\\$", "" }, { "\\%", "%" }, { "\\{", "\17" }, { "\\}", "\18" }, { "\\&", "&" },
  { "\\_", "_" } }

--- Macros that only set type or space.
local silent = { left = true, right = true, big = true, Big = true, bigg = true, Bigg = true,
  bigl = true, bigr = true, Bigl = true, Bigr = true, displaystyle = true, textstyle = true,
  limits = true, quad = true, qquad = true, boldsymbol = true, bm = true, bf = true, rm = true,
  it = true }

--- Macros whose argument stands for itself, as words.
local wrappers = { text = true, textbf = true, textit = true, textrm = true, mathrm = true,
  mathbf = true, mathit = true, mathsf = true, operatorname = true, mbox = true, hbox = true,
  boxed = true, fbox = true, emph = true, underline = true, vec = true, hat = true,
  overrightarrow = true, overleftrightarrow = true, widehat = true, ensuremath = true,
  textnormal = true }

--- "\text{abc}" -> " abc "; silent macros and \, \; \! go.  One pass; what wrapped is left as a
--- group.
local function unwrap(s)
  local out, i, closing, depth = {}, 1, {}, 0
  while true do
    local at = s:find("[\\{}]", i)
    if not at then break end
    out[#out + 1] = s:sub(i, at - 1)
    local c = s:sub(at, at)
    i = at + 1
    if c == "{" then depth = depth + 1 out[#out + 1] = c
    elseif c == "}" then
      out[#out + 1] = closing[depth] or c
      closing[depth], depth = nil, math.max(0, depth - 1)
    else
      local name = s:match("^%a+", i)
      local brace = name and wrappers[name] and s:match("^%s*{()", i + #name)
      if brace then
        depth = depth + 1
        closing[depth], i = " ", brace
        out[#out + 1] = " "
      elseif name and silent[name] then i = i + #name out[#out + 1] = " "
      elseif name then out[#out + 1], i = "\\" .. name, i + #name
      else
        local sign = s:sub(i, i)
        i = i + 1
        out[#out + 1] = sign == "!" and "" or sign == "\\" and "\\\\" or sign:find "[,;: >()%[%]~]"
          and " " or "\\" .. sign
      end
    end
  end
  out[#out + 1] = s:sub(i)
  return table.concat(out)
end

--- Full-width digits and letters -> ASCII.
local function narrow(s)
  if not s:find("\239\188", 1, true) and not s:find("\239\189", 1, true) then return s end
  return (s:gsub("\239\188([\144-\186])", function(c) return string.char(c:byte() - 96) end)
    :gsub("\239\189([\129-\154])", function(c) return string.char(c:byte() - 32) end))
end

--- "1,000" and "1 000" -> "1000" where groups of three digits, all with one mark, follow the first
--- and nothing else in the text holds a digit or comma.  "(1,000,2)" stays.
local function join_thousands(s)
  local sign, first, mark, i = s:match "^([-+]?%s*)(%d%d?%d?)([ ,])()%d%d%d%f[%D]"
  if not first then return s end
  local digits = { first }
  repeat
    digits[#digits + 1] = s:match("^%d%d%d%f[%D]", i)
    if not digits[#digits] then return s end
    i = i + 4
  until s:sub(i - 1, i - 1) ~= mark or not s:find("^%d", i)
  local rest = s:sub(i - 1)
  local fraction = rest:match "^%.%d+" or ""
  if rest:sub(#fraction + 1):find "^[ ,]*[%d,/]" then return s end
  return sign .. table.concat(digits) .. rest
end

local hedges = { "approximately", "about", "roughly", "\\approx", "\\simeq" }

--- Wrappers around an answer: $, **, quotes, backticks, a final full stop or semicolon.
local function peel(s)
  for _ = 1, 8 do
    local before = s
    s = text.strip(s)
    s = s:match "^%*%*(.+)%*%*$" or s:match "^`(.+)`$" or s:match '^"(.+)"$' or s:match "^'(.+)'$"
      or s
    s = s:match "^(.-)[%.;,]$" or s
    for _, hedge in ipairs(hedges) do
      if s:sub(1, #hedge):lower() == hedge then s = s:sub(#hedge + 1) end
    end
    if s == before then break end
  end
  return s
end

local multiples = { { "million", 6 }, { "billion", 9 }, { "trillion", 12 } }

--- "5 million" -> "5\\times 10^{6}".
local function spell_out(s)
  for _, pair in ipairs(multiples) do
    if s:find(pair[1], 1, true) then
      s = s:gsub("(%d) ?" .. pair[1] .. "%f[%A]", "%1\\times 10^{" .. pair[2] .. "}")
    end
  end
  return s
end

--- An answer -> its cleaned spelling.
return function(s)
  s = narrow(s)
  for _, pair in ipairs(signs) do s = replace(s, pair[1], pair[2]) end
  for _, pair in ipairs(macros) do s = replace(s, pair[1], pair[2]) end
  s = replace(replace(s, "$", ""), "~", " ")
  s = peel(unwrap(s))
  return spell_out(join_thousands(s))
end
