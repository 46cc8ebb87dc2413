--- Calls: how arguments reach functions, filters and tests that are written in Lua.
local V = require "rllava.jinja.value"

local call = {}

--- "old! new! count" -> a function(args, kwargs) that gives the values by place or by name; nil
--- for those not given.  "!": needed.  Refuses unknown names, too many and too few.
function call.binder(what, spec)
  local names, place, needed = {}, {}, {}
  for name, mark in spec:gmatch "([%w_]+)(!?)" do
    names[#names + 1] = name
    place[name], needed[#names] = #names, mark == "!"
  end
  return function(args, kwargs)
    local values = {}
    if #args > #names then
      V.fail("%s: expected at most %d arguments, found %d", what, #names, #args)
    end
    for i, v in ipairs(args) do values[i] = v end
    for _, key in ipairs(kwargs and V.keys(kwargs) or {}) do
      local i = place[key]
      if not i then
        V.fail("%s: expected one of its arguments (%s), found '%s'", what,
          table.concat(names, ", "), key)
      end
      if values[i] ~= nil then V.fail("%s: %s: expected one value, found two", what, key) end
      values[i] = V.get(kwargs, key)
    end
    for i, name in ipairs(names) do
      if needed[i] and values[i] == nil then
        V.fail("%s: %s: expected a value, found none", what, name)
      end
    end
    return values, #names
  end
end

--- A function(v, args, kwargs) that binds by spec and calls body(v, ...).
function call.bound(what, spec, body)
  local bind = call.binder(what, spec)
  return function(v, args, kwargs)
    local values, n = bind(args, kwargs)
    return body(v, unpack(values, 1, n))
  end
end

--- Calls a value of the template.
function call.value(f, args, kwargs)
  if V.is_undefined(f) then V.need(f) end
  if not V.is_object(f) or not f.call then
    V.fail("expected something to call, found %s", V.type(f))
  end
  V.spend(1)
  return f.call(args, kwargs)
end

--- An argument that must be text.
function call.text(v, what)
  local text = V.text(v)
  if not text then
    if V.is_undefined(v) then V.need(v) end
    V.fail("%s: expected text, found %s", what, V.type(v))
  end
  return text
end

--- An argument that must be an integer; nil and default where it is not given.
function call.integer(v, what, default)
  if v == nil then return default end
  local n = V.integer(v)
  if not n then
    if V.is_undefined(v) then V.need(v) end
    V.fail("%s: expected an integer, found %s", what, V.type(v))
  end
  return n
end

return call
