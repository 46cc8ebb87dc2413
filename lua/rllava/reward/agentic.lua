--- The last turn of an agent against the final answer, with a bonus for the use of tools.
---   accuracy  F1 of the last <answer> and the truth, 1 where their normal forms are equal
---   format    <think>...</think><answer>...</answer> somewhere, each tag opened once
---   tool      1 if the tools' rewards (row.step_reward) come to 1; gate: and accuracy is above 0.5
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"
local answers = require "rllava.reward.answer"
local f1 = require "rllava.reward.f1"

local agentic = {}

--- An object as Python prints it, for truths that hold none of the known members.
local function printed(t)
  local keys, out = {}, {}
  for k in pairs(t) do keys[#keys + 1] = tostring(k) end
  table.sort(keys)
  for i, k in ipairs(keys) do
    local v = t[k]
    out[i] = "'" .. k .. "': " .. (type(v) == "string" and "'" .. v .. "'" or answers.text(v))
  end
  return "{" .. table.concat(out, ", ") .. "}"
end

--- The truth: a text, or the member ground_truth or answer of an object; nil where it is neither.
function agentic.truth(v)
  if type(v) ~= "table" or getmetatable(v) and getmetatable(v).__tostring then return v end
  local member = v.ground_truth
  if member == nil then member = v.answer end
  if member == nil then member = printed(v) end
  return member
end

--- The sum of the tools' rewards, a number (0 where there is none).
function agentic.step_reward(row)
  local reward = row and row.step_reward
  if type(reward) == "table" then reward = reward.value end
  return tonumber(reward) or 0
end

local function has_form(s)
  return text.count(s, "<answer>") < 2 and text.count(s, "<think>") < 2
    and tags.contains(s, "answer")
end

local defaults = { acc_weight = 0.8, format_weight = 0.2, tool_weight = 1.2, gate = false }

--- The reward; chinese: by characters, full-width marks left out, where Chinese is written.
function agentic.reward(chinese)
  local function score(response, answer, row, options)
    local given = text.strip(tags.last(response, "answer") or "")
    local truth = agentic.truth(answer)
    truth = type(truth) == "string" and tags.unwrap(truth, "answer") or ""
    local exact, accuracy = 0, 0
    if given ~= "" and truth ~= "" then
      exact = f1.exact(given, truth, chinese)
      accuracy = exact == 1 and 1 or f1.score(given, truth, chinese)
    end
    local tool = agentic.step_reward(row) >= 1 and 1 or 0
    if options.gate and accuracy <= 0.5 then tool = 0 end
    local format = has_form(response) and 1 or 0
    return { overall = options.acc_weight * accuracy + options.format_weight * format
      + options.tool_weight * tool, accuracy = accuracy, exact_match = exact, format = format,
        tool = tool }
  end
  return { defaults = defaults, score = score }
end

return agentic
