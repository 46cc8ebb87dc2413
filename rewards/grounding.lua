--- Grounding: overlap of the box in the response with the true one.
---   accuracy  IoU^2
---   format    the response, without <|endoftext|>, begins like Qwen's box tokens: with <, > or
---             one of their bare names.  strict = true: it is the whole sequence of reference,
---             box and end
---   overall   (1 - format_weight) accuracy + format_weight format
--- scale: what the response's numbers are counted in: "1000" (thousandths of the picture), "unit",
--- "resized" (pixels the model saw), "original"; "auto": thousandths after <|box_start|>, else
--- fractions.  truth: the same for the truth, "1000" by default.
local box = require "rllava.reward.box"
local text = require "rllava.reward.text"

local heads = { "<", ">", "object_ref_start", "object_ref_end", "box_start", "box_end", "im_end" }
local tokens = { "<|object_ref_start|>", "<|object_ref_end|><|box_start|>",
  "<|box_end|><|im_end|>" }

local function has_form(s, strict)
  if not strict then
    for _, head in ipairs(heads) do if text.starts(s, head) then return true end end
    return false
  end
  local at = text.starts(s, tokens[1]) and 1
  for _, token in ipairs(tokens) do
    local _, last = s:find(token, at or #s + 1, true)
    if not last then return false end
    at = last + 1
  end
  return at == #s + 1
end

local function truncate(x) return x < 0 and math.ceil(x) or math.floor(x) end

--- The response's box in thousandths, by the rule of scale = "auto".
local function guessed(s, b)
  if text.has(s, "<|box_start|>") then return b end
  local out = {}
  for i = 1, 4 do out[i] = truncate(b[i] * 1000) end
  return out
end

local function score(response, answer, row, options)
  local s = text.replace(response, "<|endoftext|>", "")
  local found, truth = box.read(s), box.truth(answer)
  local accuracy = 0
  if truth then
    local b = found or { 0, 0, 0, 0 }
    local thousand = box.frame("1000")
    b = options.scale == "auto" and guessed(s, b)
      or box.map(b, box.frame(options.scale, row), thousand)
    accuracy = box.iou(b, box.map(truth, box.frame(options.truth, row), thousand)) ^ 2
    if accuracy ~= accuracy then accuracy = 0 end
  end
  local format = has_form(s, options.strict) and 1 or 0
  local w = options.format_weight
  return { overall = (1 - w) * accuracy + w * format, format = format, accuracy = accuracy },
    not truth and "the truth is no box" or not found and "no box" or nil
end

return { defaults = { format_weight = 0.5, strict = false, scale = "auto", truth = "1000" },
  score = score }
