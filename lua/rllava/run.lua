--- A run's folder: what was asked (config.json), what came out (metrics.jsonl, rollouts.jsonl,
--- TensorBoard, log.txt) and the checkpoints to go on from.
---
---   local run = Run.open(cfg, trainer)
---   local state = run:resume(policy, optimizer)     -- of the newest whole checkpoint, or nil
---   run:trained(step, metrics, batch);  run:validated(step, metrics, batch)
---   run:save(step, policy, optimizer, { consumed = 1280 })
---   run:close()
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local log = require "rllava.log"
local events = require "rllava.events"
local warnings = require "rllava.warnings"
local checkpoint = require "rllava.checkpoint"
local key_value = require "rllava.key_value"
local records = require "rllava.records"
local run_folder = require "rllava.run_folder"
local C = rl.C

local Run = {}
Run.__index = Run

local function has(list, name)
  for _, v in ipairs(list) do if v == name then return true end end
  return false
end

--- Opens the run's folder, new or to go on in, for this process alone.  trainer (or nil): what
--- runs; its last step is .last, and failures of its .rewards are written down.
function Run.open(cfg, trainer)
  local folder = run_folder.of(cfg)
  local self = setmetatable({ folder = folder, cfg = cfg, trainer = trainer or {}, scores = {},
    since_best = 0 }, Run)
  self.continued = files.kind(files.join(folder, "metrics.jsonl")) ~= nil
  if self.continued and not cfg.trainer.resume then
    error(folder .. ": holds a run already; trainer.resume=true goes on with it, another "
      .. "trainer.outputs_dir starts anew", 0)
  end
  self.release = run_folder.hold(folder)
  files.make_folder(files.join(folder, "checkpoints"))
  self.log = log.open(files.join(folder, "log.txt"), not has(cfg.trainer.logger, "console"))
  self.warnings = warnings.new()
  self:tidy()
  run_folder.write_config(self, cfg)
  self.metrics_file = records.open(files.join(folder, "metrics.jsonl"))
  self.rollouts_file = records.open(files.join(folder, "rollouts.jsonl"))
  if has(cfg.trainer.logger, "tensorboard") then
    files.make_folder(files.join(folder, "tensorboard"))
    self.events = events.open(files.join(folder, "tensorboard"))
  end
  return self
end

--- Removes what an interrupted run left half-written.
function Run:tidy()
  local place = files.join(self.folder, "checkpoints")
  for _, name in ipairs(files.list(place)) do
    if name:find "%.tmp$" then
      self.log:line(("checkpoints/%s was not finished; removed"):format(name))
      files.remove(files.join(place, name))
    end
  end
end

