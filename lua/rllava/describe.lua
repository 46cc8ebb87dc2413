--- Values as a reader wants to see them: tables in a few lines, models by their layers.
local describe = {}

local function key_text(k)
  if type(k) == "string" and k:find "^[%a_][%w_]*$" then return k end
  return "[" .. (type(k) == "string" and ("%q"):format(k) or tostring(k)) .. "]"
end

--- The keys of a table: numbers in order, then the rest by their text.
local function keys_of(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b)
    if type(a) == "number" and type(b) == "number" then return a < b end
    if type(a) ~= type(b) then return type(a) == "number" end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local value

local function members(t, depth, seen)
  local parts, n = {}, #t
  for i, k in ipairs(keys_of(t)) do
    if i > 40 then parts[#parts + 1] = "..." break end
    local text = value(t[k], depth + 1, seen)
    local in_list = type(k) == "number" and k >= 1 and k <= n and k % 1 == 0
    parts[#parts + 1] = in_list and text or key_text(k) .. " = " .. text
  end
  return parts
end

local function table_text(t, depth, seen)
  if seen[t] then return "{ ... as above }" end
  if depth > 3 then return "{ ... }" end
  seen[t] = true
  local parts = members(t, depth, seen)
  seen[t] = nil
  if #parts == 0 then return "{}" end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if #line + 2 * depth <= 96 and not line:find "\n" then return line end
  local indent = ("  "):rep(depth + 1)
  return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

function value(v, depth, seen)
  if type(v) == "string" then return depth == 0 and v or (("%q"):format(v):gsub("\\\n", "\\n")) end
  if type(v) ~= "table" then return (tostring(v):gsub("\n", "\n" .. ("  "):rep(depth))) end
  local meta = getmetatable(v)
  if meta and meta.__tostring then return tostring(v) end
  return table_text(v, depth, seen)
end

--- Any value as text; a string as it is.
function describe.value(v) return value(v, 0, {}) end

--- 1234567 -> "1,234,567".
function describe.count(n)
  local s = ("%.0f"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (s:gsub("^,", ""))
end

local function shape_text(shape) return "[" .. table.concat(shape, ", ") .. "]" end

--- Parameters in lines, in their order: those of numbered layers that look alike share one.
local function layer_lines(model)
  local lines, by_key = {}, {}
  for _, name in ipairs(model.names) do
    local shape = shape_text(model.params[name].shape)
    local before, index, after = name:match "^(.-)%.(%d+)%.(.*)$"
    local key = before and before .. ".*." .. after .. shape
    local line = key and by_key[key]
    if line and tonumber(index) == line.last + 1 then line.last = tonumber(index)
    else
      line = { name = name, shape = shape, before = before, after = after,
        first = tonumber(index), last = tonumber(index) }
      lines[#lines + 1] = line
      if key then by_key[key] = line end
    end
  end
  return lines
end

--- A model's parameters by layers.
function describe.layers(model)
  local out = {}
  for i, line in ipairs(layer_lines(model)) do
    local name = line.name
    if line.before and line.last > line.first then
      name = ("%s.{%d..%d}.%s"):format(line.before, line.first, line.last, line.after)
    end
    out[i] = ("  %-58s %s"):format(name, line.shape)
  end
  return table.concat(out, "\n")
end

--- A policy: family, where it came from, how many numbers, its layers.
function describe.policy(p)
  local c = p.config
  local text = c.text_config or c
  local from = rawget(p, "path") and " from " .. p.path or ""
  local sizes = ("%s parameters, %d layers, %d wide, vocabulary %d"):format(
    describe.count(p:size()), text.num_hidden_layers, text.hidden_size, text.vocab_size)
  return ("policy %s%s: %s%s\n%s"):format(c.model_type, from, sizes,
    c.vision_config and ", reads pictures" or "", describe.layers(p.model))
end

return describe
