--- One optimizer step on a mini-batch: groups packed as forests, the tape replayed, the loss recorded live, gradients
--- added over micro-batches, clipped, AdamW.
---
---   group    = { prompt = prompt, responses = { response, ... } }
---   response = { ids = int *, n, mask = bytes or nil, and lists by token: old_logp, ref_logp, advantage, ... }
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local Part = require "rllava.part"
local loss = require "rllava.loss"
local C, check = rl.C, rl.check

local Updater = {}
Updater.__index = Updater

--- cfg: { optim = { lr, betas, eps, weight_decay }, max_grad_norm, skip_grad_norm, micro_tokens, temperature }.
function Updater.new(policy, cfg)
  local self = setmetatable({ policy = policy, cfg = cfg, skipped = 0 }, Updater)
  local list, n = policy:tensors()
  local betas = cfg.optim.betas
  self.optimizer = ffi.gc(check(C.rl_adamw_new(list, n, betas[1], betas[2], cfg.optim.eps)), C.rl_adamw_free)
  self.decay = ffi.new("double[?]", n)
  for i, name in ipairs(policy.model.names) do
    local matrix = #policy.model.params[name].shape > 1
    self.decay[i - 1] = (matrix or not cfg.optim.decay_matrices_only) and cfg.optim.weight_decay or 0
  end
  self.replay = ffi.gc(check(C.rl_replay_new(policy.model.tape, "logp entropy", 1, 0, C.RL_FLOAT)), C.rl_replay_free)
  self.batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  return self
end

--- Tokens of a response that are trained on.
local function count(response)
  if not response.mask then return response.n end
  local n = 0
  for i = 0, response.n - 1 do if response.mask[i] ~= 0 then n = n + 1 end end
  return n
end

--- Rows that a group needs in a replay.
local function rows_of(group)
  local rows = group.prompt.n
  for _, r in ipairs(group.responses) do rows = rows + r.n end
  return rows
end

--- Groups in micro-batches of at most so many rows (never cut, so that their prompt is computed once).
function Updater.cut(groups, rows)
  local parts, room = {}, 0
  for _, g in ipairs(groups) do
    local need = rows_of(g)
    if #parts == 0 or need > room then parts[#parts + 1], room = {}, rows end
    table.insert(parts[#parts], g)
    room = room - need
  end
  return parts
end

local ones = ffi.new("unsigned char[?]", 1)
local ones_size = 1
local function all_asked(n)
  if n > ones_size then
    ones, ones_size = ffi.new("unsigned char[?]", 2 * n), 2 * n
    ffi.fill(ones, ones_size, 1)
  end
  return ones
end
ffi.fill(ones, 1, 1)

Updater.count = count

--- Lays groups out as trees: the prompt, its responses below it.  even: 1 where products are in bf16.
function Updater.pack(batch, groups, even)
  C.rl_batch_clear(batch)
  for _, g in ipairs(groups) do
    local p = g.prompt
    local root = check(C.rl_batch_segment(batch, -1, p.ids, p.n, p.positions, nil, 0, even or 0))
    if p.media then check(C.rl_batch_media(batch, root, p.media)) end
    for _, r in ipairs(g.responses) do
      if r.n > 0 then
        check(C.rl_batch_segment(batch, root, r.ids, r.n, nil, r.mask or all_asked(r.n), 1, 0))
      end
    end
  end
end

--- An output of the replay [tokens] in the order of responses and their tokens.
local function ordered(self, name, order)
  return tensor.own(C.rl_replay_output(self.replay, name)):gather(order)
end

--- What the loss of these groups sees.
function Updater:part(groups, totals)
  local lengths, lists = {}, {}
  for _, g in ipairs(groups) do
    for _, r in ipairs(g.responses) do
      lengths[#lengths + 1] = count(r)
      for field, values in pairs(r.tokens or {}) do
        lists[field] = lists[field] or {}
        local list = lists[field]
        for i = 1, lengths[#lengths] do list[#list + 1] = values[i] end
      end
    end
  end
  local n = C.rl_batch_pairs(self.batch)
  local order = tensor.from(C.rl_batch_order(self.batch), { n }, C.RL_INT)
  local fields = { logp = ordered(self, "logp", order), entropy = ordered(self, "entropy", order) }
  for field, list in pairs(lists) do fields[field] = tensor.tensor(list) end
  fields.old_logp = fields.old_logp or fields.logp:detach()
  return Part.new(lengths, fields, totals)
end

function Updater:forward(groups)
  Updater.pack(self.batch, groups)
  check(C.rl_batch_bind(self.batch, self.replay, self.cfg.temperature or 1))
  check(C.rl_replay_forward(self.replay))
end

--- Token and response counts of the mini-batch, which every part's means divide by.
local function totals_of(groups, norm_len)
  local totals = { tokens = 0, responses = 0, norm_len = norm_len }
  for _, g in ipairs(groups) do
    for _, r in ipairs(g.responses) do
      local n = count(r)
      totals.tokens, totals.responses = totals.tokens + n, totals.responses + (n > 0 and 1 or 0)
    end
  end
  return totals
end

--- Forward and backward of all groups -> metrics (sums over the parts, in their order).
function Updater:accumulate(groups, algorithm, cfg)
  local totals, metrics = totals_of(groups, cfg.norm_len), {}
  for _, micro in ipairs(Updater.cut(groups, self.cfg.micro_tokens)) do
    tensor.scope(function()
      self:forward(micro)
      local part = self:part(micro, totals)
      local value, found = loss.total(algorithm, part, cfg)
      found.loss = value
      for name, scalar in pairs(found) do metrics[name] = (metrics[name] or 0) + part:value(scalar) end
      value:backward()
      check(C.rl_replay_backward(self.replay))
    end)
  end
  return metrics
end

--- The step itself.  A gradient that is not finite, or longer than skip_grad_norm, is dropped and counted.
function Updater:step(groups, algorithm, cfg, lr)
  local metrics = self:accumulate(groups, algorithm, cfg)
  local norm = self.policy:grad_norm()
  local limit, skip = self.cfg.max_grad_norm, self.cfg.skip_grad_norm or 0
  metrics.grad_norm, metrics.lr = norm, lr
  if norm ~= norm or norm == math.huge or (skip > 0 and norm > skip) then
    self.skipped = self.skipped + 1
    self.policy:zero_grad()
  else
    check(C.rl_adamw_step(self.optimizer, lr, self.decay, limit > 0 and math.min(1, limit / (norm + 1e-6)) or 1))
  end
  return metrics
end

return Updater
