--- Macros: parts of a template that are called like functions and give text.
local V = require "rllava.jinja.value"

local macro = {}

--- Places the arguments of a call under the macro's names; what is not given is undefined, unless
--- it has a default, which sees the names before it.
local function bind(run, node, args, kwargs, own, scope)
  local used = {}
  for i, name in ipairs(node.names) do
    local v = args[i]
    local named = kwargs and V.get(kwargs, name)
    if named ~= nil then
      if v ~= nil then
        V.fail("%s: %s: expected one value, found two", node.name or "caller", name)
      end
      v, used[name] = named, true
    end
    if v == nil then
      v = node.defaults[i] and run:eval(node.defaults[i], own)
        or V.undefined("parameter '%s' was not given", name)
    end
    own[name] = v
  end
  return used
end

--- What is left over goes to varargs and kwargs, where the body names them.
local function rest(node, args, kwargs, used, own)
  local what = node.name or "caller"
  local keys, values = {}, {}
  for _, key in ipairs(kwargs and V.keys(kwargs) or {}) do
    if key == "caller" and node.caller then own.caller = V.get(kwargs, key)
    elseif not used[key] then
      keys[#keys + 1] = key
      values[#keys] = V.get(kwargs, key)
    end
  end
  if node.caller and own.caller == nil then own.caller = V.undefined "no caller defined" end
  if #keys > 0 and not node.kwargs then
    V.fail("%s: expected arguments of its own, found '%s'", what, keys[1])
  end
  if #args > #node.names and not node.varargs then
    V.fail("%s: expected at most %d arguments, found %d", what, #node.names, #args)
  end
  if node.kwargs then own.kwargs = V.dict(keys, values) end
  if node.varargs then
    local more = {}
    for i = #node.names + 1, #args do more[#more + 1] = args[i] end
    own.varargs = V.tuple(more)
  end
end

--- A macro or the caller of a call block as a value.
function macro.new(run, node, scope)
  local names = {}
  for i, name in ipairs(node.names) do names[i] = name end
  local attributes = { name = node.name or V.none, arguments = V.tuple(names),
    catch_kwargs = node.kwargs == true, catch_varargs = node.varargs == true,
    caller = node.caller == true }
  return V.object("Macro", {
    attr = function(name) return attributes[name] end,
    call = function(args, kwargs)
      local own = run.inner(scope)
      local used = bind(run, node, args, kwargs, own, scope)
      rest(node, args, kwargs, used, own)
      local line = run.position.line
      local text = run:capture(node.body, own)
      run.position.line = line
      return text
    end,
    show = function() return ("<Macro '%s'>"):format(node.name or "caller") end,
  })
end

return macro
