--- Those who share an update: this process alone, or ranks that divide its groups among them.
---
---   ranks.gather(v)    v of every rank, in their order -> list, the number of this one
---
--- What a rank must know of the others before its loss are plain numbers: lengths, lists by token.
--- Its gradient is then its share: that of the whole mini-batch is the sum over the ranks.
local dist = {}

--- One process: nobody to ask.
dist.alone = { gather = function(v) return { v }, 1 end }

local function append(into, list)
  for _, v in ipairs(list) do into[#into + 1] = v end
end

--- What the ranks know of a mini-batch, parts = { { lengths, lists = { field = [tokens] } }, ... },
--- end to end -> lengths, lists.
function dist.join(parts)
  local lengths, lists = {}, {}
  for _, part in ipairs(parts) do
    append(lengths, part.lengths)
    for field, list in pairs(part.lists) do
      lists[field] = lists[field] or {}
      append(lists[field], list)
    end
  end
  return lengths, lists
end

local function count(lengths)
  local n = 0
  for _, l in ipairs(lengths) do n = n + l end
  return n
end

--- Tokens of the ranks before this one, and of this one.
function dist.place(parts, own)
  local before = 0
  for k = 1, own - 1 do before = before + count(parts[k].lengths) end
  return before, count(parts[own].lengths)
end

--- ---- advantages ----

local fields = { "lengths", "rewards", "sums", "scores", "values", "baseline", "gap" }

--- What an advantage may read of a batch, without its prompts and rows.
local function statement(batch)
  local s = { group = batch.group, named = batch.named, responses = {} }
  for _, name in ipairs(fields) do s[name] = batch[name] end
  for i, r in ipairs(batch.responses) do s.responses[i] = { tokens = r.tokens, n = r.n } end
  return s
end

--- Statements of several ranks as one batch; groups of different ranks are different prompts.
local function whole(statements)
  local all, groups = { group = {}, responses = {} }, 0
  for _, s in ipairs(statements) do
    local most = 0
    for _, g in ipairs(s.group) do
      all.group[#all.group + 1], most = groups + g, math.max(most, g)
    end
    groups = groups + most
    append(all.responses, s.responses)
    for _, name in ipairs(fields) do
      if s[name] then
        all[name] = all[name] or {}
        append(all[name], s[name])
      end
    end
    for k, part in ipairs(s.named or {}) do
      all.named = all.named or {}
      all.named[k] = all.named[k] or { part[1], part[2], {} }
      append(all.named[k][3], part[3])
    end
  end
  return all
end

local function slice(list, before, n)
  local out = list and {}
  for t = 1, list and n or 0 do out[t] = list[before + t] end
  return out
end

--- An algorithm's advantages, and returns where they differ, of this rank's batch [tokens]: their
--- statistics are those of the batches of all ranks.
function dist.advantage(ranks, algorithm, batch, cfg)
  local all, own = ranks.gather(statement(batch))
  if #all == 1 then return algorithm.advantage(batch, cfg) end
  local before, n = dist.place(all, own)
  local advantage, returns = algorithm.advantage(whole(all), cfg)
  return slice(advantage, before, n), slice(returns, before, n)
end

--- ---- metrics ----

--- Adds sums of metrics (see Part:collect) to others.
local function add(acc, more)
  for name, terms in pairs(more) do
    if type(terms) == "number" then acc[name] = terms
    else
      acc[name] = acc[name] or {}
      for k, t in ipairs(terms) do
        local sum = acc[name][k]
        if sum then sum.sum = sum.sum + t.sum
        else acc[name][k] = { sum = t.sum, n = t.n, weight = t.weight } end
      end
    end
  end
end

--- The sums of all ranks' metrics.
function dist.sums(ranks, acc)
  local all, out = ranks.gather(acc), {}
  if #all == 1 then return acc end
  for _, one in ipairs(all) do add(out, one) end
  return out
end

return dist
