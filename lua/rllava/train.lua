--- Training: the loop of every recipe in four movements - sampling, scoring, advantage, update.
---
---   train.run(cfg)          cfg as rllava.recipe resolves it
---   train.open(cfg)         the same without starting: trainer:step(n) runs one step by hand
---   train.open(cfg, "eval") only what validation needs
local rl = require "rllava.ffi"
local C = rl.C
local advantage = require "rllava.advantage"
local Batch = require "rllava.batch"
local dist = require "rllava.dist"
local feed = require "rllava.feed"
local guide = require "rllava.guide"
local metrics = require "rllava.metrics"
local mismatch = require "rllava.mismatch"
local progress = require "rllava.progress"
local setup = require "rllava.setup"
local skipped = require "rllava.skipped"
local stopwatch = require "rllava.stopwatch"
local validate = require "rllava.validate"

local Trainer = {}
Trainer.__index = Trainer

--- Everything a run needs, opened from its config; purpose: as setup.open takes it.
function Trainer.open(cfg, purpose)
  local self = setmetatable(setup.open(cfg, purpose), Trainer)
  if purpose == "eval" then return self end
  self.step_done, self.clock = 0, stopwatch.new()
  self.feed = feed.new(self)
  self.last = cfg.trainer.max_steps
    or math.floor(self.data.n * cfg.trainer.total_epochs / cfg.data.prompts_per_step)
  return self
end

--- ---- the four movements ----

--- One step -> its metrics, its batch.
function Trainer:step(step)
  self.clock:start()
  local batch, found = self:enough(step), {}          -- groups of n responses, scored
  self:advantages(batch)                              -- [tokens]
  self.clock:lap "adv"
  if self.critic then
    found = self.critic:update(batch, step, self.last)
    self.clock:lap "update_critic"
  end
  if step >= self.cfg.trainer.critic_warmup then
    self:update(batch, step, found)                   -- logp, loss, backward, AdamW
    self.clock:lap "update_actor"
  end
  if self.reference then self.reference:follow(self.policy, step, self.cfg.loss) end
  local told = metrics.of_batch(batch, self.clock, self.cfg.data.max_prompt_length)
  for name, value in pairs(told) do found[name] = value end
  self.rollout:into(found)
  self.step_done = step
  self.feed:release()
  return found, batch
end

