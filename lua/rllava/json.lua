--- JSON that keeps what Lua tables lose: the order of keys, null, and, if asked, 1 against 1.0.
---
---   decode: object -> table with its keys (their order: json.keys), array -> table marked by
---   json.array, null -> json.null, integers from 2^53 on -> json.number that prints as written.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local C = rl.C

local json = {}

--- null inside arrays and objects; it prints as null and is a value like any other.
json.null = setmetatable({}, { __tostring = function() return "null" end })

local Array, Number = {}, {}
local order = setmetatable({}, { __mode = "k" })       -- object -> its keys in order

--- Marks a table as an array, so that an empty one is written as [].
function json.array(t) return setmetatable(t or {}, Array) end

--- Is t a list?  Marked ones are; others if they have an element 1 or nothing but no keys known.
function json.is_array(t)
  if getmetatable(t) == Array then return true end
  return order[t] == nil and t[1] ~= nil
end

--- A number that remembers how it was written ("1.0", "12345678901234567890").
function json.number(text) return setmetatable({ text = text, value = tonumber(text) }, Number) end
function json.is_number(v) return getmetatable(v) == Number end
Number.__tostring = function(n) return n.text end

--- The keys of an object: in the order of its text (then others, sorted), or sorted.
function json.keys(t)
  local keys, seen = {}, {}
  for _, k in ipairs(order[t] or {}) do
    if t[k] ~= nil and not seen[k] then keys[#keys + 1], seen[k] = k, true end
  end
  local rest = {}
  for k in pairs(t) do if not seen[k] then rest[#rest + 1] = k end end
  table.sort(rest, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(rest) do keys[#keys + 1] = k end
  return keys
end

--- An object from a list of { key, value }, which keeps their order.
function json.object(members)
  local t, keys = {}, {}
  for i, m in ipairs(members or {}) do t[m[1]], keys[i] = m[2], m[1] end
  order[t] = keys
  return t
end

local function number(node, exact)
  local text = ffi.string(node.text, node.length)
  local n = tonumber(text)
  if node.kind == C.RL_JSON_INT then
    return math.abs(n) < 2 ^ 53 and n or json.number(text)
  end
  return exact and n == math.floor(n) and json.number(text) or n
end

local build
local function container(nodes, i, exact)
  local node, t = nodes[i], {}
  local at = i + 1
  if node.kind == C.RL_JSON_ARRAY then
    for k = 1, node.count do t[k], at = build(nodes, at, exact) end
    return setmetatable(t, Array), at
  end
  local keys = {}
  for k = 1, node.count do
    keys[k] = ffi.string(nodes[at].text, nodes[at].length)
    t[keys[k]], at = build(nodes, at + 1, exact)
  end
  order[t] = keys
  return t, at
end

function build(nodes, i, exact)
  local node = nodes[i]
  local kind = node.kind
  if kind >= C.RL_JSON_ARRAY then return container(nodes, i, exact) end
  if kind == C.RL_JSON_STRING then return ffi.string(node.text, node.length), i + 1 end
  if kind == C.RL_JSON_NULL then return json.null, i + 1 end
  if kind <= C.RL_JSON_TRUE then return kind == C.RL_JSON_TRUE, i + 1 end
  return number(node, exact), i + 1
end

--- text -> value.  name: the file, for messages.  exact: floats with an integral value become
--- json.number, so that 1.0 prints as 1.0.  Refuses anything but strict JSON.
function json.decode(text, name, exact)
  local doc = rl.check(C.rl_json_parse(text, #text, name or "json"))
  local value = build(C.rl_json_nodes(doc), 0, exact)
  C.rl_json_free(doc)
  return value
end

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
  ["\b"] = "\\b", ["\f"] = "\\f" }
local function quote(s)
  return '"' .. s:gsub('[%z\1-\31"\\]', function(c)
    return escapes[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

--- The shortest decimal that reads back as the same double.
local function shortest(n)
  if n ~= n or n == math.huge or n == -math.huge then return "null" end
  if n == math.floor(n) and math.abs(n) < 2 ^ 53 then return ("%d"):format(n) end
  for digits = 15, 17 do
    local s = ("%." .. digits .. "g"):format(n)
    if tonumber(s) == n then return s end
  end
end

local function encode(v, out)
  local kind = type(v)
  if kind == "string" then out[#out + 1] = quote(v)
  elseif kind == "number" then out[#out + 1] = shortest(v)
  elseif kind ~= "table" then out[#out + 1] = tostring(v)
  elseif v == json.null or json.is_number(v) then out[#out + 1] = tostring(v)
  elseif json.is_array(v) then
    out[#out + 1] = "["
    for i, e in ipairs(v) do
      if i > 1 then out[#out + 1] = "," end
      encode(e, out)
    end
    out[#out + 1] = "]"
  else
    out[#out + 1] = "{"
    for i, k in ipairs(json.keys(v)) do
      out[#out + 1] = (i > 1 and "," or "") .. quote(tostring(k)) .. ":"
      encode(v[k], out)
    end
    out[#out + 1] = "}"
  end
end

--- value -> text, on one line, keys in order.  NaN and infinities become null.
function json.encode(v)
  local out = {}
  encode(v, out)
  return table.concat(out)
end

return json
