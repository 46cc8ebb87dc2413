--- One optimizer step on a mini-batch: groups packed as forests, the tape replayed, the loss
--- recorded live, gradients added over micro-batches, clipped, AdamW.  The policy's, and the
--- critic's.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local dist = require "rllava.dist"
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

--- Bits of a moment of AdamW by its keys.
function Updater.bits(optim) return optim.states == "int8" and 8 or 32 end

--- policy: what is trained.  cfg: { optim = { betas, eps, weight_decay, decay_matrices_only,
--- states }, max_grad_norm, skip_grad_norm, micro_tokens, micro_cells, micro_rows, score_rows (see
--- forest.cut; score_rows: without gradients), temperature, recompute, dtype, seed,
--- ranks (see rllava.dist; nil: one process), head = "logp entropy" or "value",
--- objective(algorithm, part, cfg) -> scalar, metrics }.
function Updater.new(policy, cfg)
  local self = setmetatable({ policy = policy, cfg = cfg, skipped = 0, updates = 0 }, Updater)
  self.ranks = cfg.ranks or dist.alone
  local list, n = policy:tensors()
  local betas = cfg.optim.betas
  self.optimizer = ffi.gc(check(C.rl_adamw_new(list, n, betas[1], betas[2], cfg.optim.eps,
    Updater.bits(cfg.optim))), C.rl_adamw_free)
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

--- What the loss of these groups sees.  mini: of the whole mini-batch, as prepared; mini.before:
--- its tokens before these.
function Updater:part(groups, mini)
  local lengths, lists, n = forest.lay(groups)
  for field, list in pairs(mini.fields) do
    local own = {}
    for i = 1, n do own[i] = list[mini.before + i] end
    lists[field] = own
  end
  local fields = heads[self.head](self, n)
  for field, list in pairs(lists) do fields[field] = tensor.tensor(list) end
  if fields.logp and not fields.old_logp then fields.old_logp = fields.logp:detach() end
  return Part.new(lengths, fields, mini.totals)
end

function Updater:forward(groups)
  forest.pack(self.batch, groups, self.even)
  check(C.rl_batch_bind(self.batch, self.replay, self.cfg.temperature or 1))
  check(C.rl_replay_forward(self.replay))
end

--- Groups as micro-batches.  responses: of one at most; nil: cfg.micro_rows.
function Updater:micro_batches(groups, responses)
  local cfg = self.cfg
  return forest.cut(groups, cfg.micro_tokens, cfg.micro_cells, responses or cfg.micro_rows)
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
  for _, micro in ipairs(self:micro_batches(trained(groups), self.cfg.score_rows)) do
    tensor.scope(function()
      self:forward(micro)
      local n = C.rl_batch_pairs(self.batch)
      local values = heads[self.head](self, n)[field]:data()
      for i = 0, n - 1 do out[#out + 1] = values[i] end
    end)
  end
  return out
end

--- A uniform number in [0, 1) for each token of groups, by the update, the prompt's number, the
--- sample and the place in it: neither order nor cuts change it.
local function uniform(self, groups)
  local u, seed = {}, self.cfg.seed or 0
  for i, g in ipairs(groups) do
    for k, r in ipairs(g.responses) do
      local stream = (g.number or i) * 4096 + (r.sample or k)
      local key = math.floor(C.rl_uniform(seed, 2 ^ 51 + stream) * 2 ^ 52)
      for t = 1, forest.count(r) do u[#u + 1] = C.rl_uniform(key, self.updates * 2 ^ 24 + t) end
    end
  end
  return u
end

--- What a rank knows of its groups -> { lengths, lists by token }.  An algorithm that prepares sees
--- the lists, u (see uniform) and, where it is among its needs, logp.
function Updater:known(groups, algorithm)
  local lengths, lists = forest.lay(groups)
  if not algorithm.prepare then return { lengths = lengths, lists = {} } end
  for _, need in ipairs(algorithm.needs or {}) do
    if need == "logp" then lists.logp = self:values(groups, "logp") end
  end
  lists.old_logp, lists.u = lists.old_logp or lists.logp, uniform(self, groups)
  return { lengths = lengths, lists = lists }
end

--- What the parts of a mini-batch must know of the whole of it: totals for their means and, where
--- the algorithm prepares, fields by token: algorithm.prepare(mini, cfg) -> fields, further totals,
--- of mini = { lengths, tokens, norm_len, step, the lists by token of all ranks }.
--- -> { totals, fields, before: tokens of the ranks before this one }
function Updater:prepare(groups, algorithm, cfg, ranks)
  local all, own = ranks.gather(self:known(groups, algorithm))
  local lengths, mini = dist.join(all)
  local before = dist.place(all, own)
  local totals, fields = forest.totals(lengths, cfg), {}
  if algorithm.prepare then
    mini.lengths, mini.tokens, mini.norm_len = lengths, totals.tokens, cfg.norm_len
    mini.step = self.updates
    local more
    fields, more = algorithm.prepare(mini, cfg)
    for k, v in pairs(more or {}) do totals[k] = v end
  end
  return { totals = totals, fields = fields, before = before }
end

--- Forward and backward of one micro-batch, share (or nil: 1) of the loss; its metrics go to acc.
--- mini: as prepared.  -> its tokens.
function Updater:replayed(groups, mini, algorithm, cfg, acc, share)
  return tensor.scope(function()
    self:forward(groups)
    local part = self:part(groups, mini)
    if self.gap then self.gap:add(groups, part.logp:data()) end
    local value, found = self.objective(algorithm, part, cfg)
    part:collect(acc, found)
    if value:needs_grad() then
      (share and value * share or value):backward()
      check(C.rl_replay_backward(self.replay))
    end
    return part.tokens
  end)
end

--- loss_scale "micro", as RLLaVA computes: each micro-batch has means and statistics of its own,
--- and counts by its share of the responses.
local function each_by_itself(self, parts, algorithm, cfg, acc)
  local rows, all = {}, 0
  for i, micro in ipairs(parts) do rows[i] = #forest.lay(micro) end
  for _, own in ipairs((self.ranks.gather(rows))) do
    for _, n in ipairs(own) do all = all + n end
  end
  for i, micro in ipairs(parts) do
    local share, found = rows[i] / all, {}
    local mini = self:prepare(micro, algorithm, cfg, dist.alone)
    self:replayed(micro, mini, algorithm, cfg, found, share)
    for name, value in pairs(Part.finish(found)) do
      acc[name] = acc[name] or { { sum = 0, n = 1, weight = 1 } }
      acc[name][1].sum = acc[name][1].sum + share * value
    end
  end
end

--- Forward and backward of all groups -> metrics of the mini-batch, however it is cut and divided;
--- none where no token is trained on.
function Updater:accumulate(groups, algorithm, cfg)
  groups = trained(groups)
  local acc, parts = {}, self:micro_batches(groups)
  if cfg.loss_scale == "micro" then
    each_by_itself(self, parts, algorithm, cfg, acc)
  else
    local mini = self:prepare(groups, algorithm, cfg, self.ranks)
    for _, micro in ipairs(parts) do
      mini.before = mini.before + self:replayed(micro, mini, algorithm, cfg, acc)
    end
  end
  self.updates = self.updates + 1
  return Part.finish(dist.sums(self.ranks, acc))
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
