--- How alike two short texts are without a language model: the cosine between their counts of
--- character trigrams, in lower case, with a space at either end.
local text = require "rllava.reward.text"

local MAX_LENGTH = 4000

local function trigrams(s)
  local list, counts, norm = {}, {}, 0
  s = " " .. table.concat(text.words(text.lower(s:sub(1, MAX_LENGTH))), " ") .. " "
  for i, after in text.each(s) do list[#list + 1] = s:sub(i, after - 1) end
  local keys = {}
  for i = 1, #list - 2 do
    local key = list[i] .. list[i + 1] .. list[i + 2]
    if not counts[key] then keys[#keys + 1] = key end
    counts[key] = (counts[key] or 0) + 1
  end
  for _, key in ipairs(keys) do norm = norm + counts[key] ^ 2 end
  return counts, keys, norm
end

--- a, b: texts -> 0..1.
return function(a, b)
  local counts, keys, norm = trigrams(a)
  local others, _, other_norm = trigrams(b)
  local dot = 0
  for _, key in ipairs(keys) do dot = dot + counts[key] * (others[key] or 0) end
  return norm > 0 and other_norm > 0 and dot / math.sqrt(norm * other_norm) or 0
end