--- Checkpoints there are: list of { step, path }, oldest first.
function Run:checkpoints()
  local place, list = files.join(self.folder, "checkpoints"), {}
  for _, name in ipairs(files.list(place)) do
    local step = name:match "^global_step_(%d+)$"
    if step then list[#list + 1] = { step = tonumber(step), path = files.join(place, name) } end
  end
  table.sort(list, function(a, b) return a.step < b.step end)
  return list
end

--- The newest whole checkpoint: step, path, or nil; says which it leaves out and why.  What an
--- earlier run wrote beyond it is set aside.
function Run:latest()
  local list = self:checkpoints()
  for i = #list, 1, -1 do
    local whole, why = checkpoint.verify(list[i].path)
    if whole and files.kind(files.join(list[i].path, "state.zst")) then
      return list[i].step, list[i].path
    end
    self.log:warn(("%s is left out: %s"):format(list[i].path, why or "a model without a state"))
  end
  if self.continued then
    self.log:line "no whole checkpoint to go on from: starting over; earlier records are *.old"
    self.metrics_file:set_aside()
    self.rollouts_file:set_aside()
    if self.events then self.events:restart(0) end
    self.continued = false
  end
end

--- Brings policy and optimizer to a checkpoint -> its state.  Records after it, which the steps to
--- come will write again, are dropped.
function Run:restore(path, policy, optimizer, beside)
  local state = checkpoint.restore(path, policy, optimizer, beside)
  local _, step = checkpoint.verify(path)
  self.metrics_file:rewind(step)
  self.rollouts_file:rewind(step)
  if self.events then self.events:restart(step + 1) end
  for _, record in ipairs(self.metrics_file:all()) do
    if record["val/reward_score"] then self:note_score(record.step, record["val/reward_score"]) end
    self:remember(record.step, record)
  end
  self.resumed = step                                   -- the engine counts versions from 0 again
  self.log:line(("going on after step %d, from %s"):format(step, path))
  return state
end

--- Brings policy and optimizer to the newest whole checkpoint of the folder, or to
--- trainer.load_checkpoint_path -> its state; nil for a run that begins.
function Run:resume(policy, optimizer, beside)
  local _, path = self:latest()
  path = path or self.cfg.trainer.load_checkpoint_path
  return path and self:restore(path, policy, optimizer, beside)
end

function Run:note_score(step, score)
  if self.scores[step] == nil then
    if not self.best or score > self.best.score then
      self.best, self.since_best = { step = step, score = score }, 0
    else
      self.since_best = self.since_best + 1
    end
  end
  self.scores[step] = score
end

--- First and last values, for the table at the end.
function Run:remember(step, metrics)
  self.first, self.last = self.first or {}, self.last or {}
  for name, v in pairs(metrics) do
    if type(v) == "number" and name ~= "step" then
      self.first[name] = self.first[name] or { step, v }
      self.last[name] = { step, v }
    end
  end
end

local function time_left(self, step, metrics)
  if not self.trainer.last then return nil end
  local took = metrics["timing_s/step"]
  if not took then return nil end
  self.pace = self.pace and 0.8 * self.pace + 0.2 * took or took
  return self.pace * (self.trainer.last - step)
end

local function named(metrics, kind)
  if kind ~= "val" then return metrics end
  local out = {}
  for k, v in pairs(metrics) do
    out[(k:find "^val" or k:find "^timing") and k or "val/" .. k] = v
  end
  return out
end

--- A step's numbers by name; kind "train", or "val", which puts val/ before the names.
function Run:metrics(step, metrics, kind)
  metrics = named(metrics, kind)
  local members = { { "step", step } }
  for _, name in ipairs(key_value.sorted_keys(metrics)) do
    members[#members + 1] = { name, metrics[name] }
    if self.events and type(metrics[name]) == "number" then
      self.events:scalar(name, metrics[name], step)
    end
  end
  self.metrics_file:write(json.object(members))
  if self.events then self.events:flush() end
  self:remember(step, metrics)
  if kind == "val" then
    self.log:line(log.val_text(step, metrics))
    if metrics["val/reward_score"] then self:note_score(step, metrics["val/reward_score"]) end
    return
  end
  self.log:step(log.step_text(step, self.trainer.last, metrics, time_left(self, step, metrics)))
  for _, text in ipairs(self.warnings:step(metrics, self.cfg)) do self.log:warn(text) end
end

--- A step's samples: list of { index, sample, prompt, text, tokens (list, or int * with n), answer,
--- result = { overall, parts, remark } or { error }, advantage, version, finish }.  kind "val": the
--- first trainer.show_samples of them are printed.
function Run:samples(step, list, kind)
  for _, s in ipairs(list) do self.rollouts_file:write(records.sample(step, s, kind)) end
  self.last_samples = #list > 0 and step or self.last_samples
  if kind ~= "val" then return end
  for i = 1, math.min(#list, self.cfg.trainer.show_samples) do
    local text = log.sample_text(list[i])
    self.log:line(("sample %d of step %d\n%s"):format(i, step, text))
    if self.events then self.events:text("val/sample_" .. i, "```\n" .. text .. "\n```", step) end
  end
end

--- Writes down the calls of rewards that failed since the last time; the first of each kind is
--- shown.
function Run:failures(step, kind)
  local rewards, list = self.trainer.rewards, {}
  self.errors = self.errors or {}
  for i, f in ipairs(rewards and rewards:take_failures() or {}) do
    list[i] = records.of_response({ row = f.row }, f.id)
    list[i].result = { error = f.error }
    local what = f.error:gsub("%d+", "#")
    if not self.errors[what] then
      self.errors[what] = true
      self.log:warn("reward: " .. f.error)
    end
  end
  self:samples(step, list, kind == "val" and "val failed" or "train failed")
end

function Run:batch(step, batch, kind)
  local list = {}
  for _, g in ipairs(batch and batch.groups or {}) do
    for _, r in ipairs(g.responses) do
      list[#list + 1] = records.of_response(g, r)
      list[#list].version = r.version and r.version + (self.resumed or 0)
    end
  end
  self:samples(step, list, kind)
  self:failures(step, kind)
end

--- A training step: its metrics and its batch.
function Run:trained(step, metrics, batch)
  metrics["timing_s/save_checkpoint"], self.save_seconds = self.save_seconds, nil
  self:batch(step, batch, "train")
  self:metrics(step, metrics, "train")
end

--- A validation -> does training go on?  Not after trainer.early_stop of them in a row without a
--- better score.  clock (or nil): a stopwatch that measured it.
function Run:validated(step, metrics, batch, clock)
  if clock then metrics["timing_s/validation"] = clock:total() end
  self:metrics(step, metrics, "val")
  self:batch(step, batch, "val")
  local limit = self.cfg.trainer.early_stop
  if limit == 0 or self.since_best < limit then return true end
  self.log:line(("stopped: %d validations without more than the %.4g of step %d"):format(
    self.since_best, self.best.score, self.best.step))
  return false
end

--- Removes checkpoints beyond the newest trainer.save_limit, but for the best.
function Run:prune()
  local limit, list = self.cfg.trainer.save_limit, self:checkpoints()
  if limit < 1 then return end
  local best
  for _, c in ipairs(list) do
    local score = self.cfg.trainer.save_best and self.scores[c.step]
    if score and (not best or score >= self.scores[best]) then best = c.step end
  end
  for i = 1, #list - limit do
    if list[i].step ~= best then files.remove(list[i].path) end
  end
end

--- Writes the checkpoint of a step: a Hugging Face folder and, but for trainer.save_model_only, the
--- state and the models beside the policy (see checkpoint.save) -> its folder.
function Run:save(step, policy, optimizer, state, beside)
  local path, t = files.join(self.folder, "checkpoints", "global_step_" .. step), self.cfg.trainer
  local from = C.rl_clock()
  checkpoint.save(path, policy, optimizer, state, { step = step, dtype = t.save_dtype,
    model_only = t.save_model_only, beside = beside })
  self:prune()
  self.save_seconds = C.rl_clock() - from               -- in the record of the next step
  self.log:line(("saved %s in %.1f s"):format(path, self.save_seconds))
  return path
end

--- Ends the run: the table of its start and its end, where everything is and how to look at it.
function Run:close(summary)
  for _, text in ipairs(log.summary(self, summary)) do self.log:line(text) end
  self.metrics_file:close()
  self.rollouts_file:close()
  if self.events then self.events:close() end
  self.log:close()
  self.release()
end

return Run
