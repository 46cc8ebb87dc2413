--- Problems of finding shapes in a picture, seeded, and annotators who answer them.
---   grounding  Where is the blue circle?   [x1,y1,x2,y2] in pixels
---   ovd        Find all of the circles.    [{'Position':[x1,y1,x2,y2],'Confidence':1},...]
---   scan       What is in the cells?      no answer: the first lessons only
--- Every question has 6 tokens.  What is thought are two scans of the 16 cells, a token each: " -",
--- or, where a shape is that was asked for, first its colour and shape, " Bc", then how far right
--- (a to d, 4 pixels each) and down it lies in its cell, and its size (S, M, L): " baM".
---
---   finding.problem(task, seed, index, { split = "train", least = 3, most = 6 })
---     -> { task, scene, targets, question, answer, rgb }
---   finding.demonstration(problem) -> the right response;  with a random: a careless annotator's
---
--- A target whose (shape, colour, cell) hashes into one sixth never is one in training: test_apart
--- asks for such.
local recipe_file = require "rllava.recipe_file"
local random = recipe_file "data/random.lua"
local shapes = recipe_file "data/shapes.lua"

local finding = { size = shapes.size }

--- ---- the tasks: ask(random, scene) -> question, targets ----

local ask = {}

function ask.grounding(r, scene)
  local one = r:pick(scene)
  return ("Where is the %s %s?"):format(one.colour, one.shape), { one }
end

