--- Algorithms by name, by file, or as a recipe's table: { name, defaults, needs, advantage, loss }.
local embedded = require "rllava.embedded"
local rl = require "rllava.ffi"
local nearest = require "rllava.nearest"

local algorithm = {}

-- Names of RLLaVA and of the papers -> files.
local other = { reinforce_plus_plus = "reinforce_pp",
  reinforce_plus_plus_baseline = "reinforce_pp_baseline",
  gae = "ppo", geo_mean = "gmpo", drgrpo = "dr_grpo", grpo_passk = "passk" }

--- The algorithms of the house, in order.
function algorithm.names()
  local names = {}
  for _, path in ipairs(embedded.names()) do
    names[#names + 1] = path:match "^lua/rllava/algo/([%w_]+)%.lua$"
  end
  table.sort(names)
  return names
end

local function checked(t, name)
  if type(t) ~= "table" then rl.raise("algorithm %s: expected a table, got %s", name, type(t)) end
  for _, field in ipairs { "advantage", "loss" } do
    local kind = type(t[field])
    if kind ~= "function" and not (field == "advantage" and kind == "nil") then
      rl.raise("algorithm %s: %s: expected a function, got %s", name, field, kind)
    end
  end
  return t
end

local function by_name(name)
  local file = name:lower():gsub("-", "_")
  file = other[file] or file
  for _, known in ipairs(algorithm.names()) do
    if known == file then return require("rllava.algo." .. file), file end
  end
  rl.raise("algorithm: unknown name '%s'; the nearest is %s", name,
    (nearest(file, algorithm.names())))
end

local function named(spec, folder)
  if not spec:find "%.lua$" then return by_name(spec) end
  local chunk, place = require("rllava.recipe").chunk(spec, folder)
  return chunk(), spec, place
end

local function merge(into, from)
  for k, v in pairs(from or {}) do into[k] = v end
  return into
end

--- A name, or a file's path -> the algorithm, as a copy with its name.
local function whole(spec, folder)
  local t, name = named(spec, folder)
  checked(t, name)
  return merge({ name = name, defaults = {}, needs = {} }, t)
end

--- needs is a list of what the algorithm asks of a run ("value", "ref_logp", "greedy").
local function add_needs(into, from)
  local seen = {}
  for _, n in ipairs(into) do seen[n] = true end
  for _, n in ipairs(from or {}) do if not seen[n] then into[#into + 1] = n end end
end

--- { base, advantage, loss, defaults, needs }: base "grpo" where not given; advantage and loss are
--- functions or names of algorithms that have them.  Defaults: of the base, then of what was named,
--- then the table's own.
local function composed(spec, folder)
  local known = { base = true, advantage = true, loss = true, defaults = true, needs = true,
    name = true }
  for k in require("rllava").sorted(spec) do
    if not known[k] then
      rl.raise("algorithm.%s: unknown key; an algorithm's table has base, advantage, loss, "
        .. "defaults, needs", tostring(k))
    end
  end
  local base = whole(spec.base or "grpo", folder)
  local out = merge({}, base)
  out.defaults, out.needs = merge({}, base.defaults), {}
  out.name = spec.name or spec.base or "custom"
  add_needs(out.needs, base.needs)
  for _, field in ipairs { "advantage", "loss" } do
    local given = spec[field]
    if type(given) == "string" then
      local part = whole(given, folder)
      out[field], out.name = part[field], out.name == "custom" and given or out.name .. "+" .. given
      if field == "loss" then out.prepare, out.supervised = part.prepare, part.supervised
      else out.value_loss = part.value_loss end
      merge(out.defaults, part.defaults)
      add_needs(out.needs, part.needs)
    elseif given ~= nil then
      out[field] = given
    end
  end
  merge(out.defaults, spec.defaults)
  add_needs(out.needs, spec.needs)
  return checked(out, out.name)
end

--- spec: "gspo", "my_algorithm.lua" (looked for as a recipe's paths are) or a table -> the
--- algorithm.
function algorithm.load(spec, folder)
  if type(spec) == "string" then return whole(spec, folder) end
  return composed(spec, folder)
end

-- What a run can give an algorithm that asks for it.
local given = { "greedy", "logp", "named", "prefix", "ref_logp", "score", "teacher", "value" }

--- What the algorithm and the config ask of a run: { ref_logp, value, greedy, ... = true }.
--- Refuses needs that no run meets.
function algorithm.asks(cfg)
  local asked = { ref_logp = cfg.loss.use_kl_loss or cfg.loss.use_kl_in_reward }
  local known = {}
  for _, name in ipairs(given) do known[name] = true end
  for _, need in ipairs(cfg.algorithm.needs or {}) do
    if not known[need] then
      rl.raise("algorithm %s: asks for '%s', which a training run does not give (it gives %s)",
        cfg.algorithm.name, need, table.concat(given, ", "))
    end
    asked[need] = true
  end
  return asked
end

return algorithm
