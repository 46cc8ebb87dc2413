--- A critic: the same model with one number a token for its head, trained to foretell returns.
local policy = require "rllava.policy"
local loss = require "rllava.loss"
local Updater = require "rllava.update"

local Critic = {}
Critic.__index = Critic

local agg_modes = { token = "token-mean", seq = "seq-mean-token-mean" }

--- actor: the policy that it starts from where critic.model names no other; cfg: of the run; dtype
--- as in rl_replay_new; ranks: see rllava.dist.  algorithm.value_loss(part, cfg): its loss,
--- PPO's where there is none.
function Critic.new(actor, cfg, algorithm, dtype, ranks)
  local c = cfg.critic
  local self = setmetatable({ cfg = c }, Critic)
  self.policy = c.model and policy.load(c.model, { value = true })
    or actor:critic(c.init_std, cfg.trainer.seed)
  self.policy.path = nil                              -- a checkpoint holds the critic alone
  self.updater = Updater.new(self.policy, { head = "value", optim = c, dtype = dtype,
    max_grad_norm = c.max_grad_norm, skip_grad_norm = c.skip_grad_norm, seed = cfg.trainer.seed,
    micro_tokens = cfg.trainer.micro_tokens, micro_rows = cfg.trainer.micro_rows,
    score_rows = cfg.trainer.score_rows, recompute = cfg.trainer.recompute, ranks = ranks,
    objective = function(a, part, given) return a.loss(part, given) end })
  self.schedule = require("rllava.schedule").of(c)
  self.algorithm = { loss = algorithm.value_loss or loss.value }
  self.loss_cfg = setmetatable({ cliprange_value = c.cliprange_value,
    value_agg_mode = agg_modes[c.loss_avg_mode] }, { __index = cfg.loss })
  self.updates = c.updates_per_step or cfg.trainer.updates_per_step
  return self
end

--- Lays the values of a batch's tokens beside them (old_values) and end to end (batch.values).
function Critic:value(batch)
  batch.values = self.updater:values(batch.groups, "values")
  batch:assign("old_values", batch.values)
end

--- Optimizer steps towards batch.returns -> metrics.  step of last: for the learning rate.
function Critic:update(batch, step, last)
  local lr, found, parts = self.schedule(step, last), {}, batch:parts(self.updates)
  for _ = 1, self.cfg.epochs do
    for _, part in ipairs(parts) do
      local m = self.updater:step(part, self.algorithm, self.loss_cfg, lr)
      for name, value in pairs(m) do
        local key = "critic/" .. name
        found[key] = (found[key] or 0) + value / (#parts * self.cfg.epochs)
      end
    end
  end
  found["critic/skipped"] = self.updater.skipped
  return found
end

return Critic
