--- Text in code points, by Python's rules: characters, case, white space, classes.
--- Strings are UTF-8; a byte that belongs to no character counts as one.
local C = require("rllava.ffi").C

local unicode = {}

local LETTER, NUMBER = 1, 2

--- The characters of s as a list of strings.
function unicode.chars(s)
  local list, n = {}, 0
  for c in s:gmatch ".[\128-\191]*" do
    n = n + 1
    list[n] = c
  end
  return list
end

--- Is s plain ASCII?
function unicode.ascii(s) return not s:find "[\128-\255]" end

--- How many characters s has.
function unicode.len(s)
  if unicode.ascii(s) then return #s end
  local _, n = s:gsub(".[\128-\191]*", "")
  return n
end

--- The code point of a character.
function unicode.code(c)
  local a, b, d, e = c:byte(1, 4)
  if not b then return a end
  if a < 0xe0 then return (a - 0xc0) * 64 + b - 128 end
  if a < 0xf0 then return ((a - 0xe0) * 64 + b - 128) * 64 + (d or 128) - 128 end
  return (((a - 0xf0) * 64 + b - 128) * 64 + (d or 128) - 128) * 64 + (e or 128) - 128
end

--- A code point as UTF-8.  Refuses surrogates' halves: they become U+FFFD.
function unicode.char(c)
  if c >= 0xd800 and c < 0xe000 or c > 0x10ffff then c = 0xfffd end
  if c < 0x80 then return string.char(c) end
  local function tail(shift) return 128 + math.floor(c / 64 ^ shift) % 64 end
  if c < 0x800 then return string.char(192 + math.floor(c / 64), tail(0)) end
  if c < 0x10000 then return string.char(224 + math.floor(c / 4096), tail(1), tail(0)) end
  return string.char(240 + math.floor(c / 262144), tail(2), tail(1), tail(0))
end

--- "aA bB" -> { a = "A", b = "B" }: a character and what it becomes.
local function map(text)
  local t = {}
  for from, to in text:gmatch "([^ =]+)=([^ ]+)" do t[from] = to end
  return t
end

