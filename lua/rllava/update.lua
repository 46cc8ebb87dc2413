--- One optimizer step on a mini-batch: groups packed as forests, the tape replayed, the loss
--- recorded live, gradients added over micro-batches, clipped, AdamW.  The policy's, and the
--- critic's.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local forest = require "rllava.forest"
local Part = require "rllava.part"
local loss = require "rllava.loss"
local C, check = rl.C, rl.check

local Updater = { cut = forest.cut, pack = forest.pack, count = forest.count }
Updater.__index = Updater

--- What a replay gives of n asked tokens, in the order of responses -> { field = [tokens] }.
local heads = {}

heads["logp entropy"] = function(self, n)
  local order = tensor.from(C.rl_batch_order(self.batch), { n }, C.RL_INT)
  local function ordered(name)
    return tensor.own(C.rl_replay_output(self.replay, name)):gather(order)
  end
  return { logp = ordered "logp", entropy = ordered "entropy" }
end

--- A token's value is that of the row before it.
heads.value = function(self, n)
  local rows = tensor.from(C.rl_batch_answer(self.batch), { n }, C.RL_INT)
  local value = tensor.own(C.rl_replay_output(self.replay, "value"))
  return { values = value:gather(rows):reshape(n) }
end

--- policy: what is trained.  cfg: { optim = { betas, eps, weight_decay, decay_matrices_only },
--- max_grad_norm, skip_grad_norm, micro_tokens, micro_cells, temperature, recompute, dtype, seed,
--- head = "logp entropy" or "value", objective(algorithm, part, cfg) -> scalar, metrics }.
function Updater.new(policy, cfg)
  local self = setmetatable({ policy = policy, cfg = cfg, skipped = 0, updates = 0 }, Updater)
  local list, n = policy:tensors()
  local betas = cfg.optim.betas
  self.optimizer = ffi.gc(check(C.rl_adamw_new(list, n, betas[1], betas[2], cfg.optim.eps)),
    C.rl_adamw_free)
  self.decay = ffi.new("double[?]", n)
  for i, name in ipairs(policy.model.names) do
    local matrix = #policy.model.params[name].shape > 1
    local decays = matrix or not cfg.optim.decay_matrices_only
    self.decay[i - 1] = decays and cfg.optim.weight_decay or 0
  end
  local dtype = cfg.dtype or C.RL_FLOAT
  self.even = dtype == C.RL_HALF and 1 or 0
  self.head, self.objective = cfg.head or "logp entropy", cfg.objective or loss.total
  self.replay = ffi.gc(check(C.rl_replay_new(policy.model.tape, self.head, 1,
    cfg.recompute and 1 or 0, dtype)), C.rl_replay_free)
  self.batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  return self
end

--- What the loss of these groups sees.  mini: of the whole mini-batch, as prepared; from: its
--- tokens before these.
function Updater:part(groups, totals, mini, from)
  local lengths, lists, n = forest.lay(groups)
  for field, list in pairs(mini and mini.fields or {}) do
    local own = {}
    for i = 1, n do own[i] = list[from + i] end
    lists[field] = own
  end
  local fields = heads[self.head](self, n)
  for field, list in pairs(lists) do fields[field] = tensor.tensor(list) end
  if fields.logp and not fields.old_logp then fields.old_logp = fields.logp:detach() end
  return Part.new(lengths, fields, totals)
end

function Updater:forward(groups)
  forest.pack(self.batch, groups, self.even)
  check(C.rl_batch_bind(self.batch, self.replay, self.cfg.temperature or 1))
  check(C.rl_replay_forward(self.replay))
end

--- Token and response counts of the mini-batch, which every part's means divide by.
local function totals_of(lengths, tokens, norm_len)
  local totals = { tokens = tokens, responses = 0, norm_len = norm_len }
  for _, n in ipairs(lengths) do totals.responses = totals.responses + (n > 0 and 1 or 0) end
  return totals
end

