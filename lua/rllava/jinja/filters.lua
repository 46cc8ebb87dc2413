--- Filters over lists and dicts: choosing, sorting, grouping; and the table of all filters.
local V = require "rllava.jinja.value"
local ops = require "rllava.jinja.ops"
local get = require "rllava.jinja.get"
local call = require "rllava.jinja.call"
local unicode = require "rllava.unicode"

local filters = {}

local function def(name, spec, body) filters[name] = call.bound(name, spec, body) end

local function given(v) return v ~= nil and v ~= V.none end
local function is_true(v) return v ~= nil and V.truth(v) end

--- "a.b.0" or 0 -> a function that follows the path from an element; default: where it ends early.
local function getter(attribute, default)
  local path = {}
  if V.integer(attribute) then path[1] = V.integer(attribute)
  else
    for part in (call.text(attribute, "attribute") .. "."):gmatch "(.-)%." do
      path[#path + 1] = tonumber(part) or part
    end
  end
  return function(v)
    for _, part in ipairs(path) do
      v = get.item(v, part)
      if V.is_undefined(v) and given(default) then return default end
    end
    return v
  end
end

--- What elements are compared by: an attribute of them, in lower case unless case counts.
local function key_of(attribute, case)
  local follow = given(attribute) and getter(attribute)
  return function(v)
    if follow then v = follow(v) end
    local text = not is_true(case) and V.text(v)
    return text and unicode.lower(text) or v
  end
end

--- A stable sort of items by keys.
local function merge_sort(items, keys, reverse)
  local order, n = {}, #items
  for i = 1, n do order[i] = i end
  local function later(a, b)
    if reverse then return ops.less(keys[a], keys[b]) end
    return ops.less(keys[b], keys[a])
  end
  local width = 1
  while width < n do
    local merged = {}
    for low = 1, n, 2 * width do
      local mid, high = math.min(low + width, n + 1), math.min(low + 2 * width, n + 1)
      local i, j = low, mid
      for k = low, high - 1 do
        local left = i < mid and (j >= high or not later(order[i], order[j]))
        merged[k] = order[left and i or j]
        if left then i = i + 1 else j = j + 1 end
      end
    end
    order, width = merged, 2 * width
  end
  local sorted = {}
  for k, i in ipairs(order) do sorted[k] = items[i] end
  return sorted
end

local function sorted_by(items, key, reverse)
  local keys = {}
  for i, e in ipairs(items) do keys[i] = key(e) end
  return merge_sort(items, keys, reverse)
end

def("sort", "reverse case_sensitive attribute", function(v, reverse, case, attribute)
  local key = key_of(attribute, case)
  if V.text(attribute) and V.text(attribute):find(",", 1, true) then
    local parts = {}
    for part in V.text(attribute):gmatch "[^,]+" do parts[#parts + 1] = key_of(part, case) end
    key = function(e)
      local keys = {}
      for i, part in ipairs(parts) do keys[i] = part(e) end
      return V.list(keys)
    end
  end
  return V.list(sorted_by(V.items(v), key, is_true(reverse)))
end)

def("dictsort", "case_sensitive by reverse", function(v, case, by, reverse)
  if not V.is_dict(v) then V.fail("dictsort: expected a dict, found %s", V.type(v)) end
  by = by == nil and "key" or V.text(by)
  if by ~= "key" and by ~= "value" then V.fail "dictsort: by: expected 'key' or 'value'" end
  local items, key = {}, key_of(nil, case)
  for i, k in ipairs(V.keys(v)) do items[i] = V.tuple { k, V.get(v, k) } end
  local at = by == "key" and 1 or 2
  return V.list(sorted_by(items, function(e) return key(e[at]) end, is_true(reverse)))
end)

--- Equal keys, in the order of their first appearance: position of the first equal one, or nil.
local function finder()
  local seen, others = {}, {}
  return function(key)
    local plain = type(key) ~= "table" and key
    if plain ~= false and plain ~= nil then
      if type(plain) == "boolean" then plain = 1 end
      if seen[plain] then return true end
      seen[plain] = true
      return false
    end
    if others[1] ~= nil and ops.contains(key, V.list(others)) then return true end
    others[#others + 1] = key
    return false
  end
end

def("unique", "case_sensitive attribute", function(v, case, attribute)
  local next, key, seen = V.iterate(v), key_of(attribute, case), finder()
  return V.iterator(function()
    while true do
      local e = next()
      if e == nil then return nil end
      V.spend(1)
      if not seen(key(e)) then return e end
    end
  end)
end)

def("groupby", "attribute! default case_sensitive", function(v, attribute, default, case)
  local follow, items, groups = getter(attribute, default), V.items(v), {}
  local function key(e)
    local k = follow(e)
    return not is_true(case) and V.text(k) and unicode.lower(V.text(k)) or k
  end
  local last
  for _, e in ipairs(sorted_by(items, key)) do
    local k = key(e)
    if last == nil or not ops.equal(last, k) then
      groups[#groups + 1] = V.tuple { follow(e), V.list {} }
      groups[#groups].names = { grouper = 1, list = 2 }
    end
    last = k
    table.insert(groups[#groups][2], e)
  end
  return V.list(groups)
end)

local function extreme(name, better)
  def(name, "case_sensitive attribute", function(v, case, attribute)
    local key, best, best_key = key_of(attribute, case), nil, nil
    for e in V.iterate(v) do
      local k = key(e)
      if best == nil or better(k, best_key) then best, best_key = e, k end
    end
    if best == nil then return V.undefined("%s: no element", name) end
    return best
  end)
end
extreme("min", ops.less)
extreme("max", function(a, b) return ops.less(b, a) end)

def("sum", "attribute start", function(v, attribute, start)
  local follow, total = given(attribute) and getter(attribute), start or 0
  for e in V.iterate(v) do total = ops.binary("+", total, follow and follow(e) or e) end
  return total
end)

def("first", "", function(v)
  local e = V.iterate(v)()
  if e == nil then return V.undefined "first: the sequence is empty" end
  return e
end)

def("last", "", function(v)
  if V.kind(v) == "generator" then V.fail "last: expected a list or text, found generator" end
  local items = V.items(v)
  if #items == 0 then return V.undefined "last: the sequence is empty" end
  return items[#items]
end)

def("length", "", V.len)
def("count", "", V.len)
def("list", "", function(v) return V.list(V.items(v)) end)

def("items", "", function(v)
  if V.is_undefined(v) then return V.iterator(function() end) end
  if not V.is_dict(v) then V.fail("items: expected a dict, found %s", V.type(v)) end
  local keys, i = V.keys(v), 0
  return V.iterator(function()
    i = i + 1
    return keys[i] ~= nil and V.tuple { keys[i], V.get(v, keys[i]) } or nil
  end)
end)

def("reverse", "", function(v)
  local items, out = V.items(v), {}
  for i = #items, 1, -1 do out[#out + 1] = items[i] end
  if V.text(v) then return table.concat(out) end
  return V.iterator(V.iterate(V.list(out)))
end)

def("batch", "linecount! fill_with", function(v, n, fill)
  n = call.integer(n, "batch: linecount")
  if n < 1 then V.fail "batch: linecount: expected at least 1" end
  local next = V.iterate(v)
  return V.iterator(function()
    local row = {}
    while #row < n do
      local e = next()
      if e == nil then break end
      row[#row + 1] = e
    end
    if #row == 0 then return nil end
    if given(fill) then
      V.spend(n - #row)
      while #row < n do row[#row + 1] = fill end
    end
    return V.list(row)
  end)
end)

def("slice", "slices! fill_with", function(v, n, fill)
  n = call.integer(n, "slice: slices")
  if n < 1 then V.fail "slice: slices: expected at least 1" end
  V.spend(n)
  local items, rows, at = V.items(v), {}, 0
  local short = math.floor(#items / n)
  for i = 1, n do
    local row = {}
    for _ = 1, short + (i <= #items % n and 1 or 0) do
      at = at + 1
      row[#row + 1] = items[at]
    end
    if given(fill) and i > #items % n and #items % n > 0 then row[#row + 1] = fill end
    rows[i] = V.list(row)
  end
  return V.iterator(V.iterate(V.list(rows)))
end)

--- The rest of a list of arguments.
local function after(args, n)
  local rest = {}
  for i = n + 1, #args do rest[#rest + 1] = args[i] end
  return rest
end

--- map('filter', ...) or map(attribute='a', default=x).
function filters.map(v, args, kwargs, run)
  local change
  if #args == 0 and kwargs then
    local attribute = V.get(kwargs, "attribute")
    if attribute == nil then
      V.fail "map: expected the name of a filter or attribute=, found neither"
    end
    change = getter(attribute, V.get(kwargs, "default"))
  else
    local name = call.text(args[1] == nil and V.none or args[1], "map: filter")
    local f, rest = run.known.filters[name], after(args, 1)
    if not f then V.fail("map: expected a filter that is known, found '%s'", name) end
    change = function(e) return f(e, rest, kwargs, run) end
  end
  local next = V.iterate(v)
  return V.iterator(function()
    local e = next()
    if e == nil then return nil end
    V.spend(1)
    return change(e)
  end)
end

--- select, reject and the two for attributes: elements by a test, or by whether they are true.
local function chooser(name, keep, by_attribute)
  filters[name] = function(v, args, kwargs, run)
    local follow = function(e) return e end
    if by_attribute then
      if args[1] == nil then V.fail("%s: expected the name of an attribute, found none", name) end
      follow, args = getter(args[1]), after(args, 1)
    end
    local test = V.truth
    if args[1] ~= nil then
      local what, rest = call.text(args[1], name .. ": test"), after(args, 1)
      local f = run.known.tests[what]
      if not f then V.fail("%s: expected a test that is known, found '%s'", name, what) end
      test = function(e) return f(e, rest, kwargs, run) end
    end
    local next = V.iterate(v)
    return V.iterator(function()
      while true do
        local e = next()
        if e == nil then return nil end
        V.spend(1)
        if V.truth(test(follow(e))) == keep then return e end
      end
    end)
  end
end
chooser("select", true)
chooser("reject", false)
chooser("selectattr", true, true)
chooser("rejectattr", false, true)

local convert, of_text = require "rllava.jinja.filters_convert", require "rllava.jinja.filters_text"
for _, more in ipairs { convert, of_text } do
  for name, filter in pairs(more) do filters[name] = filter end
end

return filters