-- Where the upper case is not the inverse of a lower case of one code point (Unicode's
-- SpecialCasing).
local uppers = map [[
µ=Μ ß=SS ı=I ŉ=ʼN ſ=S ǅ=Ǆ ǈ=Ǉ ǋ=Ǌ ǰ=J̌ ǲ=Ǳ ͅ=Ι ΐ=Ϊ́ ΰ=Ϋ́ ς=Σ ϐ=Β
ϑ=Θ ϕ=Φ ϖ=Π ϰ=Κ ϱ=Ρ
ϵ=Ε և=ԵՒ ᲀ=В ᲁ=Д ᲂ=О ᲃ=С ᲄ=Т ᲅ=Т ᲆ=Ъ ᲇ=Ѣ ᲈ=Ꙋ ẖ=H̱ ẗ=T̈
ẘ=W̊ ẙ=Y̊ ẚ=Aʾ ẛ=Ṡ ὐ=Υ̓ ὒ=Υ̓̀
ὔ=Υ̓́ ὖ=Υ̓͂ ᾀ=ἈΙ ᾁ=ἉΙ ᾂ=ἊΙ ᾃ=ἋΙ ᾄ=ἌΙ ᾅ=ἍΙ ᾆ=ἎΙ
ᾇ=ἏΙ ᾈ=ἈΙ ᾉ=ἉΙ ᾊ=ἊΙ ᾋ=ἋΙ ᾌ=ἌΙ ᾍ=ἍΙ ᾎ=ἎΙ
ᾏ=ἏΙ ᾐ=ἨΙ ᾑ=ἩΙ ᾒ=ἪΙ ᾓ=ἫΙ ᾔ=ἬΙ ᾕ=ἭΙ ᾖ=ἮΙ ᾗ=ἯΙ
ᾘ=ἨΙ ᾙ=ἩΙ ᾚ=ἪΙ ᾛ=ἫΙ ᾜ=ἬΙ ᾝ=ἭΙ ᾞ=ἮΙ ᾟ=ἯΙ
ᾠ=ὨΙ ᾡ=ὩΙ ᾢ=ὪΙ ᾣ=ὫΙ ᾤ=ὬΙ ᾥ=ὭΙ ᾦ=ὮΙ ᾧ=ὯΙ ᾨ=ὨΙ
ᾩ=ὩΙ ᾪ=ὪΙ ᾫ=ὫΙ ᾬ=ὬΙ ᾭ=ὭΙ ᾮ=ὮΙ ᾯ=ὯΙ ᾲ=ᾺΙ
ᾳ=ΑΙ ᾴ=ΆΙ ᾶ=Α͂ ᾷ=Α͂Ι ᾼ=ΑΙ ι=Ι ῂ=ῊΙ ῃ=ΗΙ ῄ=ΉΙ ῆ=Η͂
ῇ=Η͂Ι ῌ=ΗΙ ῒ=Ϊ̀ ΐ=Ϊ́ ῖ=Ι͂ ῗ=Ϊ͂
ῢ=Ϋ̀ ΰ=Ϋ́ ῤ=Ρ̓ ῦ=Υ͂ ῧ=Ϋ͂ ῲ=ῺΙ ῳ=ΩΙ ῴ=ΏΙ ῶ=Ω͂ ῷ=Ω͂Ι
ῼ=ΩΙ ﬀ=FF ﬁ=FI ﬂ=FL ﬃ=FFI ﬄ=FFL
ﬅ=ST ﬆ=ST ﬓ=ՄՆ ﬔ=ՄԵ ﬕ=ՄԻ ﬖ=ՎՆ ﬗ=ՄԽ]]
-- Where the title case is not the upper case; Georgian, which has none, is below.
local titles = map [[
ß=Ss Ǆ=ǅ ǅ=ǅ ǆ=ǅ Ǉ=ǈ ǈ=ǈ ǉ=ǈ Ǌ=ǋ ǋ=ǋ ǌ=ǋ Ǳ=ǲ ǲ=ǲ ǳ=ǲ և=Եւ ᾀ=ᾈ
ᾁ=ᾉ ᾂ=ᾊ ᾃ=ᾋ ᾄ=ᾌ ᾅ=ᾍ ᾆ=ᾎ
ᾇ=ᾏ ᾈ=ᾈ ᾉ=ᾉ ᾊ=ᾊ ᾋ=ᾋ ᾌ=ᾌ ᾍ=ᾍ ᾎ=ᾎ ᾏ=ᾏ ᾐ=ᾘ ᾑ=ᾙ ᾒ=ᾚ
ᾓ=ᾛ ᾔ=ᾜ ᾕ=ᾝ ᾖ=ᾞ ᾗ=ᾟ ᾘ=ᾘ ᾙ=ᾙ ᾚ=ᾚ ᾛ=ᾛ ᾜ=ᾜ
ᾝ=ᾝ ᾞ=ᾞ ᾟ=ᾟ ᾠ=ᾨ ᾡ=ᾩ ᾢ=ᾪ ᾣ=ᾫ ᾤ=ᾬ ᾥ=ᾭ ᾦ=ᾮ ᾧ=ᾯ ᾨ=ᾨ
ᾩ=ᾩ ᾪ=ᾪ ᾫ=ᾫ ᾬ=ᾬ ᾭ=ᾭ ᾮ=ᾮ ᾯ=ᾯ ᾲ=Ὰͅ ᾳ=ᾼ
ᾴ=Άͅ ᾷ=ᾼ͂ ᾼ=ᾼ ῂ=Ὴͅ ῃ=ῌ ῄ=Ήͅ ῇ=ῌ͂ ῌ=ῌ ῲ=Ὼͅ ῳ=ῼ
ῴ=Ώͅ ῷ=ῼ͂ ῼ=ῼ ﬀ=Ff ﬁ=Fi ﬂ=Fl ﬃ=Ffi
ﬄ=Ffl ﬅ=St ﬆ=St ﬓ=Մն ﬔ=Մե ﬕ=Մի ﬖ=Վն ﬗ=Մխ]]

local function lower(c)
  if #c == 1 then return c:lower() end
  if c == "İ" then return "i̇" end
  return unicode.char(C.rl_char_lower(unicode.code(c)))
end

local function upper(c)
  if #c == 1 then return c:upper() end
  return uppers[c] or unicode.char(C.rl_char_upper(unicode.code(c)))
end

local function title(c)
  local code = #c == 3 and unicode.code(c) or 0
  if code >= 0x10d0 and code <= 0x10ff then return c end
  return titles[c] or upper(c)
end

--- Has the character an upper or a lower case?
local function cased(c) return c ~= nil and (lower(c) ~= c or upper(c) ~= c) end

local function each(s, f)
  local out = unicode.chars(s)
  for i, c in ipairs(out) do out[i] = f(c) end
  return table.concat(out)
end

--- A capital sigma at a word's end becomes the final one.
local function lower_at(list, i)
  local final = list[i] == "Σ" and cased(list[i - 1]) and not cased(list[i + 1])
  return final and "ς" or lower(list[i])
end

function unicode.upper(s) return unicode.ascii(s) and s:upper() or each(s, upper) end

function unicode.lower(s)
  if unicode.ascii(s) then return s:lower() end
  local list, out = unicode.chars(s), {}
  for i = 1, #list do out[i] = lower_at(list, i) end
  return table.concat(out)
