--- A step's batch: groups of responses to the same prompt, their scores, their advantages.
---
---   groups[i] = { row, prompt, responses, greedy }   batch.responses: all of them, in order
---   batch.group [responses]      which prompt;  batch.lengths [responses]: tokens
---   batch.scores [responses]     what the reward gave;  batch.rewards [tokens]: at the last token of each
local rl = require "rllava.ffi"
local kl = require "rllava.kl"
local tensor = require "rllava.tensor"

local Batch = {}
Batch.__index = Batch

local function list_responses(self)
  self.responses, self.group, self.lengths = {}, {}, {}
  for i, g in ipairs(self.groups) do
    for _, r in ipairs(g.responses) do
      local k = #self.responses + 1
      self.responses[k], self.group[k], self.lengths[k] = r, i, r.n
    end
  end
end

function Batch.new(groups)
  local self = setmetatable({ groups = groups }, Batch)
  list_responses(self)
  return self
end

-- What becomes of a response whose reward failed: an error is no number unless the user says so.
local on_error = {
  drop = function() return false end,
  zero = function(r) r.result.overall, r.result.parts = 0, {} return true end,
  raise = function(r) rl.raise("reward: %s", r.result.error) end,
}

--- Takes over what the rewards said of each response (r.result = { overall, parts } or { error }); how: "drop",
--- "zero" or "raise" where there is an error.  Groups that lose all responses leave the batch.
function Batch:score(how)
  local groups = {}
  self.failed = self.failed or 0
  for _, g in ipairs(self.groups) do
    local kept = {}
    for _, r in ipairs(g.responses) do
      if r.result.error then self.failed = self.failed + 1 end
      if not r.result.error or on_error[how or "drop"](r) then kept[#kept + 1] = r end
    end
    g.responses = kept
    if #kept > 0 then groups[#groups + 1] = g end
  end
  self.groups = groups
  list_responses(self)
  self:lay_rewards()
end

--- scores [responses] and rewards [tokens] from the results; baseline [responses]: the greedy response's score, where
--- one was asked for (a failed one counts 0).
function Batch:lay_rewards()
  self.scores, self.rewards, self.baseline = {}, {}, self.groups[1] and self.groups[1].greedy and {} or nil
  for i, r in ipairs(self.responses) do
    self.scores[i] = r.result.overall
    local greedy = self.baseline and self.groups[self.group[i]].greedy[1]
    if greedy then self.baseline[i] = greedy.result.overall or 0 end
    for t = 1, r.n do self.rewards[#self.rewards + 1] = t == r.n and r.result.overall or 0 end
  end
end

--- Groups whose mean of a part of the reward ("overall": all of it) lies strictly between low and high.
function Batch:between(part, low, high)
  local groups = {}
  for _, g in ipairs(self.groups) do
    local sum = 0
    for _, r in ipairs(g.responses) do
      local value = part == "overall" and r.result.overall or r.result.parts[part]
      if not value then rl.raise("loss.filter_key: the reward gives no part named '%s'", part) end
      sum = sum + value
    end
    local mean = sum / #g.responses
    if mean > low and mean < high then groups[#groups + 1] = g end
  end
  return groups
end

--- Soft punishment of length: 0 up to max - buffer tokens, falling to -factor at max.  arXiv:2503.14476, eq. 13
function Batch:punish_length(max, buffer, factor)
  for _, r in ipairs(self.responses) do
    local penalty = math.max(-1, math.min(0, (max - buffer - r.n) / buffer))
    r.result.overall = r.result.overall + factor * penalty
    r.result.parts.overlong = penalty
  end
  self:lay_rewards()
end

--- Responses that were cut off at their limit count in group statistics, but are not trained on.
function Batch:mask_truncated()
  local ffi = require "ffi"
  for _, r in ipairs(self.responses) do
    if r.finish == "length" then r.mask = ffi.new("unsigned char[?]", math.max(1, r.n)) end
  end
end

--- rewards [tokens] -= beta KL(old policy, reference), beta from the controller, which then hears of the mean KL
--- -> mean over responses of their mean KL, the beta that was used.
function Batch:penalise_kl(estimator, controller)
  local at, sum, beta = 0, 0, controller.value
  tensor.scope(function()
    for _, r in ipairs(self.responses) do
      local d = kl.estimate(estimator, tensor.tensor(r.tokens.old_logp), tensor.tensor(r.tokens.ref_logp)):totable()
      local own = 0
      for t, v in ipairs(d) do
        self.rewards[at + t] = self.rewards[at + t] - beta * v
        own = own + v
      end
      at, sum = at + #d, sum + own / math.max(1, #d)
    end
  end)
  self.kl, self.kl_coef = sum / #self.responses, beta
  controller.update(self.kl, #self.responses)
end

--- Lays a list by token [tokens] (advantages, returns, values ...) beside the tokens of each response.
function Batch:assign(name, values)
  local at = 0
  for _, r in ipairs(self.responses) do
    local own = {}
    for t = 1, r.n do own[t] = values[at + t] end
    r.tokens[name], at = own, at + r.n
  end
  if at ~= #values then rl.raise("batch: %s: expected %d numbers, got %d", name, at, #values) end
end

--- Lists of groups for n optimizer steps, in order and as equal as can be.
function Batch:parts(n)
  local parts, count = {}, #self.groups
  for k = 1, math.min(n, count) do
    local part = {}
    for i = math.floor((k - 1) * count / n) + 1, math.floor(k * count / n) do part[#part + 1] = self.groups[i] end
    parts[k] = part
  end
  return parts
end

return Batch
