--- Tests: what `is` asks of a value.
local V = require "rllava.jinja.value"
local ops = require "rllava.jinja.ops"
local call = require "rllava.jinja.call"
local show = require "rllava.jinja.show"
local methods = require "rllava.jinja.methods"

local tests = {}

local function def(names, spec, body)
  for name in names:gmatch "%S+" do tests[name] = call.bound(name, spec, body) end
end

local function is_kind(...)
  local wanted = {}
  for _, k in ipairs { ... } do wanted[k] = true end
  return function(v) return wanted[V.kind(v)] == true end
end

def("defined", "", function(v) return not V.is_undefined(v) end)
def("undefined", "", V.is_undefined)
def("none", "", function(v) return v == V.none end)
def("true", "", function(v) return v == true end)
def("false", "", function(v) return v == false end)
def("boolean", "", is_kind "bool")
def("integer", "", is_kind "int")
def("float", "", is_kind "float")
def("number", "", is_kind("int", "float", "bool"))
def("string", "", is_kind("str", "markup"))
def("mapping", "", V.is_dict)
def("iterable", "", V.is_iterable)
def("sequence", "", is_kind("str", "markup", "list", "tuple", "dict", "range", "undefined"))
def("callable", "", function(v) return V.is_object(v) and v.call ~= nil or V.is_undefined(v) end)
def("escaped", "", is_kind "markup")

local function remainder(v, by) return V.number(ops.binary("%", v, by)) end
def("even", "", function(v) return remainder(v, 2) == 0 end)
def("odd", "", function(v) return remainder(v, 2) == 1 end)
def("divisibleby", "num!", function(v, num) return remainder(v, num) == 0 end)

def("eq equalto ==", "other!", ops.equal)
def("ne !=", "other!", function(a, b) return not ops.equal(a, b) end)
def("lt lessthan <", "other!", ops.less)
def("gt greaterthan >", "other!", function(a, b) return ops.less(b, a) end)
def("le <=", "other!", function(a, b) return ops.less(a, b) or ops.equal(a, b) end)
def("ge >=", "other!", function(a, b) return ops.less(b, a) or ops.equal(a, b) end)
def("in", "seq!", ops.contains)

def("sameas", "other!", function(a, b)
  if V.number(a) or V.text(a) then return V.kind(a) == V.kind(b) and ops.equal(a, b) end
  return rawequal(a, b)
end)

def("lower", "", function(v) return methods.str.islower(show.str(v), {}) end)
def("upper", "", function(v) return methods.str.isupper(show.str(v), {}) end)

--- Is there a filter, a test of that name?
for _, what in ipairs { "filter", "test" } do
  tests[what] = function(v, _, _, run)
    return V.text(v) ~= nil and run.known[what .. "s"][V.text(v)] ~= nil
  end
end

return tests