--- The shapes of a scene whose field is that of one.
local function alike(scene, one, field)
  local out = {}
  for _, other in ipairs(scene) do
    if other[field] == one[field] then out[#out + 1] = other end
  end
  return out
end

function ask.ovd(r, scene)
  local one, way = r:pick(scene), r:int(1, 9)
  if way == 1 then return ("Find all the %s %ss."):format(one.colour, one.shape), { one } end
  if way <= 5 then return ("Find all of the %ss."):format(one.shape), alike(scene, one, "shape") end
  return ("Find all the %s shapes."):format(one.colour), alike(scene, one, "colour")
end

function ask.scan(_, scene) return "What is in the cells?", scene end

--- ---- what is written: boxes in the order of the targets ----

local function each(list, f)
  local out = {}
  for i, one in ipairs(list) do out[i] = f(one) end
  return out
end

local function answer(task, boxes, confidence)
  local texts = each(boxes, function(b) return ("[%d,%d,%d,%d]"):format(unpack(b)) end)
  if task == "grounding" then return texts[1] end
  return "[" .. table.concat(each(texts, function(text)
    return ("{'Position':%s,'Confidence':%s}"):format(text, confidence)
  end), ",") .. "]"
end

local function kind(one) return one.colour:sub(1, 1):upper() .. one.shape:sub(1, 1) end

local function place(one)
  local right, down = one.box[1] % shapes.cell, one.box[2] % shapes.cell
  local size = (one.box[3] - one.box[1]) / shapes.lattice - 3
  return string.char(97 + right / shapes.lattice, 97 + down / shapes.lattice)
    .. ("SML"):sub(size, size)
end

local function scan(list, code)
  local out = {}
  for i = 1, shapes.cells ^ 2 do out[i] = " -" end
  for _, one in ipairs(list) do out[one.cell] = " " .. code(one) end
  return table.concat(out)
end

local function think(list)
  return "<think>" .. scan(list, kind) .. scan(list, place) .. "</think>"
end

local function tagged(text) return "<answer>" .. text .. "</answer>" end

--- ---- problems ----

local function tight(one) return one.box end

local function belongs(targets, split)
  if split == "test" then return true end
  local apart = false
  for _, one in ipairs(targets) do
    apart = apart or random.hash(one.shape, one.colour, one.cell) % 6 == 0
  end
  return apart == (split == "test_apart")
end

function finding.problem(task, seed, index, options)
  local o = options or {}
  local split = o.split or "train"
  local r, p = random.new("finding", task, split, seed, index), { task = task }
  repeat
    p.scene = shapes.scene(r, { least = o.least or 3, most = o.most or 6 })
    p.question, p.targets = ask[task](r, p.scene)
  until task == "scan" or belongs(p.targets, split)
  p.rgb, p.answer = shapes.draw(p.scene), answer(task, each(p.targets, tight), "1")
  if task == "ovd" then p.answer = tagged(p.answer) end     -- where its reward looks for the truth
  return p
end

--- ---- annotators ----

local function clamp(v) return math.max(0, math.min(shapes.size, v)) end

--- 4 pixels too large on each side.
local function generous(one)
  local b, d = one.box, shapes.lattice
  return { clamp(b[1] - d), clamp(b[2] - d), clamp(b[3] + d), clamp(b[4] + d) }
end

--- Each side 4 pixels off in two of three cases.
local function shaky(r)
  return function(one)
    return each(one.box, function(v) return clamp(v + shapes.lattice * r:int(-1, 1)) end)
  end
end

--- Which shapes a careless annotator marks.  grounding: any in 15 of 100 cases; ovd: one forgotten
--- in 15, where there are several, one too many in the next 15.
local function marked(p, r)
  local way, list = r:int(1, 100), { unpack(p.targets) }
  if way > (p.task == "ovd" and 30 or 15) then return list end
  if p.task == "grounding" then return { r:pick(p.scene) } end
  if way <= 15 and #list > 1 then
    table.remove(list, r:int(1, #list))
    return list
  end
  local extra = r:pick(p.scene)
  for _, one in ipairs(list) do if one == extra then return list end end
  list[#list + 1] = extra
  table.sort(list, function(a, b) return a.cell < b.cell end)
  return list
end

--- Boxes are tight in 35 of 100 cases, generous in 45, confidence is 1 in 40, the form right in 72.
local function careless(p, r)
  local list, hand = marked(p, r), r:int(1, 100)
  local boxes = each(list, hand <= 35 and tight or hand <= 80 and generous or shaky(r))
  local text = answer(p.task, boxes, r:chance(40) and "1" or "0.5")
  local style = r:int(1, 100)
  if style <= 12 then return text end
  if style <= 22 then return think(list) .. text end
  if style <= 28 then return think(list) .. tagged(text:gsub("[%[%]]", "")) end
  return think(list) .. tagged(text)
end

function finding.demonstration(p, r)
  if r then return careless(p, r) end
  if p.task == "scan" then return think(p.targets) end
  return think(p.targets) .. tagged(answer(p.task, each(p.targets, tight), "1"))
end

--- ---- data sets ----

local function row(p, response)
  return { prompt = p.question, answer = p.answer, task = p.task, response = response,
    target = not response and finding.demonstration(p) or nil,
    images = { { rgb = p.rgb, width = shapes.size, height = shapes.size } } }
end

local lessons = { steps = 1150, scans = 300, careless = 250 }

--- Demonstration i, 32 a step: first mere scans, then both tasks, the last by careless annotators.
local function demonstration(i)
  local step, random_of = math.ceil(i / 32), nil
  if step > lessons.steps - lessons.careless then random_of = random.new("careless", i) end
  local task = step <= lessons.scans and "scan" or i % 2 == 1 and "ovd" or "grounding"
  local p = finding.problem(task, 11, i, { least = task == "scan" and 1 or 3 })
  return row(p, finding.demonstration(p, random_of))
end

local sizes = { train = 2000, test = 400, test_apart = 400, demonstrations = 32 * lessons.steps }

--- The data set of a task.  demonstrations: of both tasks, for recipes/sft_grounding.lua.
function finding.set(task)
  return { splits = { "train", "test", "test_apart", "demonstrations" }, rows = function(split)
    if split == "demonstrations" then return sizes[split], demonstration end
    return sizes[split], function(i) return row(finding.problem(task, 0, i, { split = split })) end
  end }
end

return finding
