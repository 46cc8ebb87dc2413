--- Recipes: a table of keys, marked as one, with all that its paths and names stand for.
---
---   return rl.recipe { model = "tiny-vl", algorithm = "grpo", ... }        in a recipe's file
---   local cfg = recipe.load("recipes/grpo_geoqa.lua", { "rollout.n=16" })
---
---   cfg holds every key by its canonical path (cfg.rollout.n), and
---   cfg.algorithm = { name, defaults, needs, advantage, loss }    its defaults are in cfg.loss
---   cfg.recipe    = { path, folder, name, set }                   set: path of a key -> who set it
local embedded = require "rllava.embedded"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local keys = require "rllava.keys"
local algorithm = require "rllava.algorithm"

local recipe = {}
local Recipe = {}

--- Marks t as a recipe; refuses unknown keys and wrong types at the line of the call.
setmetatable(recipe, { __call = function(_, t)
  if type(t) ~= "table" then rl.raise("recipe: expected a table of keys, got %s", tostring(t)) end
  keys.collect(t)
  return setmetatable(t, Recipe)
end })

function recipe.is(x) return type(x) == "table" and getmetatable(x) == Recipe end

local house = "house:"

--- Where a path of a recipe is: beside the recipe, one folder above it, in the current folder, in
--- the house ("house:rewards/math.lua").  nil where it is nowhere.
function recipe.find(path, folder)
  if path:sub(1, 1) == "/" then return files.kind(path) and path end
  if path:sub(1, #house) == house then return embedded.read(path:sub(#house + 1)) and path end
  for _, f in ipairs { folder or ".", files.join(folder or ".", ".."), "." } do
    local at = files.join(f, path)
    if files.kind(at) then return (at:gsub("^%./", "")) end
  end
  local prompt = path:gsub("^.*examples/format_prompt/", "prompts/")      -- where RLLaVA has them
  for _, at in ipairs { path, "recipes/" .. path, "rewards/" .. path, "recipes/" .. prompt } do
    if embedded.read(at) then return house .. at end
  end
end

--- The text at a place that recipe.find gave.
function recipe.text(place)
  if place:sub(1, #house) == house then return embedded.read(place:sub(#house + 1)) end
  return files.read(place)
end

--- The text of a file that a recipe names, and where it was; refuses where it is nowhere.
function recipe.read(path, folder)
  local place = recipe.find(path, folder)
  if not place then
    rl.raise("%s: expected beside the recipe (%s), one folder above, in the current folder or "
      .. "in the house, found nothing", path, folder or ".")
  end
  return recipe.text(place), place
end

local function compile(place)
  local chunk, message = loadstring((recipe.text(place):gsub("^#[^\n]*", "")), "@" .. place)
  if not chunk then error(message, 0) end
  return chunk, place
end

--- A Lua file that a recipe names, as a function, and where it was.
function recipe.chunk(path, folder)
  local _, place = recipe.read(path, folder)
  return compile(place)
end

--- A Lua file named on the command line, as a function: a path, or a file of the house.
function recipe.program(path)
  local place = files.kind(path) and path or embedded.read(path) and house .. path
  if not place then error(path .. ": expected a Lua file, found nothing", 0) end
  return compile(place)
end

--- Runs a recipe's file -> its table.
function recipe.open(path)
  local t = recipe.program(path)()
  if not recipe.is(t) then
    rl.raise("%s: expected a file that returns rl.recipe { ... }, got %s", path, type(t))
  end
  return t
end

--- The parts of a name that outputs are called by: "recipes/grpo_geoqa.lua" -> "grpo_geoqa".
local function name_of(path) return (files.name(path):gsub("%.lua$", "")) end

local function check_logger(cfg)
  local known = { console = true, tensorboard = true, none = true }
  for _, name in ipairs(cfg.trainer.logger) do
    if not known[name] then
      error(("trainer.logger: expected console, tensorboard or none, got %s; metrics.jsonl holds "
        .. "every number for other tools"):format(name), 0)
    end
  end
end

local function check_betas(b, key)
  if #b ~= 2 or b[1] < 0 or b[1] >= 1 or b[2] < 0 or b[2] >= 1 then
    error(key .. ": expected two numbers from 0, below 1", 0)
  end
end

--- t: a recipe; path: its file; overrides: list of "key=value" -> cfg.
function recipe.resolve(t, path, overrides)
  local folder = files.folder(path)
  local settings = keys.collect(t, overrides, path)
  local spec = settings.algorithm and settings.algorithm.value
  local loaded = algorithm.load(spec or keys.default "algorithm", folder)
  local cfg, set = keys.finish(settings, loaded.defaults, path)
  cfg.algorithm = loaded
  cfg.loss.norm_len = cfg.loss.norm_len or cfg.rollout.max_new_tokens
  cfg.recipe = { path = path, folder = folder, name = name_of(path), set = set,
    overrides = overrides or {} }
  check_logger(cfg)
  check_betas(cfg.optim.betas, "optim.betas")
  check_betas(cfg.critic.betas, "critic.betas")
  return cfg
end

function recipe.load(path, overrides) return recipe.resolve(recipe.open(path), path, overrides) end

return recipe
