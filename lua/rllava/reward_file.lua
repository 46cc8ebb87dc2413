--- What a reward may be, and what it may return: checked here, in the worker, where it runs.
---
---   a function(response, answer, row) -> number | { overall = x, name = score, ... }, remark
---   { defaults = { ... }, score = function(response, answer, row, options) }    with options
---   { defaults = { ... }, batch = function(list, options) -> list }
---       all responses of a step at once: { response =, answer =, row = } each -> a score each
local rl = require "rllava.ffi"
local nearest = require "rllava.nearest"
local key_value = require "rllava.key_value"

local reward_file = {}

--- The reward's value from where it is: { place }, { recipe, index } or { code } of a function
--- without upvalues.
local function value_of(spec)
  local recipe = require "rllava.recipe"
  if spec.code then return assert(loadstring(spec.code, "=reward")) end
  if spec.place then return recipe.chunk(spec.place)() end
  local given = recipe.open(spec.recipe).reward
  if type(given) ~= "table" then return given end
  local entry = given[spec.index]
  return type(entry) == "table" and entry[1] or entry
end

local function options_of(spec, defaults)
  local options, names = {}, key_value.sorted_keys(defaults or {})
  for _, k in ipairs(names) do options[k] = defaults[k] end
  for _, k in ipairs(key_value.sorted_keys(spec.shared or {})) do
    if options[k] ~= nil then options[k] = spec.shared[k] end
  end
  for _, k in ipairs(key_value.sorted_keys(spec.options or {})) do
    if options[k] == nil then
      rl.raise("reward %s: unknown option %s%s", spec.name, k,
        #names > 0 and "; the nearest is " .. nearest(k, names) or ": it has none")
    end
    options[k] = spec.options[k]
  end
  return options
end

--- spec: { name, place | recipe, index | code, options, shared } -> { name, score | batch, options,
--- known }.
function reward_file.load(spec)
  local value = value_of(spec)
  if type(value) == "function" then value = { score = value } end
  local called = type(value) == "table" and (value.score or value.batch)
  if type(called) ~= "function" then
    rl.raise("reward %s: expected a function, or a table with score or batch, got %s", spec.name,
      type(value))
  end
  return { name = spec.name, score = value.score, batch = not value.score and value.batch or nil,
    options = options_of(spec, value.defaults),
    known = key_value.sorted_keys(value.defaults or {}) }
end

local function finite(v) return type(v) == "number" and v == v and math.abs(v) < math.huge end

local function what(v)
  if v == nil then return "nothing" end
  if type(v) == "number" then return v ~= v and "NaN" or tostring(v) end
  if type(v) == "string" then return ("the text %q"):format(v:sub(1, 60)) end
  return type(v) == "table" and "a table" or tostring(v)
end

--- What a reward returned -> { overall, parts, remark } or { error }.
function reward_file.result(v, remark)
  if type(v) == "number" then v = { overall = v } end
  if type(v) ~= "table" then
    return { error = "expected a number or a table with overall, got " .. what(v) }
  end
  if not finite(v.overall) then
    return { error = "overall: expected a finite number, got " .. what(v.overall) }
  end
  local parts = {}
  for _, k in ipairs(key_value.sorted_keys(v)) do
    if k == "remark" and type(v[k]) == "string" then remark = remark or v[k]
    elseif type(k) ~= "string" or not finite(v[k]) then
      return { error = ("%s: expected a finite number, got %s"):format(tostring(k), what(v[k])) }
    elseif k ~= "overall" then parts[k] = v[k] end
  end
  return { overall = v.overall, parts = parts, remark = remark ~= nil and tostring(remark) or nil }
end

--- row, that remembers which absent fields were asked for.
local function watched(row)
  local missing = {}
  return setmetatable(row, { __index = function(_, k) missing[#missing + 1] = k end }), missing
end

--- An error's text, with the fields that the row lacks where that may be why.
local function explained(message, row, missing)
  message = tostring(message)
  if #missing == 0 or not message:find "nil" then return message end
  local k, names = tostring(missing[#missing]), {}
  for name in pairs(row) do names[#names + 1] = tostring(name) end
  table.sort(names)
  local near = nearest(k, names)
  local hint = near and "; the nearest is " .. near or ""
  return ("%s (the row has no field %s%s)"):format(message, k, hint)
end

--- One response under one loaded reward -> its result.
function reward_file.score(reward, response, answer, row)
  local missing
  row, missing = watched(row or {})
  local ok, v, remark = pcall(reward.score, response, answer, row, reward.options)
  if not ok then return { error = explained(v, row, missing) } end
  return reward_file.result(v, remark)
end

--- All responses { response, answer, row } under a batch reward -> a result each.
function reward_file.batch(reward, list)
  local ok, values = pcall(reward.batch, list, reward.options)
  local out, why = {}, nil
  if not ok then why = tostring(values)
  elseif type(values) ~= "table" or #values ~= #list then
    local got = type(values) == "table" and #values or what(values)
    why = ("batch: expected a list of %d, got %s"):format(#list, got)
  end
  for i = 1, #list do out[i] = why and { error = why } or reward_file.result(values[i]) end
  return out
end

return reward_file
