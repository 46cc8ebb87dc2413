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

--- cfg: { optim = { betas, eps, weight_decay }, max_grad_norm, skip_grad_norm, micro_tokens, temperature, recompute,
--- dtype, seed }.
function Updater.new(policy, cfg)
  local self = setmetatable({ policy = policy, cfg = cfg, skipped = 0, updates = 0 }, Updater)
  local list, n = policy:tensors()
  local betas = cfg.optim.betas
  self.optimizer = ffi.gc(check(C.rl_adamw_new(list, n, betas[1], betas[2], cfg.optim.eps)), C.rl_adamw_free)
  self.decay = ffi.new("double[?]", n)
  for i, name in ipairs(policy.model.names) do
    local matrix = #policy.model.params[name].shape > 1
    self.decay[i - 1] = (matrix or not cfg.optim.decay_matrices_only) and cfg.optim.weight_decay or 0
  end
  local dtype = cfg.dtype or C.RL_FLOAT
  self.even = dtype == C.RL_HALF and 1 or 0
  self.replay = ffi.gc(check(C.rl_replay_new(policy.model.tape, "logp entropy", 1, cfg.recompute and 1 or 0, dtype)),
    C.rl_replay_free)
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

--- A group as pieces of at most so many rows, each with the prompt: one piece where it fits.
local function pieces(group, rows)
  local out, room = {}, -1
  for _, r in ipairs(group.responses) do
    if r.n > room then
      out[#out + 1], room = { prompt = group.prompt, responses = {} }, rows - group.prompt.n
    end
    table.insert(out[#out].responses, r)
    room = room - r.n
  end
  return #out == 1 and { group } or out
end

local function rows_of(group)
  local rows = group.prompt.n
  for _, r in ipairs(group.responses) do rows = rows + r.n end
  return rows
end

--- Groups in micro-batches of at most so many rows (nil: one).  A group is cut only where it alone has more, so that
--- its prompt is computed once.
function Updater.cut(groups, rows)
  local parts, room = {}, -1
  rows = rows or math.huge
  for _, g in ipairs(groups) do
    for _, piece in ipairs(pieces(g, rows)) do
      local need = rows_of(piece)
      if need > room then parts[#parts + 1], room = {}, rows end
      table.insert(parts[#parts], piece)
      room = room - need
    end
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

--- Lengths of the responses of groups, and their lists by token end to end: { field = [tokens] }.
local function lay(groups)
  local lengths, lists, tokens = {}, {}, 0
  for _, g in ipairs(groups) do
    for _, r in ipairs(g.responses) do
      local n = count(r)
      lengths[#lengths + 1] = n
      for field, values in pairs(r.tokens or {}) do
        local list = lists[field] or {}
        lists[field] = list
        for i = 1, n do list[tokens + i] = values[i] end
      end
      tokens = tokens + n
    end
  end
  return lengths, lists, tokens
end

--- What the loss of these groups sees.  mini: of the whole mini-batch, as prepared; from: its tokens before these.
function Updater:part(groups, totals, mini, from)
  local lengths, lists, n = lay(groups)
  for field, list in pairs(mini and mini.fields or {}) do
    local own = {}
    for i = 1, n do own[i] = list[from + i] end
    lists[field] = own
  end
  local order = tensor.from(C.rl_batch_order(self.batch), { n }, C.RL_INT)
  local fields = { logp = ordered(self, "logp", order), entropy = ordered(self, "entropy", order) }
  for field, list in pairs(lists) do fields[field] = tensor.tensor(list) end
  fields.old_logp = fields.old_logp or fields.logp:detach()
  return Part.new(lengths, fields, totals)
end

function Updater:forward(groups)
  Updater.pack(self.batch, groups, self.even)
  check(C.rl_batch_bind(self.batch, self.replay, self.cfg.temperature or 1))
  check(C.rl_replay_forward(self.replay))
end

--- Token and response counts of the mini-batch, which every part's means divide by.
local function totals_of(lengths, tokens, norm_len)
  local totals = { tokens = tokens, responses = 0, norm_len = norm_len }
  for _, n in ipairs(lengths) do totals.responses = totals.responses + (n > 0 and 1 or 0) end
  return totals
end

--- Log-probs of all groups by the policy as it is, without gradients -> [tokens].
function Updater:logp(micros)
  local out = {}
  for _, micro in ipairs(micros) do
    tensor.scope(function()
      self:forward(micro)
      local logp, order = tensor.own(C.rl_replay_output(self.replay, "logp")):data(), C.rl_batch_order(self.batch)
      for i = 0, C.rl_batch_pairs(self.batch) - 1 do out[#out + 1] = logp[order[i]] end
    end)
  end
  return out
end

--- What an algorithm wants to know of the whole mini-batch before its parts: algorithm.prepare(mini, cfg), where mini
--- holds lengths, tokens, the lists by token, random() and, where it is among the needs, logp -> fields by token,
--- further totals.
function Updater:prepare(micros, groups, algorithm, cfg)
  local lengths, mini, tokens = lay(groups)
  local totals = totals_of(lengths, tokens, cfg.norm_len)
  if not algorithm.prepare then return {}, totals end
  for _, need in ipairs(algorithm.needs or {}) do if need == "logp" then mini.logp = self:logp(micros) end end
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

--- Forward and backward of all groups -> metrics of the mini-batch, however it is cut.
function Updater:accumulate(groups, algorithm, cfg)
  local micros, acc, from = Updater.cut(groups, self.cfg.micro_tokens), {}, 0
  local mini, totals = self:prepare(micros, groups, algorithm, cfg)
  for _, micro in ipairs(micros) do
    tensor.scope(function()
      self:forward(micro)
      local part = self:part(micro, totals, mini, from)
      local value, found = loss.total(algorithm, part, cfg)
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
