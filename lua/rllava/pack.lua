--- Values as bytes for another process of this program: nil, booleans, numbers to the bit, texts of
--- any bytes, tables of these by number, text or boolean.  What has another key, functions and
--- pointers are left out, null becomes nil, marks of JSON are dropped.
local ffi = require "ffi"
local json = require "rllava.json"
local key_value = require "rllava.key_value"

local pack = {}

local DEPTH = 100

local function number(n) return ffi.string(ffi.new("double[1]", n), 8) end

local packed = { table = true, string = true, number = true, boolean = true }
local key_kinds = { string = true, number = true, boolean = true }

local put
local function put_table(t, out, depth)
  if depth > DEPTH then error("pack: expected tables at most " .. DEPTH .. " deep", 0) end
  local members = {}
  for _, k in ipairs(key_value.sorted_keys(t)) do
    if key_kinds[type(k)] and packed[type(t[k])] and t[k] ~= json.null then
      members[#members + 1] = k
    end
  end
  out[#out + 1] = "t" .. number(#members)
  for _, k in ipairs(members) do
    put(k, out, depth + 1)
    put(t[k], out, depth + 1)
  end
end

function put(v, out, depth)
  if json.is_number(v) then v = v.value end
  local kind = type(v)
  if kind == "number" then out[#out + 1] = "n" .. number(v)
  elseif kind == "string" then out[#out + 1] = "s" .. number(#v) .. v
  elseif kind == "boolean" then out[#out + 1] = v and "y" or "f"
  elseif kind == "table" and v ~= json.null then put_table(v, out, depth)
  else out[#out + 1] = "0" end
end

--- value -> text.
function pack.encode(v)
  local out = {}
  put(v, out, 1)
  return table.concat(out)
end

local function get(text, at)
  local kind = text:sub(at, at)
  if kind == "y" or kind == "f" then return kind == "y", at + 1 end
  if kind == "0" then return nil, at + 1 end
  local n = ffi.new "double[1]"
  ffi.copy(n, text:sub(at + 1, at + 8), 8)
  at = at + 9
  if kind == "n" then return n[0], at end
  if kind == "s" then return text:sub(at, at + n[0] - 1), at + n[0] end
  local t = {}
  for _ = 1, n[0] do
    local k, v
    k, at = get(text, at)
    v, at = get(text, at)
    t[k] = v
  end
  return t, at
end

--- The value of such a text.
function pack.decode(text) return (get(text, 1)) end

return pack
