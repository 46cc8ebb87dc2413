--- Cutting a cleaned answer at its top level: relations, lists, brackets, unions, matrices, signs.
local text = require "rllava.reward.text"

local split = {}

local opening = { ["("] = true, ["["] = true, ["{"] = true, ["\17"] = true }
local closing = { [")"] = true, ["]"] = true, ["}"] = true, ["\18"] = true }

--- s cut where cut(s, i) gives the length of a mark at byte i outside of all brackets -> pieces,
--- marks.
local function cut_at(s, cut)
  local pieces, marks, depth, i, from = {}, {}, 0, 1, 1
  while i <= #s do
    local c = s:sub(i, i)
    local n = depth == 0 and cut(s, i)
    if opening[c] then depth = depth + 1 elseif closing[c] then depth = math.max(0, depth - 1) end
    if n then
      pieces[#pieces + 1], marks[#marks + 1] = text.strip(s:sub(from, i - 1)), s:sub(i, i + n - 1)
      i = i + n
      from = i
    else i = i + 1 end
  end
  pieces[#pieces + 1] = text.strip(s:sub(from))
  return pieces, marks
end

local function relation_sign(s, i)
  local two = s:sub(i, i + 1)
  if two == "<=" or two == ">=" or two == "==" then return 2 end
  if s:find("^[<>=]", i) then return 1 end
  if s:find("^\\[lgn]e%f[%A]", i) then return 3 end
end

local names = { ["\\le"] = "<=", ["\\ge"] = ">=", ["\\ne"] = "!=", ["=="] = "=" }

--- "1 < x \le 2" -> { sides = {"1", "x", "2"}, signs = {"<", "<="} }; nil without a sign.
function split.relation(s)
  local sides, signs = cut_at(s, relation_sign)
  if #signs == 0 or #signs > 8 then return nil end
  for i, sign in ipairs(signs) do signs[i] = names[sign] or sign end
  for _, side in ipairs(sides) do if side == "" then return nil end end
  return { sides = sides, signs = signs }
end

local function separator(s, i)
  if s:find("^[,;]", i) then return 1 end
  local word = s:match("^%s(and)%s", i) or s:match("^%s(or)%s", i)
  return word and #word + 2
end

--- "1, 2 and 3" -> { "1", "2", "3" }.
function split.list(s)
  local items = {}
  for _, item in ipairs((cut_at(s, separator))) do
    if item ~= "" then items[#items + 1] = item end
  end
  return items
end

local function cup(s, i)
  if s:find("^\\cup%f[%A]", i) then return 4 end
  if s:find("^U", i) and s:sub(1, i - 1):find "[%])\18]%s*$" then return 1 end
end

--- Does the bracket at byte 1 close at the last byte?
local function enclosed(s)
  local depth = 0
  for i = 1, #s do
    local c = s:sub(i, i)
    if opening[c] then depth = depth + 1
    elseif closing[c] then
      depth = depth - 1
      if depth == 0 then return i == #s end
    end
  end
  return false
end

local function matrix(s)
  local kind, body = s:match "^\\begin{([pbvB]?matrix)}(.*)\\end{[pbvB]?matrix}$"
  if not kind then
    kind, body = s:match "^\\begin{array}(.*)\\end{array}$"
    body, kind = kind and kind:gsub("^{[^}]*}", ""), "array"
  end
  if not body then return nil end
  local rows = { kind = "matrix", bars = kind == "vmatrix" }
  for _, row in ipairs(text.split(body, "\\\\")) do
    if text.strip(row) ~= "" then
      local cells = text.split(row, "&")
      for k, cell in ipairs(cells) do cells[k] = text.strip(cell) end
      rows[#rows + 1] = cells
    end
  end
  return rows
end

--- A set, list, tuple or interval, union or matrix -> { kind, open, close, items... }; nil for one
--- value.
function split.structure(s)
  local rows = matrix(s)
  if rows then return rows end
  if s == "\\emptyset" then return { kind = "set" } end
  local parts = cut_at(s, cup)
  if #parts > 1 then
    parts.kind = "union"
    return parts
  end
  local open, close = s:sub(1, 1), s:sub(-1)
  if #s >= 2 and opening[open] and closing[close] and enclosed(s) then
    local items = split.list(s:sub(2, -2))
    if open == "\17" then items.kind = "set" return items end
    if open == "{" and close == "}" then
      items.kind = "set"
      return #items ~= 1 and items or split.structure(items[1])
    end
    if #items > 1 then
      items.kind, items.open, items.close = "tuple", open, close
      return items
    end
    return nil
  end
  local items = split.list(s)
  if #items > 1 or s:find("\\pm", 1, true) then
    items.kind = "list"
    return items
  end
end

--- "3 \pm 2" -> { "3 + 2", "3 - 2" }; without the sign, the text alone.
function split.signs(s)
  if not s:find("\\pm", 1, true) then return { s } end
  return { text.replace(s, "\\pm", "+"), text.replace(s, "\\pm", "-") }
end

return split
