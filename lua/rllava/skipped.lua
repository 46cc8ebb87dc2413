--- Updates that were left out for their gradient: written down whole, opened again by `rllava
--- replay`.
---
---   RUN/skipped/step_12_1/   the policy's weights before it (a Hugging Face folder, f32), and
---   minibatch.bin            rllava.pack: step, norm, and groups of row, ids and lists by token
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local pack = require "rllava.pack"
local model_file = require "rllava.model_file"
local forest = require "rllava.forest"
local C = rl.C

local skipped = {}

local function list_of(ints, n)
  local out = {}
  for i = 1, n do out[i] = ints[i - 1] end
  return out
end

local function plain(r)
  local mask = r.mask and list_of(r.mask, r.n)
  return { ids = list_of(r.ids, r.n), mask = mask, tokens = r.tokens, text = r.text,
    sample = r.sample, overall = r.result and r.result.overall }
end

--- Writes a mini-batch and the weights that it met; folder: of the run -> where.
function skipped.save(folder, policy, groups, about)
  local list = {}
  for i, g in ipairs(groups) do
    list[i] = { index = g.index, number = g.number, responses = {} }
    for k, r in ipairs(g.responses) do list[i].responses[k] = plain(r) end
  end
  local name = ("step_%d_%d"):format(about.step, about.update)
  local path = files.join(folder, "skipped", name)
  files.make_folder(path)
  model_file.save(path, policy, "f32")
  files.write(files.join(path, "minibatch.bin"), pack.encode { step = about.step,
    update = about.update, updates = about.updates, norm = about.norm, groups = list })
  return path
end

local function response(saved)
  local n = #saved.ids
  local r = { ids = ffi.new("int[?]", math.max(1, n), saved.ids), n = n, tokens = saved.tokens,
    text = saved.text, sample = saved.sample, result = { overall = saved.overall } }
  if saved.mask then r.mask = ffi.new("unsigned char[?]", math.max(1, n), saved.mask) end
  return r
end

--- A mini-batch as it was: trainer gives data and prompts -> groups, what was noted of it.
function skipped.load(path, trainer)
  local file = files.join(path, "minibatch.bin")
  if files.kind(file) ~= "file" then
    error(("replay: %s: expected RUN/skipped/step_..., with a minibatch.bin"):format(path), 0)
  end
  local saved, groups = pack.decode(files.read(file)), {}
  for i, g in ipairs(saved.groups) do
    local row = trainer.data:get(g.index)
    groups[i] = { row = row, index = g.index, number = g.number, responses = {},
      prompt = require("rllava.prompt").of_row(trainer.policy, row, trainer.prompt_options) }
    for k, r in ipairs(g.responses) do groups[i].responses[k] = response(r) end
  end
  return groups, saved
end

--- The recipe of a run's folder, with what was overridden when it was begun.
local function recipe_of(folder, path, overrides)
  local file = files.join(folder, "config.json")
  if files.kind(file) ~= "file" then
    error(("replay: %s: expected a run's folder, with a config.json"):format(folder), 0)
  end
  local noted, all = require("rllava.json").decode(files.read(file), file).recipe, {}
  for i, o in ipairs(noted.overrides) do all[i] = o end
  for _, o in ipairs(overrides) do all[#all + 1] = o end
  all[#all + 1], all[#all + 2] = "model=" .. path, "init_seed=null"
  return require("rllava.recipe").load(noted.path, all)
end

--- Parameters by the norm of their gradient, those that are not finite first -> { { name, norm } }.
local function by_gradient(policy)
  local list = {}
  for i, name in ipairs(policy.model.names) do
    local norm = math.sqrt(C.rl_param_grad_squares(policy.model.params[name].tensor))
    list[i] = { name, norm, norm == norm and norm or math.huge }
  end
  table.sort(list, function(a, b)
    if a[3] ~= b[3] then return a[3] > b[3] end
    return a[1] < b[1]
  end)
  return list
end

--- Computes the loss and the gradient of a mini-batch that was left out, and prints both: what each
--- response brings, the metrics, the parameters of the largest gradients.  overrides: "key=value".
function skipped.replay(path, overrides)
  local folder = files.folder(files.folder((path:gsub("/+$", ""))))
  local trainer = require("rllava.setup").open(recipe_of(folder, path, overrides), "replay")
  local groups, saved = skipped.load(path, trainer)
  trainer.updater.updates = saved.updates
  print(("step %d, update %d: %d groups, left out for a gradient of norm %g"):format(saved.step,
    saved.update, #groups, saved.norm))
  for i, g in ipairs(groups) do
    for k, r in ipairs(g.responses) do
      local a = r.tokens.advantage and r.tokens.advantage[1]
      print(("group %d, response %d: %d trained tokens, reward %s, advantage %s"):format(i, k,
        forest.count(r), tostring(r.result.overall), tostring(a)))
    end
  end
  local metrics = trainer.updater:accumulate(groups, trainer.algorithm, trainer.cfg.loss)
  for name, v in require("rllava").sorted(metrics) do print(("%-24s %.9g"):format(name, v)) end
  print(("%-24s %.9g"):format("grad_norm", trainer.policy:grad_norm()))
  local list = by_gradient(trainer.policy)
  for i = 1, math.min(8, #list) do print(("%-56s %.6g"):format(list[i][1], list[i][2])) end
  return metrics
end

return skipped