--- Samples and scores until enough groups are there: with loss.online_filtering, groups that are
--- worth it.  arXiv:2503.14476, section 3.2
function Trainer:enough(step)
  local want, cfg, groups = self.cfg.data.prompts_per_step, self.cfg.loss, {}
  for round = 1, math.huge do
    local batch = self:sample(want, step)
    self.clock:lap "gen"
    self:score(batch)
    self.clock:lap "reward"
    if not cfg.online_filtering then return batch end
    for _, g in ipairs(batch:worth(cfg)) do
      if #groups < want then groups[#groups + 1] = g end
    end
    if #groups == want then break end
    if cfg.filter_rounds > 0 and round >= cfg.filter_rounds then
      rl.raise("loss.online_filtering: expected %d groups that filter_%s keeps by %s, in %d "
        .. "rounds, got %d", want, cfg.filter_mode, cfg.filter_key, round, #groups)
    end
  end
  local batch = Batch.new(groups)
  batch:score()
  return batch
end

--- Asks for the responses of group i of count -> of[request]: whose they are, where they go, how
--- they are completed.
function Trainer:ask(g, i, count, step, of)
  local function submit(prompt, how, joined, to)
    of[self.rollout:submit(prompt, how)] = { g = g, to = to or g.responses, joined = joined }
  end
  g.responses = {}
  guide.ask(self, g, i, count, step, submit)
  if self.needs.greedy then
    local how = self:how(g)
    how.n, how.temperature, g.greedy = 1, 0, {}
    submit(g.prompt, how, nil, g.greedy)
  end
end

--- Sampling: n responses to each of the next count prompts.  Rewards are handed out as responses
--- come, so they are computed beside generation.
function Trainer:sample(count, step)
  if self.algorithm.supervised then return Batch.new(self.feed:demonstrations(count)) end
  local groups, of = self.feed:groups(count), {}
  for i, g in ipairs(groups) do self:ask(g, i, count, step or 1, of) end
  self.rollout:drain(function(r)
    local asked = of[r.request]
    if asked.joined then asked.joined(r) end
    table.insert(asked.to, r)
    self:hand_out(r, asked.g.row)
  end)
  for _, g in ipairs(groups) do
    table.sort(g.responses, function(a, b) return a.sample < b.sample end)
  end
  return Batch.new(groups)
end

--- How a group's responses are drawn: keyed by the run's seed and the prompt's number.
function Trainer:how(group)
  local r = self.cfg.rollout
  return { n = r.n, temperature = r.temperature, top_p = r.top_p, top_k = r.top_k,
    min_p = r.min_p, max_new = r.max_new_tokens, stop = r.stop, seed = self.seed,
    stream = group.number }
end

--- Gives a response to the rewards' workers; lot: what a batch reward sees at once.
function Trainer:hand_out(r, row, lot)
  if self.rewards then self.rewards:submit(r, r.text, row.answer, row, lot) end
end

--- Scoring: waits for what has not come back yet -> scores [responses].
function Trainer:score(batch)
  if self.algorithm.supervised then return end
  self:collect(batch)
  local cfg = self.cfg.loss
  if cfg.unify_strategy == "switch" then
    batch.switched = guide.switch(self, batch) / #batch.groups
    self:collect(batch)
  end
  if self.recall then
    batch.recalled = self.recall:into(batch.groups)
    batch:score()
  end
  if cfg.overlong_buffer > 0 then
    batch:punish_length(self.cfg.rollout.max_new_tokens, cfg.overlong_buffer, cfg.overlong_factor)
  end
  if cfg.mask_truncated then batch:mask_truncated() end
end

function Trainer:collect(batch)
  if not self.rewards then rl.raise "reward: expected one in the recipe, found none" end
  for r, result in pairs(self.rewards:finish()) do r.result = result end
  batch:score(self.cfg.reward_options.on_error)
end

--- Old log-probs by the trainer where they are asked for; the sampler's stay as rollout_logp.
function Trainer:old_logp(batch)
  local cfg = self.cfg.loss
  if self.needs.prefix then guide.complete(self, batch) end
  if cfg.recompute_old_logp or cfg.rollout_is ~= "none" or cfg.tis_imp_ratio_cap > 0 then
    batch:assign("rollout_logp", batch:lists "old_logp")
    batch:assign("old_logp", self.updater:values(batch.groups, "logp"))
    self.clock:lap "old_log_prob"
  end
end

--- What the algorithm asks for beside log-probs and rewards.
function Trainer:inform(batch)
  if self.reference then self.reference:logp(batch.groups, "ref_logp") end
  if self.teacher then self.teacher:logp(batch.groups, "teacher_logp") end
  if self.reference or self.teacher then self.clock:lap "ref" end
  if self.needs.score then batch:assign("score", advantage.spread(batch, batch.scores)) end
  if self.needs.named then batch:name_parts(self.cfg.loss.part_weights) end
  if self.critic then
    self.critic:value(batch)
    self.clock:lap "values"
  end
end

--- Advantages by the algorithm [tokens], after the KL penalty where it is part of the reward.
function Trainer:advantages(batch)
  if self.algorithm.supervised then return end
  self:old_logp(batch)
  self:inform(batch)
  local cfg = self.cfg.loss
  if cfg.use_kl_in_reward then
    batch:penalise_kl(cfg.kl_penalty, self.kl_controller, self.ranks)
  end
  batch.advantage, batch.returns = dist.advantage(self.ranks, self.algorithm, batch, cfg)
  advantage.expect_finite(self.algorithm.name, batch.advantage)
  batch:assign("advantage", batch.advantage)
  if batch.returns then batch:assign("returns", batch.returns) end
end

--- Optimizer steps on the batch's groups, in order; the engine waits meanwhile.  Adds to found.
function Trainer:update(batch, step, found)
  local cfg, lr = self.cfg.trainer, self.schedule(step, self.last)
  local parts, updater, gap = batch:parts(cfg.updates_per_step), self.updater, mismatch.new()
  self.rollout:update(function()
    updater.gap = gap                                 -- before the weights move
    for _ = 1, cfg.ppo_epochs do
      for _, part in ipairs(parts) do
        local m = updater:step(part, self.algorithm, self.cfg.loss, lr)
        updater.gap = nil
        for name, value in pairs(m) do
          local key = "actor/" .. name
          found[key] = (found[key] or 0) + value / (#parts * cfg.ppo_epochs)
        end
      end
    end
  end)
  gap:into(found, self.ranks)
  found["actor/skipped"] = updater.skipped
end

--- ---- a whole run ----

--- Validates, logs -> does training go on?
function Trainer:validate(step)
  self.clock:start()
  local found, shown = validate.all(self)
  if not found then return true end
  self.clock:lap "validation"
  return self.run:validated(step, found, shown, self.clock)
end

--- What follows a step: its line and samples, validation, a checkpoint -> does training go on?  Not
--- after Ctrl-C, which leaves a checkpoint of the step that was running.
function Trainer:after(step, found, batch)
  local cfg, last, go_on = self.cfg.trainer, self.last, C.rl_interrupted() == 0
  local function due(freq) return go_on and (step == last or freq > 0 and step % freq == 0) end
  self.run:trained(step, found, batch)
  if due(cfg.val_freq) then go_on = self:validate(step) end
  if due(cfg.save_freq) or not go_on then
    self.run:save(step, self.policy, self.updater, progress.state(self), progress.beside(self))
  end
  return go_on
end

--- Writes down an update that was left out, but for those beyond trainer.keep_skipped.
function Trainer:on_skip(groups, norm)
  local updater = self.updater
  local count = updater.skipped
  if count > self.cfg.trainer.keep_skipped then return end
  local path = skipped.save(self.run.folder, self.policy, groups, { step = self.step_done + 1,
    update = count, updates = updater.updates - 1, norm = norm })
  self.run.log:warn(("an update was left out: its gradient has the norm %g; "
    .. "rllava replay %s"):format(norm, path))
end

--- All steps up to the last.
function Trainer:train()
  local cfg = self.cfg.trainer
  self.run = require("rllava.run").open(self.cfg, self)
  if self.plan.chosen then self.run.log:line("chosen by the plan: " .. self.plan.chosen) end
  self.updater.on_skip = function(groups, norm) self:on_skip(groups, norm) end
  local state = self.run:resume(self.policy, self.updater, progress.beside(self))
  if state then progress.take_up(self, state) end
  if cfg.val_before_train and self.step_done == 0 then self:validate(0) end
  if cfg.val_only then return self.run:close() end
  for step = self.step_done + 1, self.last do
    local found, batch = self:step(step)
    if not self:after(step, found, batch) then break end
  end
  self.run:close()
end

function Trainer:close()
  if self.run then self.run.release() end
  require("rllava.plan").done()
  self.rollout:close()
  if self.rewards then self.rewards:close() end
end

local train = { open = Trainer.open }

--- Runs a recipe to its end -> exit status: 0, or 130 where Ctrl-C (or SIGTERM) ended it after a
--- step.
function train.run(cfg)
  local trainer = Trainer.open(cfg)
  C.rl_interrupt_catch(1)
  local ok, message = pcall(trainer.train, trainer)
  local stopped = C.rl_interrupted() == 1
  C.rl_interrupt_catch(0)
  trainer:close()
  if not ok then error(message, 0) end
  return stopped and 130 or 0
end

return train
