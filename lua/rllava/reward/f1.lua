--- Token F1 between two short answers, normalised as in question answering: lower case, without
--- ASCII punctuation, articles and repeated spaces.  The overlap is of sets, the lengths of lists.
local text = require "rllava.reward.text"

local f1 = {}

--- Full-width punctuation that goes too where Chinese is meant.
local wide_marks = "！？｡＂＃＄％＆＇（）＊＋，－．／"
  .. "：；＜＝＞＠［＼］＾＿｀｛｜｝～、。：《》【】"
local is_wide = {}
for i, after in text.each(wide_marks) do is_wide[wide_marks:sub(i, after - 1)] = true end

local articles = { a = true, an = true, the = true }

--- Articles become spaces; a word is a run of letters, digits and underscores.
local function drop_articles(s)
  local out, i = {}, 1
  while i <= #s do
    local start, code, after = i, text.decode(s, i)
    local word = text.is_word(code)
    i = after
    while i <= #s do
      code, after = text.decode(s, i)
      if text.is_word(code) ~= word then break end
      i = after
    end
    local run = s:sub(start, i - 1)
    out[#out + 1] = articles[run] and " " or run
  end
  return table.concat(out)
end

local function is_chinese(s)
  for _, _, code in text.each(s) do if code >= 0x4E00 and code <= 0x9FFF then return true end end
  return false
end

--- s in its normal form.  chinese: full-width marks go, and Chinese text loses its spaces.
function f1.normalize(s, chinese)
  s = text.lower(s):gsub("[!-/:-@%[-`{-~]", "")
  if chinese then
    local out = {}
    for i, after in text.each(s) do
      local c = s:sub(i, after - 1)
      if not is_wide[c] then out[#out + 1] = c end
    end
    s = table.concat(out)
    if is_chinese(s) then return (s:gsub(" ", "")) end
  end
  return table.concat(text.words(drop_articles(s)), " ")
end

local function characters(s)
  local list = {}
  for i, after in text.each(s) do list[#list + 1] = s:sub(i, after - 1) end
  return list
end

local function set_of(list)
  local set = {}
  for _, token in ipairs(list) do set[token] = true end
  return set
end

--- F1 of a prediction against a truth, 0..1.  chinese: by characters where either is Chinese.
function f1.score(prediction, truth, chinese)
  local a, b = f1.normalize(prediction, chinese), f1.normalize(truth, chinese)
  local cut = chinese and (is_chinese(a) or is_chinese(b)) and characters or text.words
  local given, wanted = cut(a), cut(b)
  local wanted_set, common, seen = set_of(wanted), 0, {}
  for _, token in ipairs(given) do
    if wanted_set[token] and not seen[token] then common, seen[token] = common + 1, true end
  end
  if common == 0 then return 0 end
  local precision, recall = common / #given, common / #wanted
  return 2 * precision * recall / (precision + recall)
end

--- 1 if both have the same normal form.
function f1.exact(prediction, truth, chinese)
  return f1.normalize(prediction, chinese) == f1.normalize(truth, chinese) and 1 or 0
end

return f1