end

--- Lower case for comparing: what upper case takes apart stays apart.
function unicode.casefold(s)
  return each(s, function(c) return uppers[c] and unicode.lower(uppers[c]) or lower(c) end)
end

function unicode.swapcase(s)
  return each(s, function(c) return upper(c) ~= c and lower(c) == c and upper(c) or lower(c) end)
end

--- The first letter as a title, the rest in lower case.
function unicode.capitalize(s)
  local list, out = unicode.chars(s), {}
  for i = 1, #list do out[i] = i == 1 and title(list[i]) or lower_at(list, i) end
  return table.concat(out)
end

--- Every letter that follows no letter as a title, the others in lower case.
function unicode.title(s)
  local list, out = unicode.chars(s), {}
  for i = 1, #list do out[i] = cased(list[i - 1]) and lower_at(list, i) or title(list[i]) end
  return table.concat(out)
end

local spaces = {}
for _, c in ipairs {
  9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f,
  0x3000, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a
} do
  spaces[unicode.char(c)] = true
end

--- White space to Python's strip and split (U+001C to U+001F too).
function unicode.is_space(c) return spaces[c] == true end
function unicode.is_upper(c) return lower(c) ~= c and title(c) == c end
function unicode.is_lower(c) return upper(c) ~= c and lower(c) == c or c == "ª" or c == "º" end

local function class(c, bit)
  return math.floor(C.rl_char_class(unicode.code(c)) / bit) % 2 == 1
end
function unicode.is_letter(c) return class(c, LETTER) end
function unicode.is_number(c) return class(c, NUMBER) end

-- The zeros of the scripts: nine digits follow each.
local zeros = {}
for code in ([[
30 660 6f0 7c0 966 9e6 a66 ae6 b66 be6 c66 ce6 d66 de6 e50 ed0 f20 1040 1090 17e0 1810 1946 19d0
1a80 1a90 1b50 1bb0 1c40 1c50 a620 a8d0 a900 a9d0 a9f0 aa50 abf0 ff10 104a0 10d30 11066 110f0 11136
111d0 112f0 11450 114d0 11650 116c0 11730 118e0 11950 11c50 11d50 11da0 16a60 16ac0 16b50 1e140
1e2f0 1e950 1fbf0 1d7ce 1d7d8 1d7e2 1d7ec 1d7f6
]]):gmatch "%x+" do zeros[tonumber(code, 16)] = true end

-- Digits that belong to no decimal system.
local raised = {
  { 0xb2, 0xb3 }, { 0xb9, 0xb9 }, { 0x1369, 0x1371 }, { 0x19da, 0x19da }, { 0x2070, 0x2070 },
  { 0x2074, 0x2079 }, { 0x2080, 0x2089 }, { 0x2460, 0x2468 }, { 0x2474, 0x247c },
  { 0x2488, 0x2490 }, { 0x24ea, 0x24ea }, { 0x24f5, 0x24fd }, { 0x24ff, 0x24ff },
  { 0x2776, 0x277e }, { 0x2780, 0x2788 }, { 0x278a, 0x2792 }, { 0x10a40, 0x10a43 },
  { 0x10e60, 0x10e68 }, { 0x11052, 0x1105a }, { 0x1f100, 0x1f10a }
}

--- A digit of a decimal system; those and the raised, lowered and circled ones.
function unicode.is_decimal(c)
  local code = unicode.code(c)
  for i = 0, 9 do if zeros[code - i] then return true end end
  return false
end
function unicode.is_digit(c)
  local code = unicode.code(c)
  if unicode.is_decimal(c) then return true end
  for _, range in ipairs(raised) do
    if code >= range[1] and code <= range[2] then return true end
  end
  return false
end

--- A letter, a number or "_": \w.
function unicode.is_word(c) return c == "_" or class(c, LETTER) or class(c, NUMBER) end

--- s without the characters at its ends for which drop[c] is true; left, right: which ends.
function unicode.strip(s, drop, left, right)
  drop = drop or spaces
  local from, to = 1, #s
  while left and from <= to do
    local c = s:match("^.[\128-\191]*", from)
    if not drop[c] then break end
    from = from + #c
  end
  while right and to >= from do
    local at = to
    while at > from and s:byte(at) >= 128 and s:byte(at) < 192 do at = at - 1 end
    if not drop[s:sub(at, to)] then break end
    to = at - 1
  end
  return s:sub(from, to)
end

--- s without white space at both ends.
function unicode.trim(s) return unicode.strip(s, nil, true, true) end

--- A set of characters, for strip.
function unicode.set(s)
  local t = {}
  for _, c in ipairs(unicode.chars(s)) do t[c] = true end
  return t
end

return unicode
