--- Where a run's folder is, and what its config.json says.
local ffi = require "ffi"
local C = require("rllava.ffi").C
local files = require "rllava.files"
local json = require "rllava.json"
local key_value = require "rllava.key_value"

local run_folder = {}

--- trainer.outputs_dir; with a project or a name <outputs_dir>/<project>/<name>, unless outputs_dir
--- holds a run itself; without outputs_dir a new outputs/<project>/<name>-<time>.  ending: of the
--- name, beside training ("-eval").
function run_folder.of(cfg, ending)
  local t = cfg.trainer
  local name = (t.experiment_name or cfg.recipe and cfg.recipe.name or "run") .. (ending or "")
  if t.outputs_dir then
    local itself = not (t.project_name or t.experiment_name)
      or files.kind(files.join(t.outputs_dir, "metrics.jsonl"))
    return itself and t.outputs_dir or files.join(t.outputs_dir, t.project_name or "", name)
  end
  local stem = files.join("outputs", t.project_name or "", name .. os.date "-%Y%m%d-%H%M%S")
  local folder, n = stem, 1
  while files.kind(folder) do
    n = n + 1
    folder = stem .. "-" .. n
  end
  return folder
end

--- Keeps a folder, which is made where it is not there, for this process -> release().  Refuses
--- where another process runs in it.
function run_folder.hold(folder)
  files.make_folder(folder)
  local lock = C.rl_file_lock(files.join(folder, "lock"))
  if lock == -1 then
    local why = ffi.string(C.rl_error())
    error(("%s: another run is going on in this folder (%s); trainer.outputs_dir names another")
      :format(folder, why:match "held by .*$" or why), 0)
  end
  return function()
    if lock then C.rl_file_unlock(lock) end
    lock = nil
  end
end

--- cfg without functions: they are named by where they stand.
local function plain(v)
  if type(v) == "function" then return key_value.show(v) end
  if type(v) ~= "table" or v == json.null or json.is_number(v) then return v end
  local out = {}
  for k, e in pairs(v) do out[k] = plain(e) end
  return next(out) == nil and json.array(out) or out
end

--- Values that are other than when the run was begun, as texts; the recipe's notes left out.
local function differences(old, new, prefix, out)
  for _, k in ipairs(key_value.sorted_keys(new)) do
    local a, b, path = old[k], new[k], prefix .. tostring(k)
    if type(a) == "table" and type(b) == "table" then differences(a, b, path .. ".", out)
    elseif a ~= b and prefix .. k ~= "recipe" then
      out[#out + 1] = ("%s %s -> %s"):format(path, key_value.show(a), key_value.show(b))
    end
  end
  return out
end

--- Writes cfg as it was resolved; says what is other than before where the run goes on.
function run_folder.write_config(self, cfg)
  local path, text = files.join(self.folder, "config.json"), json.encode(plain(cfg))
  if self.continued and files.kind(path) then
    local old, new = json.decode(files.read(path), path), json.decode(text)
    old.recipe, new.recipe = nil, nil
    local changed = differences(old, new, "", {})
    if #changed > 0 then
      self.log:line("other values than before: " .. table.concat(changed, ", "))
    end
  end
  files.write(path, text)
end

return run_folder
