--- Earlier right responses: one is kept for each prompt, and stands in for the last of its group
--- where all responses to the prompt fail later.  It keeps the log-probs that it was sampled with,
--- so the ratio of the loss corrects for the policy that it came from.  arXiv:2506.09340
local ffi = require "ffi"

local Recall = {}
Recall.__index = Recall

--- size: responses kept, the newest; threshold: the reward of a right one.
function Recall.new(size, threshold)
  return setmetatable({ size = size, threshold = threshold, kept = {}, order = {} }, Recall)
end

--- Keeps a response to the row of that index, instead of an earlier one.
function Recall:keep(index, r)
  local ids = {}
  for t = 1, r.n do ids[t] = r.ids[t - 1] end
  for k, i in ipairs(self.order) do if i == index then table.remove(self.order, k) break end end
  table.insert(self.order, index)
  self.kept[index] = { ids = ids, old_logp = r.tokens.rollout_logp or r.tokens.old_logp,
    finish = r.finish, text = r.text, overall = r.result.overall, parts = r.result.parts }
  if #self.order > self.size then self.kept[table.remove(self.order, 1)] = nil end
end

local function response(kept, sample)
  local n, logp = #kept.ids, {}
  for t, v in ipairs(kept.old_logp) do logp[t] = v end
  return { ids = ffi.new("int[?]", math.max(1, n), kept.ids), n = n, sample = sample,
    finish = kept.finish, text = kept.text, tokens = { old_logp = logp }, recalled = true,
    result = { overall = kept.overall, parts = kept.parts } }
end

--- Puts kept responses into groups where all fail, and keeps new right ones -> how many it put in.
function Recall:into(groups)
  local used = 0
  for _, g in ipairs(groups) do
    local right
    for _, r in ipairs(g.responses) do
      local good = r.result.overall >= self.threshold and not r.copied and not r.mask
      right = right or good and r
    end
    local old = self.kept[g.index]
    if right then
      self:keep(g.index, right)
    elseif old then
      local last = #g.responses
      g.responses[last] = response(old, g.responses[last].sample)
      used = used + 1
    end
  end
  return used
end

--- For checkpoints: a list of what is kept, oldest first.
function Recall:state()
  local list = {}
  for k, index in ipairs(self.order) do list[k] = { index = index, kept = self.kept[index] } end
  return list
end

function Recall:take_up(list)
  self.kept, self.order = {}, {}
  for k, one in ipairs(list) do self.order[k], self.kept[one.index] = one.index, one.kept end
end

return Recall
