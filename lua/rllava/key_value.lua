--- Values of keys: kinds, checks, how the command line writes them.
local json = require "rllava.json"

local M = {}

--- The keys of t, as texts in order.
function M.sorted_keys(t)
  local names = {}
  for k in pairs(t) do names[#names + 1] = k end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

--- Does a table given for the key path hold keys of its own (algorithm = { gamma = 1 }) rather than
--- a value?
function M.names_key(t, path, canonical, refusal)
  for k in pairs(t) do
    if type(k) == "string" and (canonical[path .. "." .. k] or refusal(path .. "." .. k)) then
      return true
    end
  end
  return false
end

--- A value on one line; functions by where they stand.
function M.show(v)
  if v == nil or v == json.null then return "null" end
  if type(v) == "function" then
    local info = debug.getinfo(v, "S")
    return ("function at %s:%d"):format(info.short_src, info.linedefined)
  end
  if type(v) ~= "table" then return type(v) == "string" and v or json.encode(v) end
  local out, n = {}, #v
  for i = 1, n do out[i] = M.show(v[i]) end
  for _, k in ipairs(M.sorted_keys(v)) do
    if not (type(k) == "number" and k >= 1 and k <= n) then
      out[#out + 1] = tostring(k) .. " = " .. M.show(v[k])
    end
  end
  local text = table.concat(out, ", ")
  return n == #out and "[" .. text .. "]" or "{ " .. text .. " }"
end

--- A kind in words: "one of constant, cosine", "a number from 0 to 1 or text".
function M.kind_text(kind)
  if type(kind) == "table" then return "one of " .. table.concat(kind, ", ") end
  local words = { int = "a whole number", number = "a number", bool = "true or false",
    text = "a text", numbers = "a list of numbers", texts = "a list of texts", list = "a list",
    table = "a table", ["function"] = "a function" }
  local out = {}
  for part in kind:gmatch "[^|]+" do
    local base, bound = part:match "^(%a+)%s*(.*)$"
    local low, high = bound:match "^(%S+)%.%.(%S+)$"
    bound = bound:gsub("^>=", " from "):gsub("^>", " above ")
    out[#out + 1] = words[base] .. (low and (" from %s to %s"):format(low, high) or bound)
  end
  return table.concat(out, " or ")
end

--- Within ">=1", ">0" or "0..1"?
local function within(n, bound)
  if bound == "" then return true end
  local low, high = bound:match "^(%S+)%.%.(%S+)$"
  if low then return n >= tonumber(low) and n <= tonumber(high) end
  local sign, limit = bound:match "^(>=?)(%S+)$"
  return sign == ">=" and n >= tonumber(limit) or sign == ">" and n > tonumber(limit)
end

local function all(v, kind)
  if type(v) ~= "table" or (#v == 0 and next(v) ~= nil) then return false end
  for _, e in ipairs(v) do if type(e) ~= kind then return false end end
  return true
end

local is = {
  number = function(v, bound)
    return type(v) == "number" and v == v and math.abs(v) < math.huge and within(v, bound)
  end,
  bool = function(v) return type(v) == "boolean" end,
  text = function(v) return type(v) == "string" end,
  numbers = function(v) return all(v, "number") end,
  texts = function(v) return all(v, "string") end,
  list = function(v) return type(v) == "table" and v[1] ~= nil end,
  table = function(v) return type(v) == "table" end,
  ["function"] = function(v) return type(v) == "function" end,
}
is.int = function(v, bound) return is.number(v, bound) and v == math.floor(v) end

--- Without the marks of JSON.
local function plain(v)
  if type(v) ~= "table" or v == json.null then return v ~= json.null and v or nil end
  if json.is_number(v) then return v.value end
  local out = {}
  for k, e in pairs(v) do out[k] = plain(e) end
  return out
end

local function json_value(text)
  local ok, v = pcall(json.decode, text)
  return ok and plain(v) or nil
end

--- "[0.9, 0.95]", "a,b" -> list of the parts, as JSON or as they stand.
local function parts(text, convert)
  local decoded = text:find "^%s*%[" and json_value(text)
  if decoded then return decoded end
  local out = {}
  for part in text:gsub("^%s*%[", ""):gsub("%]%s*$", ""):gmatch "[^,]+" do
    local v = convert(part:match "^%s*(.-)%s*$")
    if v == nil then return nil end
    out[#out + 1] = v
  end
  return out
end

local function unquoted(s) return s:match "^'(.*)'$" or s:match '^"(.*)"$' or s end

local booleans = { ["true"] = true, ["false"] = false, True = true, False = false }
local read = {
  int = tonumber, number = tonumber, bool = function(s) return booleans[s] end,
  text = unquoted,
  numbers = function(s) return parts(s, tonumber) end,
  texts = function(s) return parts(s, unquoted) end,
  list = function(s) return s:find "^%s*%[" and json_value(s) or nil end,
  table = function(s) return s:find "^%s*{" and json_value(s) or nil end,
}
local order = { "int", "number", "bool", "table", "list", "numbers", "texts", "text", "function" }

local function unset(kind, v)
  return v == "null" or (v:lower() == "none" and type(kind) == "string" and not kind:find "text")
end

--- A value of that kind -> itself (nil where the command line unsets it); or nil, the kind in
--- words.  written: v is text of the command line.
function M.check(kind, v, written)
  if written and unset(kind, v) then return nil end
  if type(kind) == "table" then
    for _, choice in ipairs(kind) do if v == choice then return v end end
    return nil, M.kind_text(kind)
  end
  local bounds = {}
  for part in kind:gmatch "[^|]+" do
    local base, bound = part:match "^(%a+)%s*(.*)$"
    bounds[base] = bound
  end
  if bounds["boolean"] then bounds.bool = "" end
  for _, base in ipairs(order) do
    if bounds[base] then
      local value = v
      if written then value = read[base] and read[base](v) end
      if value ~= nil and is[base](value, bounds[base]) then return value end
    end
  end
  return nil, M.kind_text(kind)
end

return M
