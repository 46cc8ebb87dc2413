--- One step of a search agent against the step that was wanted (MAT-Search).
---   the truth answers   F1 of the two answers; 0 if the response searches
---   the truth searches  similarity of the two queries, below 0.5 none; 0 if the response answers
---   format   <think>...</think>, then one <answer> or one <search>; at most one of each tag
---   overall  (1 - format_weight) accuracy + format_weight format
--- The similarity of queries is row.similarity where a row brings one (an embedding's cosine, say),
--- else the cosine of their character trigrams.
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"
local answers = require "rllava.reward.answer"
local f1 = require "rllava.reward.f1"
local similarity = require "rllava.reward.similarity"

local function accuracy(response, truth, row)
  if text.has(truth, "<answer>") then
    if text.has(response, "<search>") then return 0 end
    return f1.score(tags.unwrap(response, "answer", true), tags.unwrap(truth, "answer", true))
  end
  if not text.has(truth, "<search>") or text.has(response, "<answer>") then return 0 end
  local alike = row and row.similarity
  if type(alike) ~= "number" then
    alike = similarity(tags.unwrap(response, "search", true), tags.unwrap(truth, "search", true))
  end
  return alike >= 0.5 and alike or 0
end

local function has_form(s)
  for _, tag in ipairs { "<answer>", "<search>", "<think>" } do
    if text.count(s, tag) >= 2 then return false end
  end
  local answered, searched = tags.starts(s, "answer"), tags.starts(s, "search")
  if text.has(s, "<answer>") and text.has(s, "</answer>") then return answered and not searched end
  return searched and not answered
end

local function score(response, answer, row, options)
  local right = accuracy(response, answers.text(answer), row)
  local format = has_form(response) and 1 or 0
  local w = options.format_weight
  return { overall = (1 - w) * right + w * format, format = format, accuracy = right }
end

return { defaults = { format_weight = 0.5 }, score = score }
