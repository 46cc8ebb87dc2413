--- JSON text -> Lua values, for answers that are written as data.  null becomes literal.null, an
--- object { object = true, members = { name = value } }, an array { array = true, ... }.
local literal = {}

literal.null = setmetatable({}, { __tostring = function() return "null" end })

local MAX_DEPTH, MAX_LENGTH = 40, 4e6

local function refuse() error("not JSON", 0) end

local function skip(s, i) return s:match("^[ \t\r\n]*()", i) end

local plain = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\",
  ["/"] = "/" }

local function string_at(s, i)
  local out = {}
  while true do
    local at = s:find('[%c"\\]', i)
    if not at then refuse() end
    out[#out + 1] = s:sub(i, at - 1)
    local c = s:sub(at, at)
    if c == '"' then return table.concat(out), at + 1 end
    if c ~= "\\" then
      if c ~= "\127" then refuse() end
      out[#out + 1], i = c, at + 1
    else
      local e = s:sub(at + 1, at + 1)
      local hex = e == "u" and s:match("^%x%x%x%x", at + 2)
      if not plain[e] and not hex then refuse() end
      out[#out + 1] = plain[e] or "\\u" .. hex           -- only compared, never shown
      i = at + (hex and 6 or 2)
    end
  end
end

local words = { { "true", true }, { "false", false }, { "null", literal.null }, { "NaN", 0 / 0 },
  { "Infinity", math.huge }, { "-Infinity", -math.huge } }

local function number_at(s, i)
  for _, word in ipairs(words) do
    if s:sub(i, i + #word[1] - 1) == word[1] then return word[2], i + #word[1] end
  end
  local whole = s:match("^%-?%d+", i)
  if not whole or whole:find "^%-?0%d" then refuse() end
  local after = i + #whole
  after = s:match("^%.%d+()", after) or after
  after = s:match("^[eE][-+]?%d+()", after) or after
  return tonumber(s:sub(i, after - 1)), after
end

local value_at

--- The members from byte i on up to close, each read by one(i) -> the byte after it.
local function members(s, i, close, one)
  i = skip(s, i)
  if s:sub(i, i) == close then return i + 1 end
  while true do
    i = skip(s, one(i))
    local c = s:sub(i, i)
    if c == close then return i + 1 end
    if c ~= "," then refuse() end
    i = skip(s, i + 1)
  end
end

function value_at(s, i, depth)
  if depth > MAX_DEPTH then refuse() end
  local c = s:sub(i, i)
  if c == '"' then return string_at(s, i + 1) end
  if c == "[" then
    local list = { array = true }
    return list, members(s, i + 1, "]", function(at)
      list[#list + 1], at = value_at(s, at, depth + 1)
      return at
    end)
  end
  if c ~= "{" then return number_at(s, i) end
  local named = {}
  return { object = true, members = named }, members(s, i + 1, "}", function(at)
    if s:sub(at, at) ~= '"' then refuse() end
    local name
    name, at = string_at(s, at + 1)
    at = skip(s, at)
    if s:sub(at, at) ~= ":" then refuse() end
    named[name], at = value_at(s, skip(s, at + 1), depth + 1)
    return at
  end)
end

--- s -> its value; nil where it is not JSON.
function literal.read(s)
  if #s > MAX_LENGTH then return nil end
  local ok, value, after = pcall(value_at, s, skip(s, 1), 0)
  if ok and skip(s, after) == #s + 1 then return value end
end

return literal
