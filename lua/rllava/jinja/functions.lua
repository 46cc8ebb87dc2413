--- What every template may call: range, dict, namespace, cycler, joiner, raise_exception,
--- strftime_now.
local V = require "rllava.jinja.value"
local show = require "rllava.jinja.show"
local call = require "rllava.jinja.call"

local functions = {}
local longest = 100000                     -- elements of a range

local function def(name, spec, body)
  local f = call.bound(name, spec, function(_, ...) return body(...) end)
  functions[name] = V.object("function", {
    call = function(args, kwargs) return f(nil, args, kwargs) end,
  })
end

def("range", "start! stop step", function(start, stop, step)
  start = call.integer(start, "range")
  if stop == nil then start, stop = 0, start end
  stop, step = call.integer(stop, "range"), call.integer(step, "range", 1)
  if step == 0 then V.fail "range: step: expected a number other than zero, found zero" end
  local range = V.range(start, stop, step)
  if range.n > longest then
    V.fail("range: expected at most %d elements, found %.0f", longest, range.n)
  end
  return range
end)

--- Members of a dict from an optional dict or list of pairs and from named arguments.
local function members(name, args, kwargs)
  local d = V.dict()
  if #args > 1 then
    V.fail("%s: expected at most one argument without a name, found %d", name, #args)
  end
  if args[1] ~= nil and V.is_dict(args[1]) then
    for _, key in ipairs(V.keys(args[1])) do V.put(d, key, V.get(args[1], key)) end
  elseif args[1] ~= nil then
    for pair in V.iterate(args[1]) do
      pair = V.items(pair)
      if #pair ~= 2 then
        V.fail("%s: expected pairs of a key and a value, found %d values", name, #pair)
      end
      V.put(d, pair[1], pair[2])
    end
  end
  for _, key in ipairs(kwargs and V.keys(kwargs) or {}) do V.put(d, key, V.get(kwargs, key)) end
  return d
end

functions.dict = V.object("type", {
  call = function(args, kwargs) return members("dict", args, kwargs) end,
})

--- Names in a namespace do not begin with an underscore.
local function checked(key)
  if V.text(key) and V.text(key):sub(1, 1) == "_" then
    V.fail("namespace: expected a name that does not begin with '_', found '%s'", V.text(key))
  end
end

functions.namespace = V.object("type", { call = function(args, kwargs)
  local d = members("namespace", args, kwargs)
  for _, key in ipairs(V.keys(d)) do checked(key) end
  return V.object("Namespace", {
    attr = function(name) return V.get(d, name) end,
    put = function(name, v)
      checked(name)
      V.spend(1)
      V.put(d, name, v)
    end,
    show = function(depth)
      if depth > 500 then V.fail "expected values nested at most 500 deep, found deeper ones" end
      local parts = {}
      for i, key in ipairs(V.keys(d)) do
        local v = V.get(d, key)
        parts[i] = show.repr(key) .. ": "
          .. (V.is_object(v) and "<" .. v.class .. ">" or show.repr(v))
      end
      return "<Namespace {" .. table.concat(parts, ", ") .. "}>"
    end,
  })
end })

functions.cycler = V.object("type", { call = function(args)
  if #args == 0 then V.fail "cycler: expected values, found none" end
  local at = 0
  local methods = {
    next = V.object("method", { call = function()
      at = at % #args + 1
      return args[at]
    end }),
    reset = V.object("method", { call = function()
      at = 0
      return V.none
    end }),
  }
  return V.object("Cycler", { attr = function(name)
    if name == "current" then return args[at % #args + 1] end
    return methods[name]
  end })
end })

def("joiner", "sep", function(sep)
  local used = false
  return V.object("Joiner", { call = function()
    local text = used and (sep or ", ") or ""
    used = true
    return text
  end })
end)

def("raise_exception", "message!", function(message)
  error({ jinja = show.str(message) }, 0)
end)

--- strftime_now bound to a time: now() -> seconds since 1970.
function functions.clock(now)
  return V.object("function", { call = function(args)
    local pattern = call.text(args[1] == nil and V.none or args[1], "strftime_now")
    local time = now()
    V.spend(#pattern)
    return (pattern:gsub("%%([-_0^#]?)(%a?%%?)", function(flag, code)
      if code == "f" then return "000000" end
      if code:find "^[aAbBcdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%%]$" then
        return os.date("%" .. flag .. code, time)
      end
    end))
  end })
end

return functions
