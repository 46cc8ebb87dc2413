--- A step's batch: groups of responses to the same prompt, their scores, their advantages.
---
---   groups[i] = { row, prompt, responses, greedy }   batch.responses: all of them, in order
---   batch.group [responses]      which prompt; a demonstration beside the samples is on its own
---   batch.lengths [responses]    trained tokens
---   batch.scores [responses]     what the reward gave
---   batch.rewards [tokens]       the same, at the last token of each
---   batch.sums [responses]       sums of rewards; of a response without a trained token its score
local ffi = require "ffi"
local rl = require "rllava.ffi"
local forest = require "rllava.forest"
local score = require "rllava.score"

local Batch = {}
Batch.__index = Batch

local function list_responses(self)
  self.responses, self.group, self.lengths = {}, {}, {}
  for i, g in ipairs(self.groups) do
    for _, r in ipairs(g.responses) do
      local k = #self.responses + 1
      self.responses[k], self.lengths[k] = r, forest.count(r)
      self.group[k] = r.beside and #self.groups + k or i
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

--- Those of a list whose reward did not fail, or failed and is taken as a number all the same.
local function usable(self, list, how)
  local kept = {}
  for _, r in ipairs(list) do
    if r.result.error and not r.counted then self.failed, r.counted = self.failed + 1, true end
    if not r.result.error or on_error[how or "drop"](r) then kept[#kept + 1] = r end
  end
  return kept
end

--- Takes over what the rewards said of each response (r.result = { overall, parts } or { error }).
--- how: "drop", "zero" or "raise" where there is an error.  Groups that lose all responses, or the
--- greedy one that they are measured by, leave the batch.
function Batch:score(how)
  local groups = {}
  self.failed = self.failed or 0
  for _, g in ipairs(self.groups) do
    g.responses = usable(self, g.responses, how)
    if g.greedy then g.greedy = usable(self, g.greedy, how) end
    if #g.responses > 0 and not (g.greedy and #g.greedy == 0) then groups[#groups + 1] = g end
  end
  self.groups = groups
  list_responses(self)
  self:lay_rewards()
end

--- scores, sums [responses] and rewards [tokens] from the results; baseline [responses]: the greedy
--- response's score, where one was asked for.
function Batch:lay_rewards()
  self.scores, self.rewards, self.sums, self.baseline = {}, {}, {}, nil
  for i, r in ipairs(self.responses) do
    local n = self.lengths[i]
    self.scores[i], self.sums[i] = r.result.overall, r.result.overall
    for t = 1, n do self.rewards[#self.rewards + 1] = t == n and r.result.overall or 0 end
  end
  if not (self.groups[1] and self.groups[1].greedy) then return end
  self.baseline = {}
  for _, g in ipairs(self.groups) do
    local b = g.greedy[1].result.overall
    for _ in ipairs(g.responses) do self.baseline[#self.baseline + 1] = b end
  end
end

--- What GDPO normalises apart: named [parts] = { name, weight, scores [responses] }, in the order
--- of their names; weights: name -> number, 1 where it is not there.  Refuses a response that lacks
--- a part which another has, and a weight for a part that there is not.
function Batch:name_parts(weights)
  local lists, names = {}, {}
  for i, r in ipairs(self.responses) do
    for name, v in require("rllava").sorted(r.result.parts) do
      if not lists[name] then lists[name], names[#names + 1] = {}, name end
      lists[name][i] = v
    end
  end
  table.sort(names)
  self.named = {}
  for k, name in ipairs(names) do
    self.named[k] = { name, weights and weights[name] or 1, lists[name] }
    for i in ipairs(self.responses) do
      if not lists[name][i] then
        rl.raise("reward: expected the part '%s' of every response, found one without", name)
      end
    end
  end
  for name in require("rllava").sorted(weights or {}) do
    if not lists[name] then
      rl.raise("loss.part_weights: the reward gives no part named '%s'; it gives %s", name,
        table.concat(names, ", "))
    end
  end
end

--- Groups worth training on (see score.filter), by the part of the reward that cfg.filter_key names
--- ("overall": all of it).  Demonstrations beside the samples do not count.
function Batch:worth(cfg)
  local values, of, groups, part = {}, {}, {}, cfg.filter_key
  for i, r in ipairs(self.responses) do
    local value = part == "overall" and r.result.overall or r.result.parts[part]
    if not value then
      rl.raise("loss.filter_key: the reward gives no part named '%s'", part)
    end
    if not r.beside then values[#values + 1], of[#of + 1] = value, self.group[i] end
  end
  for _, k in ipairs(score.filter(values, of, cfg)) do
    local g = self.groups[of[k]]
    if groups[#groups] ~= g then groups[#groups + 1] = g end
  end
  return groups
end

--- Soft punishment of length, factor times score.overlong, added to each response's reward.
function Batch:punish_length(max, buffer, factor)
  for _, r in ipairs(self.responses) do
    local penalty = score.overlong(r.n, max, buffer)
    r.result.overall = r.result.overall + factor * penalty
    r.result.parts.overlong = penalty
  end
  self:lay_rewards()
end

--- No token of the response is trained on; it still counts in the statistics of its group.
function Batch.mask(r) r.mask = ffi.new("unsigned char[?]", math.max(1, r.n)) end

--- Masks responses that were cut off at their limit.
function Batch:mask_truncated()
  for _, r in ipairs(self.responses) do if r.finish == "length" then Batch.mask(r) end end
  list_responses(self)
  self:lay_rewards()
end

--- rewards [tokens] -= beta KL(old policy, reference), beta from the controller, which then hears
--- of the mean KL: kl, over the responses of all ranks their mean; kl_coef: the beta that was used.
function Batch:penalise_kl(estimator, controller, ranks)
  local lists = { lengths = self.lengths, rewards = self.rewards, old_logp = self:lists "old_logp",
    ref_logp = self:lists "ref_logp" }
  self.kl_coef = controller.value
  self.rewards, self.kl = score.kl_in_reward(lists, estimator, self.kl_coef)
  local at = 0
  for i, n in ipairs(self.lengths) do
    if n > 0 then self.sums[i] = 0 end
    for t = at + 1, at + n do self.sums[i] = self.sums[i] + self.rewards[t] end
    at = at + n
  end
  local n, sum = 0, 0
  for _, own in ipairs((ranks.gather { n = #self.responses, kl = self.kl })) do
    n, sum = n + own.n, sum + own.n * own.kl
  end
  self.kl = sum / math.max(1, n)
  controller.update(self.kl, n)
end

--- Lays a list by token [tokens] (advantages, returns, values ...) beside the tokens of each
--- response.
function Batch:assign(name, values) forest.assign(self.responses, name, values) end

--- The lists of a field by token, end to end.
function Batch:lists(name)
  local out = {}
  for _, r in ipairs(self.responses) do
    for t = 1, forest.count(r) do out[#out + 1] = r.tokens[name][t] end
  end
  return out
end

--- Lists of groups for n optimizer steps, in order and as equal as can be.
function Batch:parts(n)
  local parts, count = {}, #self.groups
  for k = 1, math.min(n, count) do
    local part = {}
    for i = math.floor((k - 1) * count / n) + 1, math.floor(k * count / n) do
      part[#part + 1] = self.groups[i]
    end
    parts[k] = part
  end
  return parts
end

return Batch
