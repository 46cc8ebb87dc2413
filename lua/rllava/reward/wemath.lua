--- We-Math: choices by their letter, and answers in several parts by the share that is right.
local text = require "rllava.reward.text"
local tags = require "rllava.reward.tags"
local literal = require "rllava.reward.literal"
local answers = require "rllava.reward.answer"

local wemath = {}

--- The truth, and where it is an object (or its JSON text) the problem's ID and key.
function wemath.truth(v)
  local members = type(v) == "table" and v
  if type(v) == "string" then
    local parsed = literal.read(v)
    members = type(parsed) == "table" and parsed.object and parsed.members
  end
  if members and members.answer ~= nil then return members.answer, members.ID, members.key end
  return v
end

local function option(c)
  c = c:upper()
  return #c == 1 and c:find "[A-H]" and c or nil
end

--- The last of A to E that stands as a word of its own.
local function last_letter(s)
  local found, word_before, candidate
  for i, after, code in text.each(s) do
    local word = text.is_word(code)
    if candidate and not word then found = candidate end
    candidate = word and not word_before and code >= 65 and code <= 69 and s:sub(i, after - 1)
      or nil
    word_before = word
  end
  return candidate or found
end

--- The letter that a response chooses, or nil.
function wemath.letter(s)
  local inside = text.strip(tags.first(s, "answer") or "")
  if option(inside:sub(1, 1)) then return option(inside:sub(1, 1)) end
  local parts = text.split(s, "Answer")
  if #parts > 1 then
    local after = text.strip((parts[#parts]:gsub("[<>:.]", "")))
    if option(after:sub(1, 1)) then return option(after:sub(1, 1)) end
  end
  local boxed = s:match "\\boxed{([A-Ha-h])}"
  return boxed and boxed:upper() or last_letter(s)
end

--- "(1) 5 (2) 7" -> { "5", "7" }; without marks in order, the whole text.
local function numbered_parts(s)
  local marks, i = {}, 1
  while true do
    local first, last, n = s:find("%((%d+)%)", i)
    if not first then break end
    local before = text.skip_back(s, first - 1)
    if first == 1 or before < first - 1 then
      marks[#marks + 1] = { first - 1, last + 1, tonumber(n) }
    end
    i = last + 1
  end
  if #marks < 2 then return { s } end
  local parts = {}
  for k, mark in ipairs(marks) do
    if mark[3] ~= k then return { s } end
    local part = text.strip(s:sub(mark[2], marks[k + 1] and marks[k + 1][1] or #s))
    if part ~= "" then parts[#parts + 1] = part end
  end
  return #parts >= 2 and parts or { s }
end

--- The texts between " or ", in any letter case; nil where the word "or" does not occur.
local function or_parts(s)
  local lower, parts, i, seen = text.lower(s), {}, 1, false
  if #lower ~= #s then return nil end
  local at = lower:find("or", 1, true)
  while at do
    local before, after = text.skip_back(lower, at - 1), text.skip_space(lower, at + 2)
    local code = text.decode(lower, at + 2 <= #lower and at + 2 or at)
    local left = at > 1 and text.is_word(text.decode(lower, text.rfind_character(lower, at - 1)))
    if not left and (at + 2 > #lower or not text.is_word(code)) then seen = true end
    if before < at - 1 and after > at + 2 then
      parts[#parts + 1] = s:sub(i, before)
      i = after
    end
    at = lower:find("or", at + 2, true)
  end
  parts[#parts + 1] = s:sub(i)
  return seen and parts or nil
end

local function trimmed(list)
  local out = {}
  for _, part in ipairs(list) do
    part = text.strip(part)
    if part ~= "" then out[#out + 1] = part end
  end
  return out
end

local stop_words = {}
for _, word in ipairs(text.words [[the a an is are was were be been being have has had do does did
  will would could should may might shall can to of in for on with at by from it its this that these
  those not and but if then so because there here all each every both few more some any no than too
  very just about]]) do
  stop_words[word] = true
end

local MAX_PARTS = 200

--- The share of truths that some prediction meets; 0 where there are too many to try.
local function share(truths, given, same)
  if #truths > MAX_PARTS then return 0 end
  local right = 0
  for _, truth in ipairs(truths) do
    for k = 1, math.min(#given, MAX_PARTS) do
      if same(given[k], truth) then right = right + 1 break end
    end
  end
  return right / #truths
end

local function numbered_share(truths, given, grade)
  if #truths > MAX_PARTS then return 0 end
  local parts, right = numbered_parts(given), 0
  for k, truth in ipairs(truths) do
    if grade(#parts == #truths and parts[k] or given, truth) then right = right + 1 end
  end
  return right / #truths
end

--- A prediction against a truth that may have several parts -> 0..1.
local function match_parts(given, truth, grade)
  if grade(given, truth) then return 1 end
  local function same(a, b)
    return grade(a, b) or text.lower(text.strip(a)) == text.lower(text.strip(b))
  end
  local parts = numbered_parts(truth)
  if #parts >= 2 then return numbered_share(parts, given, grade) end
  parts = trimmed(or_parts(truth) or {})
  if #parts >= 2 then return share({ 1 }, parts, function(one) return grade(given, one) end) end
  if text.has(truth, ",") and not (truth:find("\\frac", 1, true) or truth:find("\\binom", 1, true)
    or truth:find("\\sqrt", 1, true)) then
    parts = trimmed(text.split(truth, ","))
    if #parts >= 2 then
      local list = text.has(given, ",") and trimmed(text.split(given, ",")) or text.words(given)
      return share(parts, #list > 0 and list or { given }, same)
    end
  end
  parts = text.words(truth)
  if #parts < 2 or #parts > 8 then return 0 end
  for _, word in ipairs(parts) do if stop_words[text.lower(word)] then return 0 end end
  local list = text.words(text.replace(given, ",", " "))
  return share(parts, #list > 0 and list or { given }, same)
end

--- How right a response is, 0..1: by its letter where the truth is one of A to H.
function wemath.accuracy(response, truth, grader)
  if type(truth) ~= "string" then return 0 end
  truth = text.strip(truth)
  if #truth == 1 and truth:find "[A-H]" then return wemath.letter(response) == truth and 1 or 0 end
  local function grade(given, one) return answers.grade(given, one, grader) end
  return match_parts(tags.unwrap(response, "answer"), tags.unwrap(truth, "answer"), grade)
end

return wemath
