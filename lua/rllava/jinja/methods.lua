--- Methods of lists, dicts and numbers, as Python has them, and the table of all methods by kind of
--- value.
local V = require "rllava.jinja.value"
local show = require "rllava.jinja.show"
local ops = require "rllava.jinja.ops"
local call = require "rllava.jinja.call"
local str = require "rllava.jinja.methods_text"

local list, tuple, dict = {}, {}, {}

local function def(where, name, spec, body) where[name] = call.bound(name, spec, body) end

local function index(v, e)
  for i, x in ipairs(v) do if ops.equal(x, e) then return i - 1 end end
  V.fail("index: expected a list that holds %s, found none", show.repr(e))
end
local function count(v, e)
  local n = 0
  for _, x in ipairs(v) do if ops.equal(x, e) then n = n + 1 end end
  return n
end
for _, where in ipairs { list, tuple } do
  def(where, "index", "value!", index)
  def(where, "count", "value!", count)
end
def(list, "copy", "", function(v) return ops.slice(v) end)

def(dict, "keys", "", function(d) return V.view("dict_keys", V.keys(d)) end)
def(dict, "values", "", function(d) return V.view("dict_values", V.values(d)) end)
def(dict, "items", "", function(d)
  local items = {}
  for i, key in ipairs(V.keys(d)) do items[i] = V.tuple { key, V.get(d, key) } end
  return V.view("dict_items", items)
end)
def(dict, "get", "key! default", function(d, key, default)
  local v = V.get(d, key)
  if v ~= nil then return v end
  return default == nil and V.none or default
end)
def(dict, "copy", "", function(d) return V.dict(V.keys(d), V.values(d)) end)

local number = {}
def(number, "is_integer", "", function(v) return V.number(v) == math.floor(V.number(v)) end)

for _, name in ipairs { "real", "numerator" } do number[name] = V.object("property",
  { of = function(v) return v end }) end

--- What the sandbox of chat templates keeps closed: whatever would change a list or a dict.
local function set(names)
  local t = {}
  for name in names:gmatch "%S+" do t[name] = true end
  return t
end

return {
  str = str, markup = str, list = list, tuple = tuple, dict = dict, float = number, int = number,
  closed = {
    list = set "append clear extend insert pop remove reverse sort",
    dict = set "clear pop popitem setdefault update",
  },
}
