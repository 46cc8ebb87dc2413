--- Attributes and elements: x.name tries the attribute, then the key; x[key] the key, then the
--- attribute.
local V = require "rllava.jinja.value"
local unicode = require "rllava.unicode"

local get = {}

--- Refuses a mutable method by giving an undefined value that says so.
local function unsafe(v, name)
  return V.undefined("%s of %s is not open to templates", name, V.type(v))
end

--- The method or attribute of a value, or nil.
local function method(v, name)
  if V.is_object(v) then return v.attr and v.attr(name) end
  local methods = require "rllava.jinja.methods"
  local k = V.kind(v)
  if k == "tuple" and v.names and v.names[name] then return v[v.names[name]] end
  if methods.closed[k] and methods.closed[k][name] then return unsafe(v, name) end
  local m = methods[k] and methods[k][name]
  if not m then return nil end
  if type(m) == "table" then return m.of(v) end
  return V.object("method", { call = function(args, kwargs) return m(v, args, kwargs) end })
end

local function missing(v, name)
  if V.is_undefined(v) then V.need(v) end
  if V.is_dict(v) then return V.undefined("a dict has no '%s'", name) end
  return V.undefined("'%s' has no attribute '%s'", V.type(v), name)
end

--- v.name
function get.attr(v, name)
  if V.is_undefined(v) then V.need(v) end
  if name:find "^__.*__$" then return unsafe(v, name) end
  local found = method(v, name)
  if found == nil and V.is_dict(v) then found = V.get(v, name) end
  if found == nil then return missing(v, name) end
  return found
end

local function element(v, i)
  local n = V.len(v)
  if i < 0 then i = i + n end
  if i < 0 or i >= n then return nil end
  local text = V.text(v)
  if text then
    return unicode.ascii(text) and text:sub(i + 1, i + 1) or unicode.chars(text)[i + 1]
  end
  if V.kind(v) == "range" then return v.start + i * v.step end
  return v[i + 1]
end

local function hashable(v)
  local k = V.kind(v)
  return k ~= "list" and k ~= "dict"
end

--- v[key]
function get.item(v, key)
  if V.is_undefined(v) then V.need(v) end
  local k, found = V.kind(v), nil
  if k == "dict" then
    if hashable(key) then found = V.get(v, key) end
  elseif (k == "list" or k == "tuple" or k == "str" or k == "markup" or k == "range")
    and V.integer(key) then
    found = element(v, V.integer(key))
  end
  if found ~= nil then return found end
  local name = V.text(key)
  if name and not name:find "^__.*__$" then found = method(v, name) end
  if found ~= nil then return found end
  if name then return missing(v, name) end
  return V.undefined("%s has no element %s", V.type(v), require("rllava.jinja.show").repr(key))
end

return get
