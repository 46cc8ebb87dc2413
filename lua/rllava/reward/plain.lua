--- LaTeX -> plain text in the manner of pylatexenc, which RLLaVA's grader relies on: \frac{a}{b}
--- becomes a/b (without parentheses), \sqrt[3]{x} √(x), \pi π, an unknown macro nothing.
local text = require "rllava.reward.text"

local MAX_DEPTH = 60

local symbols = {
  pi = "π", alpha = "α", beta = "β", gamma = "γ", delta = "δ", epsilon = "ϵ", varepsilon = "ε",
  zeta = "ζ", eta = "η", theta = "θ", vartheta = "ϑ", iota = "ι", kappa = "κ", lambda = "λ",
  mu = "μ", nu = "ν", xi = "ξ", rho = "ρ", sigma = "σ", tau = "τ", upsilon = "υ", phi = "ϕ",
  varphi = "φ", chi = "χ", psi = "ψ", omega = "ω", Gamma = "Γ", Delta = "Δ", Theta = "Θ",
  Lambda = "Λ", Xi = "Ξ", Pi = "Π", Sigma = "Σ", Phi = "Φ", Psi = "Ψ", Omega = "Ω", infty = "∞",
  cup = "∪", cap = "∩", times = "×", cdot = "·", div = "÷", ast = "∗", pm = "±", mp = "∓", le = "≤",
  leq = "≤", ge = "≥", geq = "≥", neq = "≠", leqslant = "⩽", geqslant = "⩾", circ = "∘",
  angle = "∠", parallel = "∥", perp = "⊥", sim = "∼", approx = "≈", equiv = "≡", cong = "≅",
  propto = "∝", to = "→", rightarrow = "→", leftarrow = "←", Rightarrow = "⇒", leftrightarrow = "↔",
  uparrow = "↑", downarrow = "↓", mapsto = "↦", emptyset = "∅", varnothing = "∅", ["in"] = "∈",
  notin = "∉", subset = "⊂", supset = "⊃", subseteq = "⊆", supseteq = "⊇", setminus = "∖",
  prime = "'", mid = "|", nmid = "∤", vert = "|", lvert = "|", rvert = "|", lfloor = "⌊",
  rfloor = "⌋", lceil = "⌈", rceil = "⌉", langle = "⟨", rangle = "⟩", lbrace = "{", rbrace = "}",
  backslash = "\\", ldots = "…", dots = "…", cdots = "⋯", vdots = "⋮", ddots = "⋱", sum = "∑",
  prod = "∏", int = "∫", partial = "∂", nabla = "∇", forall = "∀", exists = "∃", hbar = "ħ",
  ell = "ℓ", aleph = "ℵ", surd = "√", star = "⋆", bullet = "∙", because = "∵", therefore = "∴",
  top = "⊤", vdash = "⊢", vee = "∨", wedge = "∧", oplus = "⊕", otimes = "⊗", frown = "⌢",
  square = "□", dagger = "†", textdegree = "°", textdollar = "$", quad = "  ", qquad = "    ",
  item = "*", sin = "sin", cos = "cos", tan = "tan", log = "log", ln = "ln", exp = "exp",
  arcsin = "arcsin", arccos = "arccos", arctan = "arctan", sinh = "sinh", cosh = "cosh",
  tanh = "tanh", max = "max", min = "min", sup = "sup", inf = "inf", lim = "lim", [","] = " ",
  [":"] = " ", [";"] = " ", [">"] = " ", [" "] = " ", ["\n"] = " ", ["\t"] = " ", ["\\"] = "\n",
  ["{"] = "{", ["}"] = "}", ["%"] = "%", ["$"] = "$", ["#"] = "#", ["&"] = "&", ["_"] = "_",
  ["-"] = "\194\173",
}

local accents = { bar = "\204\133", hat = "\204\130", tilde = "\204\131", vec = "\226\131\151",
  dot = "\204\135", ddot = "\204\136", check = "\204\140" }
local silent = { mbox = true, texttt = true }            -- as the reference: nothing comes of them

--- First code points of A, a of the mathematical alphabets.
local alphabets = { mathbf = { 0x1D400, 0x1D41A }, mathit = { 0x1D434, 0x1D44E },
  mathsf = { 0x1D5A0, 0x1D5BA }, mathtt = { 0x1D670, 0x1D68A }, mathbb = { 0x1D538, 0x1D552 },
  mathcal = { 0x1D49C, 0x1D4B6 }, mathfrak = { 0x1D504, 0x1D51E } }
local double_struck = { C = "ℂ", H = "ℍ", N = "ℕ", P = "ℙ", Q = "ℚ", R = "ℝ", Z = "ℤ" }

local function restyle(s, name)
  local first = alphabets[name]
  return (s:gsub("%a", function(c)
    if name == "mathbb" and double_struck[c] then return double_struck[c] end
    local upper = c:byte() <= 90
    return text.encode(first[upper and 1 or 2] + c:byte() - (upper and 65 or 97))
  end))
end

