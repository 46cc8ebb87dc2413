--- DeepEyes: visual questions with a zoom tool.
---   accuracy  0 or 1: the first <answer>, else what follows the last </think> without tool blocks,
---             is what a judge holds for the truth; without a judge: the truth in any letter case
---   format    0, or -1: think tags out of balance; answer tags after the last </think> out of
---             balance; neither an answer nor a tool call there
---   tool      the tools' rewards (row.step_reward); gate: only with a right answer
---   overall   acc_weight accuracy + format_weight format + tool_weight tool
---
---   judge        a chat model behind an endpoint of the OpenAI form, http://host:port/v1; "":
---                that of LLM_AS_A_JUDGE_BASE where it is set; "required": refused where it is not;
---                "none"
---   judge_model  its name; "": the first that it offers
--- A judge takes its time: reward_options.timeout bounds a call.
local tags = require "rllava.reward.tags"
local text = require "rllava.reward.text"
local answers = require "rllava.reward.answer"
local agentic = require "rllava.reward.agentic"
local judge = require "rllava.reward.judge"

local MAX_ANSWER = 1000                                  -- characters; longer ones are no answers

local function after_thought(s)
  local at = text.rfind(s, "</think>")
  return at and text.strip(s:sub(at + 8))
end

local function has_form(s)
  if text.count(s, "<think>") ~= text.count(s, "</think>") then return false end
  local rest = after_thought(s) or s
  return text.count(rest, "<answer>") == text.count(rest, "</answer>")
    and (text.has(rest, "<answer>") or text.has(rest, "<tool_call>"))
end

--- s without its <name>...</name> blocks.
local function without(s, name)
  local open, out, i = "<" .. name .. ">", {}, 1
  while true do
    local at = s:find(open, i, true)
    local _, after = tags.between(s, open, "</" .. name .. ">", i)
    if not after then return table.concat(out) .. s:sub(i) end
    out[#out + 1] = s:sub(i, at - 1)
    i = after
  end
end

local function given(s)
  local inside = text.strip(tags.first(s, "answer") or "")
  if inside ~= "" then return inside end
  return text.strip(without(without(after_thought(s) or "", "tool_call"), "tool_response"))
end

--- The question of a row, for a judge.
local function question(row)
  local about = row.extra_info
  local asked = type(about) == "table" and about.question or row.question or row.prompt
  return type(asked) == "string" and asked or ""
end

local function is_right(found, truth, row, options)
  if found == "" or text.length(found) >= MAX_ANSWER then return false end
  local base = judge.base(options.judge)
  if base then
    return judge.agrees(base, options.judge_model, question(row), answers.text(truth), found)
  end
  if type(truth) == "number" and tonumber(found) == truth then return true end
  return text.lower(text.strip(found)) == text.lower(text.strip(answers.text(truth)))
end

local function score(response, answer, row, options)
  local format = has_form(response) and 0 or -1
  local accuracy = is_right(given(response), agentic.truth(answer), row, options) and 1 or 0
  local tool = agentic.step_reward(row)
  if options.gate and accuracy == 0 then tool = 0 end
  return { overall = options.acc_weight * accuracy + options.format_weight * format
    + options.tool_weight * tool, accuracy = accuracy, format = format, tool = tool }
end

return { defaults = { acc_weight = 0.8, format_weight = 0.2, tool_weight = 1.2, gate = false,
  judge = "", judge_model = "" }, score = score }