--- The groups that have a trained token.
local function trained(groups)
  local out = {}
  for _, g in ipairs(groups) do
    for _, r in ipairs(g.responses) do
      if forest.count(r) > 0 then out[#out + 1] = g break end
    end
  end
  return out
end

--- A field of all groups by the weights as they are, without gradients -> [tokens].
function Updater:values(groups, field)
  local out = {}
  for _, micro in ipairs(forest.cut(trained(groups), self.cfg.micro_tokens, self.cfg.micro_cells)) do
    tensor.scope(function()
      self:forward(micro)
      local n = C.rl_batch_pairs(self.batch)
      local values = heads[self.head](self, n)[field]:data()
      for i = 0, n - 1 do out[#out + 1] = values[i] end
    end)
  end
  return out
end

--- What an algorithm wants to know of the whole mini-batch before its parts:
--- algorithm.prepare(mini, cfg), where mini holds lengths, tokens, step, the lists by token,
--- random() and, where it is among the needs, logp -> fields by token, further totals.
function Updater:prepare(groups, algorithm, cfg)
  local lengths, mini, tokens = forest.lay(groups)
  local totals = totals_of(lengths, tokens, cfg.norm_len)
  if not algorithm.prepare then return {}, totals end
  for _, need in ipairs(algorithm.needs or {}) do
    if need == "logp" then mini.logp = self:values(groups, "logp") end
  end
  mini.old_logp = mini.old_logp or mini.logp
  mini.lengths, mini.tokens, mini.norm_len, mini.step = lengths, tokens, cfg.norm_len, self.updates
  local drawn = 0
  function mini.random()
    drawn = drawn + 1
    return C.rl_uniform(self.cfg.seed or 0, self.updates * 2 ^ 26 + drawn)
  end
  local fields, more = algorithm.prepare(mini, cfg)
  for k, v in pairs(more or {}) do totals[k] = v end
  return { fields = fields }, totals
end

--- Forward and backward of all groups -> metrics of the mini-batch, however it is cut; none where
--- no token is trained on.
function Updater:accumulate(groups, algorithm, cfg)
  groups = trained(groups)
  local acc, from = {}, 0
  local mini, totals = self:prepare(groups, algorithm, cfg)
  for _, micro in ipairs(forest.cut(groups, self.cfg.micro_tokens, self.cfg.micro_cells)) do
    tensor.scope(function()
      self:forward(micro)
      local part = self:part(micro, totals, mini, from)
      if self.gap then self.gap:add(micro, part.logp:data()) end
      local value, found = self.objective(algorithm, part, cfg)
      part:collect(acc, found)
      if value:needs_grad() then
        value:backward()
        check(C.rl_replay_backward(self.replay))
      end
      from = from + part.tokens
    end)
  end
  self.updates = self.updates + 1
  return Part.finish(acc)
end

local function finite(x) return x == x and math.abs(x) < math.huge end

--- The step itself.  A gradient that is not finite, or longer than skip_grad_norm, is dropped and
--- counted, and self.on_skip(groups, norm) hears of it.
function Updater:step(groups, algorithm, cfg, lr)
  local metrics = self:accumulate(groups, algorithm, cfg)
  local norm = self.policy:grad_norm()
  local limit, skip = self.cfg.max_grad_norm, self.cfg.skip_grad_norm or 0
  metrics.grad_norm, metrics.lr = norm, lr
  if not finite(norm) or (skip > 0 and norm > skip) then
    self.skipped = self.skipped + 1
    self.policy:zero_grad()
    if self.on_skip then self.on_skip(groups, norm) end
  else
    local scale = limit > 0 and math.min(1, limit / (norm + 1e-6)) or 1
    check(C.rl_adamw_step(self.optimizer, lr, self.decay, scale))
  end
  return metrics
end

--- What goes on after a restart, but for weights and moments.
function Updater:state() return { updates = self.updates, skipped = self.skipped } end
function Updater:take_up(state) self.updates, self.skipped = state.updates, state.skipped end

return Updater
