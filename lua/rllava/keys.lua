--- The keys of a recipe: names resolved, values checked, defaults filled in.
---
---   local cfg, set = keys.resolve(recipe_table, { "rollout.n=16", "actor.optim.lr=1e-5" })
---   cfg.rollout.n      set["rollout.n"] = "command line"; a key that nobody set is not in set
local rl = require "rllava.ffi"
local json = require "rllava.json"
local nearest = require "rllava.nearest"
local key_value = require "rllava.key_value"
local list = require "rllava.key_list"
local alias = require "rllava.key_alias"

local keys = { list = list }

local by_path, canonical, names, groups = {}, {}, {}, {}
local function add_name(name, target)
  canonical[name], names[#names + 1] = target, name
  for group in name:gmatch "()%." do groups[name:sub(1, group - 1)] = true end
end
for _, k in ipairs(list) do by_path[k.path] = k add_name(k.path, k.path) end
for _, k in ipairs(list) do for _, a in ipairs(k.aliases) do add_name(a, k.path) end end
for _, a in ipairs(key_value.sorted_keys(alias.convert)) do add_name(a, a) end

local rank = { recipe = 1, ["command line"] = 2 }

--- Is path a group of keys, or refused as one?
local function refusal(path)
  for _, r in ipairs(alias.refuse) do if path:find(r[1]) then return r[2] end end
end

--- Complains of a setting: at the user's line, or naming the command line or the recipe's file.
local function complain(from, place, message, ...)
  message = message:format(...)
  if from == "command line" then error("command line: " .. message, 0) end
  if place then error(place .. ": " .. message, 0) end
  rl.raise("%s", message)
end

local function unknown(path, from, place, candidates)
  local why = refusal(path)
  if why then complain(from, place, "%s: not a key here: %s", path, why) end
  complain(from, place, "%s: unknown key; the nearest is %s", path,
    (nearest(path, candidates or names)))
end

local function kind_of(path)
  return by_path[path] and by_path[path].kind or alias.convert[path][1]
end

--- Options of rewards have keys of their own: reward_options.args.format_weight=0.5
local args = { "^reward_options%.args%.([%w_]+)$", "^reward%.reward_function_kwargs%.([%w_]+)$" }

local function put_arg(settings, said, name, value, from)
  local path, t = "reward_options.args", {}
  local before = settings[path] and settings[path].value
  for k, v in pairs(type(before) == "table" and before or {}) do t[k] = v end
  if from == "command line" then value = key_value.check("number|bool|text", value, true) end
  t[name] = value
  settings[path] = { value = t, from = from, said = said }
end

--- Keys of the group loss that only an algorithm knows are kept aside until its defaults are there.
local function put(settings, said, value, from, place)
  for _, pattern in ipairs(args) do
    local name = said:match(pattern)
    if name then return put_arg(settings, said, name, value, from) end
  end
  local path = canonical[said]
  if not path and said:find "^loss%.[%w_]+$" then path = said end
  if not path then unknown(said, from, place) end
  local before = settings[path]
  if before and from == "recipe" then
    complain(from, place, "%s: given twice, also as %s", said, before.said)
  end
  settings[path] = { value = value, from = from, said = said }
end

local function walk(settings, prefix, t, place)
  for _, k in ipairs(key_value.sorted_keys(t)) do
    local path, value = prefix .. tostring(k), t[k]
    local is_group = groups[path] and type(value) == "table" and value[1] == nil
      and getmetatable(value) == nil
    local descend = is_group
      and (not canonical[path] or key_value.names_key(value, path, canonical, refusal))
    if descend then walk(settings, path .. ".", value, place)
    elseif groups[path] and not canonical[path] then
      complain("recipe", place, "%s: expected a table of keys, got %s", path, key_value.show(value))
    else put(settings, path, value, "recipe", place) end
  end
end

local function checked(s, kind, place)
  if s.value == json.null then return nil end
  local value, why = key_value.check(kind, s.value,
    s.from == "command line" and type(s.value) == "string")
  if why then
    complain(s.from, place, "%s: expected %s, got %s", s.said, why, key_value.show(s.value))
  end
  return value
end

--- What the recipe and the command line ("key=value") say: path -> { value, from, said }.  Refuses
--- unknown names and wrong types, but for keys of the group loss, which keys.finish knows.  place:
--- the recipe's file, for messages; where nil, they stand at the user's line.
function keys.collect(recipe, overrides, place)
  local settings = {}
  walk(settings, "", recipe or {}, place)
  for _, text in ipairs(overrides or {}) do
    local said, value = text:match "^([%w_.]+)=(.*)$"
    if not said then error(("command line: expected key=value, got '%s'"):format(text), 0) end
    put(settings, said, value, "command line")
  end
  for _, path in ipairs(key_value.sorted_keys(settings)) do
    local s = settings[path]
    if canonical[path] then
      s.value = checked(s, kind_of(path), place)
      if s.value == nil then settings[path] = nil end
    end
  end
  keys.convert(settings)
  return settings
end

--- Applies the converters of RLLaVA's names; what is set by the canonical name from the same place
--- or a stronger one stands.
function keys.convert(settings)
  local function get(path)
    if settings[path] then return settings[path].value end
    return by_path[path] and by_path[path].default
  end
  local done = {}
  for _, name in ipairs(key_value.sorted_keys(alias.convert)) do
    local s, convert = settings[name], alias.convert[name][2]
    if s and not done[convert] then
      done[convert] = true
      local found = convert(get)
      for _, path in ipairs(key_value.sorted_keys(found)) do
        local before = settings[path]
        if not before or rank[before.from] < rank[s.from] then
          settings[path] = { value = found[path], from = s.from, said = name }
        end
      end
    end
  end
  for name in pairs(alias.convert) do settings[name] = nil end
end

--- The default of a key.
function keys.default(path) return by_path[path].default end

local function place(cfg, path, value)
  local at = cfg
  for part in path:gmatch "([^.]+)%." do
    at[part] = at[part] or {}
    at = at[part]
  end
  at[path:match "[^.]*$"] = value
end

--- Candidates for a name in the group loss: its keys and the algorithm's own.
local function loss_names(extra)
  local found = {}
  for _, k in ipairs(list) do if k.path:find "^loss%." then found[#found + 1] = k.path end end
  for _, k in ipairs(key_value.sorted_keys(extra)) do found[#found + 1] = "loss." .. k end
  return found
end

local function finish_loose(cfg, set, settings, extra, place_of)
  for _, path in ipairs(key_value.sorted_keys(settings)) do
    local s, own = settings[path], extra[path:match "^loss%.(.*)" or ""]
    if not by_path[path] then
      if own == nil and s.said ~= path then
        complain(s.from, place_of, "%s: not a key here: this algorithm has no %s", s.said, path)
      elseif own == nil then
        unknown(path, s.from, place_of, loss_names(extra))
      end
      local kind = ({ string = "text", boolean = "bool" })[type(own)] or type(own)
      local value = checked(s, kind, place_of)
      if value ~= nil then place(cfg, path, value) set[path] = s.from end
    end
  end
end

--- Settings and an algorithm's defaults (name -> value, for the group loss) -> cfg, set.
function keys.finish(settings, defaults, place_of)
  local cfg, set, extra = {}, {}, defaults or {}
  for _, k in ipairs(list) do
    local s, own = settings[k.path], extra[k.path:match "^loss%.(.*)" or ""]
    if s then set[k.path] = s.from elseif own ~= nil then set[k.path] = "algorithm" end
    local value = k.default
    if own ~= nil then value = own end
    if s then value = s.value end
    place(cfg, k.path, value)
  end
  for _, name in ipairs(key_value.sorted_keys(extra)) do
    if not by_path["loss." .. name] then
      place(cfg, "loss." .. name, extra[name])
      set["loss." .. name] = "algorithm"
    end
  end
  finish_loose(cfg, set, settings, extra, place_of)
  return cfg, set
end

--- recipe: a table as in a recipe; overrides: list of "key=value"; defaults: an algorithm's
--- -> cfg (nested, every key there), set (path -> "recipe", "command line" or "algorithm").
function keys.resolve(recipe, overrides, defaults)
  return keys.finish(keys.collect(recipe, overrides), defaults)
end

--- All keys whose path, doc or other names hold word, as text: for `rllava keys`.
function keys.describe(word)
  local out = {}
  for _, k in ipairs(list) do
    local others = table.concat(k.aliases, ", ")
    if not word or (k.path .. " " .. k.doc .. " " .. others):find(word, 1, true) then
      out[#out + 1] = ("%-32s %-18s %s%s"):format(k.path, key_value.show(k.default), k.doc,
        #others > 0 and "  (also " .. others .. ")" or "")
      out[#out + 1] = ("%-32s %s"):format("", key_value.kind_text(k.kind))
    end
  end
  return table.concat(out, "\n")
end

--- A resolved cfg as lines "path = value  # who set it": for `rllava --print-config`.
function keys.print(cfg, set)
  local out = {}
  local function lines(prefix, t)
    for _, k in ipairs(key_value.sorted_keys(t)) do
      local path, v = prefix .. tostring(k), t[k]
      if groups[path] and type(v) == "table" and not by_path[path] then lines(path .. ".", v)
      elseif prefix ~= "" or by_path[path] then
        out[#out + 1] = ("%-32s = %-24s # %s"):format(path, key_value.show(v),
          set[path] or "default")
      end
    end
  end
  lines("", cfg)
  return table.concat(out, "\n")
end

return keys
