--- Counting in the manner of CLEVR: a drawn scene, a question, a whole number as the answer.
--- Seeded: a problem is a function of (seed, index, split).
---
---   counting.problem(seed, index, { split = "train" | "test" | "test_pairs" })
---     -> { rgb (112 x 112 x 3 bytes), question, answer (text), type, things,
---          asked = { colour, shape: the words of the question, or nil } }
---   counting.demonstration(problem, random, { mixed = true }) -> the response of an annotator
---
--- Some pairs of colour and shape are seen in training but never asked for: they are test_pairs.
local scene = require "rllava.recipe_file" "data/scene.lua"
local random = require "rllava.recipe_file" "data/random.lua"

local counting = { size = scene.size }

--- share: of right work in mixed demonstrations, per cent.
local kinds = {
  { name = "all", weight = 1, share = 45 },
  { name = "colour", weight = 3, share = 40, colour = true },
  { name = "shape", weight = 3, share = 42, shape = true },
  { name = "pair", weight = 4, share = 38, colour = true, shape = true },
}
local share = {}
for _, k in ipairs(kinds) do share[k.name] = k.share end

local held_out = { ["red cylinder"] = true, ["blue cube"] = true, ["yellow sphere"] = true }

local function is_held_out(asked)
  return held_out[(asked.colour or "") .. " " .. (asked.shape or "")] or false
end

--- Nine times in ten the words of a thing that is there.
local function ask(r, kind, things)
  local thing = r:pick(things)
  if r:chance(10) then thing = { colour = r:pick(scene.colours), shape = r:pick(scene.shapes) } end
  return { colour = kind.colour and thing.colour, shape = kind.shape and thing.shape }
end

local phrases = { "How many %s?", "How many %s are there?", "Count the %s." }

local function question(r, asked)
  local noun = (asked.shape or "thing") .. "s"
  return r:pick(phrases):format(asked.colour and asked.colour .. " " .. noun or noun)
end

--- Half of the scenes have at most two colours and two shapes, so that numbers get larger.
local function draw_things(r)
  if r:chance(50) then return scene.things(r) end
  local colours = { r:pick(scene.colours), r:pick(scene.colours) }
  return scene.things(r, { colours = colours,
    shapes = { r:pick(scene.shapes), r:pick(scene.shapes) } })
end

local function matches(thing, asked)
  return (not asked.colour or thing.colour == asked.colour)
    and (not asked.shape or thing.shape == asked.shape)
end

--- The cells in reading order, each with what is there and the number counted so far; a stroke
--- between rows.  Counts what `asked` names; unseen(thing): overlooked.  -> the text, the number.
local function tally(things, asked, unseen)
  local at, count, words = {}, 0, {}
  for _, t in ipairs(things) do if not (unseen and unseen(t)) then at[t.cell] = t end end
  for cell = 1, scene.cells * scene.cells do
    local thing = at[cell]
    if thing and matches(thing, asked) then count = count + 1 end
    if cell > 1 and cell % scene.cells == 1 then words[#words + 1] = " /" end
    words[#words + 1] = (" %s%d"):format(thing and thing.colour .. thing.shape or "-", count)
  end
  return table.concat(words), count
end

--- Work with an error.  Mostly the habit of the kind: the shape, or the only word, of the question
--- forgotten; where all are asked for, the last row not looked at.  Else one of the things that
--- count overlooked.
local function careless(problem, r)
  local things, asked = problem.things, problem.asked
  if r:chance(85) then
    if problem.type == "all" then
      return tally(things, asked, function(t) return t.row == scene.cells end)
    end
    return tally(things, { colour = asked.shape and asked.colour })
  end
  local counted = {}
  for _, t in ipairs(things) do if matches(t, asked) then counted[#counted + 1] = t end end
  local lost = counted[r:int(1, math.max(1, #counted))]
  return tally(things, asked, function(t) return t == lost end)
end

function counting.problem(seed, index, options)
  local split = options and options.split or "train"
  local r = random.new("counting", split, seed, index)
  local kind = split == "test_pairs" and kinds[#kinds] or r:weighted(kinds)
  local things, asked
  repeat
    things = draw_things(r)
    asked = ask(r, kind, things)
  until split == "test" or is_held_out(asked) == (split == "test_pairs")
  local _, count = tally(things, asked)
  return { rgb = scene.draw(things), question = question(r, asked), answer = tostring(count),
    type = kind.name, things = things, asked = asked }
end

--- An annotator's response.  mixed: of mixed quality - right work in a part of the cases, else an
--- error carried through; and in 28% a sloppy format.  Otherwise clean.
function counting.demonstration(problem, r, options)
  local mixed = options and options.mixed
  local work, count
  if mixed and not r:chance(share[problem.type]) then work, count = careless(problem, r)
  else work, count = tally(problem.things, problem.asked) end
  local think, answer = "<think>" .. work .. "</think>", "<answer>" .. count .. "</answer>"
  local style = mixed and r:int(1, 100) or 100
  if style <= 12 then return answer end
  if style <= 22 then return think .. count end
  if style <= 28 then return tostring(count) end
  return think .. answer
end

--- What the tokenizer is trained on.
function counting.texts()
  local texts = {}
  for i = 1, 2000 do
    local p = counting.problem(7, i)
    texts[2 * i - 1], texts[2 * i] = p.question, tally(p.things, p.asked)
  end
  return texts
end

return counting
