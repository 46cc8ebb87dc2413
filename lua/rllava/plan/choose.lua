--- What a recipe leaves to the plan: rows computed together, and whether activations are computed
--- twice.  Neither changes a result: but for the order of a sum where a group must be cut.
local choose = {}

choose.ROWS = 8192                                    -- more at once are no faster

--- Row counts from ROWS down by halves: those that hold a whole group, and smaller ones that hold
--- a response.
local function sizes(w)
  local whole, cut, rows = { choose.ROWS }, {}, choose.ROWS / 2
  while rows >= w.max_prompt + w.max_new do
    local list = rows >= w.max_prompt + w.n * w.max_new and whole or cut
    list[#list + 1], rows = rows, math.floor(rows / 2)
  end
  return whole, cut
end

--- What to try in turn, { rows, recompute }: first what costs nothing, then what computes twice,
--- last what cuts groups and pays for their prompts again.  What the recipe sets stays.
local function candidates(t, w)
  local whole, cut = sizes(w)
  if t.micro_tokens then whole, cut = { t.micro_tokens }, {} end
  local list = {}
  for _, rows in ipairs(whole) do list[#list + 1] = { rows, t.recompute or false } end
  if t.recompute == nil then list[#list + 1] = { whole[#whole], true } end
  for _, rows in ipairs(cut) do list[#list + 1] = { rows, t.recompute ~= false } end
  return list
end

--- Sets trainer.micro_tokens and trainer.recompute where the recipe leaves them out: the first that
--- fit within so many bytes, the last where none does -> the plan; its .chosen: in words, where
--- less was taken than the machine would do with.
function choose.fit(cfg, limit)
  local plan, t = require "rllava.plan", cfg.trainer
  local p = plan.of(cfg)
  for i, c in ipairs(candidates(t, p.worst)) do
    t.micro_tokens, t.recompute = c[1], c[2]
    if i > 1 then p = plan.of(cfg, p.models) end
    p.chosen = i > 1 and ("trainer.micro_tokens=%d trainer.recompute=%s"):format(c[1],
      tostring(c[2])) or nil
    if p.peak.bytes <= limit then break end
  end
  return p
end

return choose
