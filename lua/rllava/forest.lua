--- Groups as forests of segments: how a mini-batch is cut, packed and counted.
---
---   group    = { prompt = prompt, responses = { response, ... } }
---   response = { ids = int *, n, mask = bytes or nil, tokens = { field = list by trained token } }
local ffi = require "ffi"
local rl = require "rllava.ffi"
local C, check = rl.C, rl.check

local forest = {}

--- Tokens of a response that are trained on: those that its mask marks, all where it has none.
function forest.count(response)
  if not response.mask then return response.n end
  local n = 0
  for i = 0, response.n - 1 do if response.mask[i] ~= 0 then n = n + 1 end end
  return n
end

--- A group as pieces of at most so many rows and responses, each with the prompt: one piece where
--- it fits.
local function pieces(group, rows, responses)
  local out, room, left = {}, -1, 0
  for _, r in ipairs(group.responses) do
    if r.n > room or left < 1 then
      out[#out + 1] = { prompt = group.prompt, number = group.number, responses = {} }
      room, left = rows - group.prompt.n, responses
    end
    table.insert(out[#out].responses, r)
    room, left = room - r.n, left - 1
  end
  return #out == 1 and { group } or out
end

local function rows_of(group)
  local rows = group.prompt.n
  for _, r in ipairs(group.responses) do rows = rows + r.n end
  return rows
end

--- Groups as micro-batches of at most so many rows (nil: any), cells of pictures, but for a single
--- prompt, and responses (nil: any).  A group is cut only where it alone has more, so that its
--- prompt is computed once.
function forest.cut(groups, rows, cells, responses)
  local parts, room, left, free = {}, -1, 0, 0
  rows, cells, responses = rows or math.huge, cells or math.huge, responses or math.huge
  for _, g in ipairs(groups) do
    for _, piece in ipairs(pieces(g, rows, responses)) do
      local need, seen, count = rows_of(piece), piece.prompt.cells or 0, #piece.responses
      if need > room or seen > left or count > free then
        parts[#parts + 1], room, left, free = {}, rows, cells, responses
      end
      table.insert(parts[#parts], piece)
      room, left, free = room - need, left - seen, free - count
    end
  end
  return parts
end

--- Token and response counts that the means of a loss divide by: of responses of these lengths.  An
--- empty one counts nowhere; with cfg.loss_scale "micro" it does, and seq-mean-token-sum-norm
--- divides by no number of responses, as RLLaVA has it.
function forest.totals(lengths, cfg)
  local totals = { tokens = 0, responses = 0, norm_len = cfg.norm_len }
  for _, n in ipairs(lengths) do
    totals.tokens = totals.tokens + n
    totals.responses = totals.responses + (n > 0 and 1 or 0)
  end
  if cfg.loss_scale == "micro" then
    totals.responses = cfg.agg_mode == "seq-mean-token-sum-norm" and 1 or #lengths
  end
  return totals
end

local ones, ones_size = ffi.new("unsigned char[?]", 1, 1), 1
local function all_asked(n)
  if n > ones_size then
    ones, ones_size = ffi.new("unsigned char[?]", 2 * n), 2 * n
    ffi.fill(ones, ones_size, 1)
  end
  return ones
end

--- Lays groups out as trees: the prompt, its responses below it.  A response without a trained
--- token takes no rows.  even: 1 where products are in bf16.
function forest.pack(batch, groups, even)
  C.rl_batch_clear(batch)
  for _, g in ipairs(groups) do
    local p = g.prompt
    local root = check(C.rl_batch_segment(batch, -1, p.ids, p.n, p.positions, nil, 0, even or 0))
    if p.media then check(C.rl_batch_media(batch, root, p.media)) end
    for _, r in ipairs(g.responses) do
      if forest.count(r) > 0 then
        local asked = r.mask or all_asked(r.n)
        check(C.rl_batch_segment(batch, root, r.ids, r.n, nil, asked, 1, 0))
      end
    end
  end
end

--- Lengths of the responses of groups, their lists by token end to end: { field = [tokens] }, the
--- count of tokens, the responses.
function forest.lay(groups)
  local lengths, lists, tokens, responses = {}, {}, 0, {}
  for _, g in ipairs(groups) do
    for _, r in ipairs(g.responses) do
      local n = forest.count(r)
      lengths[#lengths + 1], responses[#responses + 1] = n, r
      for field, values in pairs(r.tokens or {}) do
        local list = lists[field] or {}
        lists[field] = list
        for i = 1, n do list[tokens + i] = values[i] end
      end
      tokens = tokens + n
    end
  end
  return lengths, lists, tokens, responses
end

--- Cuts a list by token [tokens] into the lists of each response, r.tokens[name].
function forest.assign(responses, name, values)
  local at = 0
  for _, r in ipairs(responses) do
    local own = {}
    for t = 1, forest.count(r) do own[t] = values[at + t] end
    r.tokens[name], at = own, at + #own
  end
  if at ~= #values then
    rl.raise("batch: %s: expected %d numbers, got %d", name, at, #values)
  end
end

return forest
