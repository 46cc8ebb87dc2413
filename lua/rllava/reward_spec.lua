--- What a recipe names as its reward, as the workers load it: list of { name, weight, options,
--- shared, and place | recipe, index | code }.
local rl = require "rllava.ffi"
local files = require "rllava.files"
local key_value = require "rllava.key_value"
local nearest = require "rllava.nearest"

local reward_spec = {}

--- A file, a function, { file, weight, option = ... } or a list of these -> list of { value,
--- weight, options }.
local function entries(given)
  local is_pair = type(given) == "table" and type(given[2]) == "number"
  if type(given) ~= "table" or is_pair or key_value.sorted_keys(given)[#given + 1] then
    given = { given }
  end
  local list = {}
  for i, e in ipairs(given) do
    local t = type(e) == "table" and e or { e }
    local options = {}
    for k, v in pairs(t) do if type(k) == "string" then options[k] = v end end
    local weight = t[2] == nil and 1 or t[2]
    if type(t[1]) ~= "string" and type(t[1]) ~= "function" then
      rl.raise("reward: entry %d: expected a file or a function, got %s", i, key_value.show(t[1]))
    elseif type(weight) ~= "number" or weight ~= weight or t[3] ~= nil then
      rl.raise("reward: entry %d: expected { file, weight, option = ... }, got %s", i,
        key_value.show(t))
    end
    list[i] = { value = t[1], weight = weight, options = options }
  end
  if #list == 0 then
    rl.raise "reward: expected a file, a function or a list of them, got an empty table"
  end
  return list
end

local function unique(name, seen)
  local n, out = 1, name
  while seen[out] do n = n + 1 out = name .. "_" .. n end
  seen[out] = true
  return out
end

--- How a worker gets at it: by place, by the recipe that holds the function, or by its code.
local function located(e, i, recipe)
  if type(e.value) == "string" then
    local place = require("rllava.recipe").find(e.value, recipe and recipe.folder)
    if not place then
      rl.raise("reward: %s: expected beside the recipe, one folder above, in the current folder "
        .. "or in the house, found nothing", e.value)
    end
    return { place = place }
  end
  if recipe and recipe.path then return { recipe = recipe.path, index = i } end
  if debug.getinfo(e.value, "u").nups > 0 then
    rl.raise "reward: a function that uses variables around it is only possible in a recipe's file"
  end
  return { code = string.dump(e.value) }
end

--- given as in a recipe -> list of specs for the workers, each with its weight.
function reward_spec.list(given, options, recipe)
  local seen, specs = {}, {}
  local shared = {}
  for k, v in pairs(options.args or {}) do shared[k] = v end
  if options.compat then shared.compat = true end
  for i, e in ipairs(entries(given)) do
    local spec = located(e, i, recipe)
    local stem = type(e.value) == "string" and files.name(e.value):gsub("%.lua$", "") or "reward"
    spec.name, spec.weight = unique(stem, seen), e.weight
    spec.options, spec.shared = e.options, shared
    specs[i] = spec
  end
  return specs
end

--- Every option that is meant for whichever reward knows it must be known to one.
function reward_spec.check_shared(options, ready)
  local names, seen = {}, {}
  for _, r in ipairs(ready) do
    for _, k in ipairs(r.known) do
      if not seen[k] then seen[k], names[#names + 1] = true, k end
    end
  end
  for _, k in ipairs(key_value.sorted_keys(options.args or {})) do
    if not seen[k] then
      rl.raise("reward_options.args: no reward knows the option %s%s", tostring(k),
        #names > 0 and "; the nearest is " .. nearest(tostring(k), names) or "")
    end
  end
end

return reward_spec
