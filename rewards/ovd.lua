--- Open-vocabulary detection: a list of { 'Position': [x1, y1, x2, y2], 'Confidence': c } in
--- <answer>.
---   iou         boxes in falling confidence take the free true box of highest IoU, if above 0.5;
---               sum of IoU / max(number of true boxes, of predictions)
---   confidence  mean over predictions: c where it was matched, 1 - c where not, held to 0..1
---   format      the response begins <think>...</think><answer>...</answer>
---   overall     weight iou + weight confidence + (1 - 2 weight) format
--- The answer stands on one line.  Single quotes are read as double ones, a list that breaks off is
--- cut after its last whole element, a repeated box counts once.
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"
local literal = require "rllava.reward.literal"
local box = require "rllava.reward.box"
local answers = require "rllava.reward.answer"

--- The list inside the first <answer>; nil where there is none or it cannot be read.
local function read_list(s)
  local _, open = s:find("<answer>", 1, true)
  if not open then return nil end
  local shut = s:find("</answer>", 1, true) or #s + 1
  local inside = s:sub(open + 1, shut - 1)
  if inside:sub(-1) ~= "]" then
    local cut = text.rfind(inside, "},")
    inside = (cut and inside:sub(1, cut - 1) or inside) .. "}]"
  end
  local list = literal.read((inside:gsub("'", '"')))
  return type(list) == "table" and list.array and list or nil
end

--- A member by the first of its names that is there and not null.
local function member(element, names)
  for _, name in ipairs(names) do
    local v = element.members[name]
    if v ~= nil and v ~= literal.null then return v end
  end
end

local NOWHERE = { 0, 0, 0, 0 }

--- A position -> four numbers; what is none is no box anywhere.  nil: not even a list.
local function position(element)
  local v = type(element) == "table" and element.object
    and member(element, { "Position", "position", "bbox", "Bbox" }) or NOWHERE
  if type(v) ~= "table" then return type(v) == "string" and NOWHERE or nil end
  if #v == 2 and type(v[1]) == "table" and type(v[2]) == "table" then
    v = { v[1][1], v[1][2], v[2][1], v[2][2] }
  end
  for i = 1, 4 do if type(v[i]) ~= "number" then return NOWHERE end end
  return #v == 4 and v or NOWHERE
end

local confidences = { "Confidence", "confidence", "score", "Score", "prob", "Prob", "probability",
  "Probability" }

local function confidence(element)
  for _, name in ipairs(confidences) do
    local v = element.members[name]
    local c = (type(v) == "number" or type(v) == "string") and tonumber(v) or type(v) == "boolean"
      and (v and 1 or 0)
    if c and c == c then return c end
  end
  return 0
end

--- The predictions, each box once, in falling confidence; nil where one is no object.
local function predictions(list)
  local out, seen = {}, {}
  for i, element in ipairs(list) do
    local b = position(element)
    if not b or type(element) ~= "table" or not element.object then return nil end
    local key = table.concat(b, ",")
    if not seen[key] then
      seen[key] = true
      out[#out + 1] = { box = b, confidence = confidence(element), place = i }
    end
  end
  table.sort(out, function(a, b)
    if a.confidence ~= b.confidence then return a.confidence > b.confidence end
    return a.place < b.place
  end)
  return out
end

local function overlap(a, b)
  if math.min(a[3], b[3]) <= math.max(a[1], b[1])
    or math.min(a[4], b[4]) <= math.max(a[2], b[2]) then
    return 0
  end
  return box.iou(a, b)
end

--- The IoU of each prediction with the true box that it takes, 0 where it takes none.
local function match(found, truths)
  local taken, ious = {}, {}
  for k, one in ipairs(found) do
    local best, which = 0, nil
    for i, truth in ipairs(truths) do
      local iou = not taken[i] and overlap(truth, one.box) or 0
      if iou > best then best, which = iou, i end
    end
    ious[k] = best > 0.5 and best or 0
    if best > 0.5 then taken[which] = true end
  end
  return ious
end

local MAX_BOXES = 2000

--- -> iou, confidence; zeros where the response or the truth is no list of boxes.
local function accuracy(response, truth)
  local inside = tags.first(response, "answer", true)
  if not inside or not text.has(inside, "Position") or not text.has(inside, "Confidence") then
    return 0, 0
  end
  inside = text.replace(text.replace(inside, "[[", "["), "]]", "]")
  local list, true_list = read_list("<answer>" .. inside .. "</answer>"), read_list(truth)
  local found = list and #list > 0 and #list <= MAX_BOXES and predictions(list)
  if not found or not true_list then return 0, 0 end
  local truths = {}
  for i, element in ipairs(true_list) do truths[i] = position(element) or NOWHERE end
  local ious, total, trust = match(found, truths), 0, 0
  for k, iou in ipairs(ious) do
    total = total + iou
    trust = trust + (iou == 0 and 1 - found[k].confidence or found[k].confidence)
  end
  return math.min(1, total / math.max(#truths, #found)), math.max(0, math.min(1, trust / #found))
end

local function score(response, answer, row, options)
  local iou, trust = accuracy(response, answers.text(answer))
  local format = tags.starts(response, "answer") and 1 or 0
  local w = options.weight
  return { overall = w * iou + w * trust + (1 - 2 * w) * format, format = format, iou = iou,
    confidence = trust }
end

return { defaults = { weight = 0.33 }, score = score }