local function accent(s, mark)
  local out = {}
  for i, after in text.each(s) do out[#out + 1] = s:sub(i, after - 1) .. mark end
  return table.concat(out)
end

local read

--- The next argument of a macro at byte i: a group, a macro or one character -> its text, the byte
--- after.
local function argument(s, i, depth)
  i = text.skip_space(s, i)
  local c = s:sub(i, i)
  if c == "" or c == "}" then return nil, i end
  if c == "{" then return read(s, i + 1, "}", depth + 1) end
  if c == "\\" then return read(s, i, "one", depth + 1) end
  local _, after = text.decode(s, i)
  return s:sub(i, after - 1), after
end

local function option(s, i)
  local start = text.skip_space(s, i)
  if s:sub(start, start) ~= "[" then return i end
  local shut = s:find("]", start, true)
  return shut and shut + 1 or i
end

local function fraction(s, i, depth)
  local a, b
  a, i = argument(s, i, depth)
  if a then b, i = argument(s, i, depth) end
  if not b then return "%s/%s" .. (a or ""), i end
  return text.strip(a) .. "/" .. text.strip(b), i
end

local function square_root(s, i, depth)
  local a
  a, i = argument(s, option(s, i), depth)
  if not a then error("no argument", 0) end
  return "√(" .. a .. ")", i
end

local matrices = { pmatrix = true, bmatrix = true, array = true, smallmatrix = true }

--- The rows of an environment, cells apart by white space.
local function environment(s, i, depth)
  local shut = s:sub(i, i) == "{" and s:find("}", i, true)
  if not shut then return "", i end
  local name = s:sub(i + 1, shut - 1)
  i = shut + 1
  if name == "array" and s:sub(i, i) == "{" then i = (s:find("}", i, true) or #s) + 1 end
  local body, after = read(s, i, "\\end", depth + 1)
  if not matrices[name] then return body, after end
  local rows = {}
  for _, row in ipairs(text.split(body, "\n")) do
    local cells = text.split(row, "   ")
    for k, cell in ipairs(cells) do cells[k] = text.strip(cell) end
    rows[#rows + 1] = table.concat(cells, " ")
  end
  return "[ " .. table.concat(rows, "; ") .. " ]", after
end

--- A macro whose name ends before byte i -> its text, the byte after its arguments.
local function macro(s, name, i, depth)
  if name == "frac" then return fraction(s, i, depth) end
  if name == "sqrt" then return square_root(s, i, depth) end
  if name == "begin" then return environment(s, i, depth) end
  if symbols[name] then return symbols[name], i end
  if accents[name] or alphabets[name] or silent[name] then
    local a, after = argument(s, i, depth)
    if not a or silent[name] then return "", after end
    return accents[name] and accent(a, accents[name]) or restyle(a, name), after
  end
  return "", i
end

local function macro_at(s, i, depth)
  local name = s:match("^%a+", i + 1)
  if not name then
    if i == #s then return "", i + 1 end
    local _, after = text.decode(s, i + 1)
    name = s:sub(i + 1, after - 1)
    return macro(s, name, after, depth)
  end
  i = i + 1 + #name
  local spaces = s:match("^[ \t\n]*", i)
  return macro(s, name, i + #spaces, depth)
end

local specials = { ["~"] = "\194\160", ["&"] = "   " }

local function special_at(s, i)
  local pair = s:sub(i, i + 1)
  if s:sub(i, i + 2) == "---" then return "—", i + 3 end
  if pair == "--" then return "–", i + 2 end
  if pair == "``" then return "“", i + 2 end
  if pair == "''" then return "”", i + 2 end
  local c = s:sub(i, i)
  return specials[c] or c, i + 1
end

--- Text from byte i up to stop ("}", "\\end", nil for the end) or, with "one", a single macro.
--- -> plain text, the byte after.
function read(s, i, stop, depth)
  if depth > MAX_DEPTH then error("too deep", 0) end
  local out = {}
  while i <= #s do
    local at = s:find("[\\{}~&%-`']", i)
    if not at then out[#out + 1] = s:sub(i) i = #s + 1 break end
    if at > i then out[#out + 1] = s:sub(i, at - 1) end
    local c, piece = s:sub(at, at), nil
    if c == "\\" then
      if stop == "\\end" and s:match("^\\end%s*{", at) then
        return table.concat(out), (s:find("}", at, true) or #s) + 1
      end
      piece, i = macro_at(s, at, depth)
      if stop == "one" then return piece, i end
    elseif c == "{" then piece, i = read(s, at + 1, "}", depth + 1)
    elseif c == "}" then
      i = at + 1
      if stop == "}" then return table.concat(out), i end
    else piece, i = special_at(s, at) end
    out[#out + 1] = piece
  end
  return table.concat(out), i
end

local finish = { { "√", "sqrt" }, { "π", "pi" }, { "∞", "inf" }, { "∪", "U" }, { "·", "*" },
  { "×", "*" } }

--- LaTeX -> plain text; nil where a macro lacks its argument or groups nest too deeply.
return function(s)
  s = text.replace(text.replace(s, "\\tfrac", "\\frac"), "\\dfrac", "\\frac")
  local ok, out = pcall(read, text.replace(s, "\\frac", " \\frac"), 1, nil, 0)
  if not ok then return nil end
  for _, pair in ipairs(finish) do out = text.replace(out, pair[1], pair[2]) end
  return text.strip(out)
end
