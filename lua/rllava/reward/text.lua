--- Text as rewards see it: UTF-8 characters, white space and letter case by the rules of Unicode.
--- Every function is linear in its input; bytes that are no UTF-8 count as characters of their own.
local text = {}
local byte, char, find, sub = string.byte, string.char, string.find, string.sub

--- The character at byte i of s -> its code point, the byte after it.
function text.decode(s, i)
  local a = byte(s, i)
  if a < 0xC2 or a > 0xF4 then return a < 0x80 and a or 0xFFFD, i + 1 end
  local n = a < 0xE0 and 1 or a < 0xF0 and 2 or 3
  local code = a % 2 ^ (6 - n)
  for k = i + 1, i + n do
    local b = byte(s, k)
    if not b or b < 0x80 or b > 0xBF then return 0xFFFD, i + 1 end
    code = code * 64 + b - 0x80
  end
  return code, i + n + 1
end
local decode = text.decode

--- A code point -> its UTF-8 text.
function text.encode(c)
  if c < 0x80 then return char(c) end
  local tail, lead = "", 0x40
  while c >= lead do
    tail, c, lead = char(0x80 + c % 64) .. tail, math.floor(c / 64), lead / 2
  end
  return char(256 - 2 * lead + c) .. tail
end

--- for i, next, code in text.each(s): where the character starts, where it ends, its code point.
function text.each(s)
  local i = 1
  return function()
    if i > #s then return end
    local at, code = i, nil
    code, i = decode(s, i)
    return at, i, code
  end
end

--- Is the code point white space?
function text.is_space(c)
  if c < 0x80 then return c == 32 or c >= 9 and c <= 13 or c >= 28 and c <= 31 end
  return c == 0x85 or c == 0xA0 or c == 0x1680 or c >= 0x2000 and c <= 0x200A or c == 0x2028
    or c == 0x2029 or c == 0x202F or c == 0x205F or c == 0x3000
end
local is_space = text.is_space

--- The first byte from i on that is not white space.
function text.skip_space(s, i)
  while i <= #s do
    local code, after = decode(s, i)
    if not is_space(code) then break end
    i = after
  end
  return i
end

--- The byte at which the character that ends at byte j (the last one) begins.
function text.rfind_character(s, j)
  j = j or #s
  local i = j
  while i > 1 and j - i < 3 and byte(s, i) >= 0x80 and byte(s, i) < 0xC0 do i = i - 1 end
  return i
end

--- Where the white space that ends at byte j begins: the last byte before it.
function text.skip_back(s, j)
  while j >= 1 do
    local i = text.rfind_character(s, j)
    local code, after = decode(s, i)
    if after ~= j + 1 or not is_space(code) then break end
    j = i - 1
  end
  return j
end

--- s without the white space at its ends.
function text.strip(s)
  local i = text.skip_space(s, 1)
  return i > #s and "" or sub(s, i, text.skip_back(s, #s))
end

--- The words between white space.
function text.words(s)
  local words, i = {}, text.skip_space(s, 1)
  while i <= #s do
    local j = i
    while j <= #s do
      local code, after = decode(s, j)
      if is_space(code) then break end
      j = after
    end
    words[#words + 1] = sub(s, i, j - 1)
    i = text.skip_space(s, j)
  end
  return words
end

--- Every occurrence of a plain text -> another one.
function text.replace(s, old, new)
  local at = find(s, old, 1, true)
  if not at then return s end
  local out, i = {}, 1
  while at do
    out[#out + 1] = sub(s, i, at - 1)
    i = at + #old
    at = find(s, old, i, true)
  end
  out[#out + 1] = sub(s, i)
  return table.concat(out, new)
end

--- s cut at every occurrence of a plain text, as a list.
function text.split(s, mark)
  local out, i = {}, 1
  while true do
    local at = find(s, mark, i, true)
    if not at then break end
    out[#out + 1] = sub(s, i, at - 1)
    i = at + #mark
  end
  out[#out + 1] = sub(s, i)
  return out
end

--- How often a plain text occurs, without overlap.
function text.count(s, mark)
  local n, i = 0, 1
  while true do
    local at = find(s, mark, i, true)
    if not at then return n end
    n, i = n + 1, at + #mark
  end
end

function text.has(s, mark) return find(s, mark, 1, true) ~= nil end
function text.starts(s, mark) return sub(s, 1, #mark) == mark end
function text.ends(s, mark) return mark == "" or sub(s, -#mark) == mark end

--- The last occurrence of a plain text, or nil.
function text.rfind(s, mark)
  local at, last = find(s, mark, 1, true), nil
  while at do last, at = at, find(s, mark, at + 1, true) end
  return last
end

--- The number of characters.
function text.length(s)
  local n = 0
  for _ in text.each(s) do n = n + 1 end
  return n
end

--- The lower-case code point: Latin, Greek, Cyrillic, Armenian and full-width letters.
local function lower_code(c)
  if c >= 0xC0 and c <= 0xDE and c ~= 0xD7 or c >= 0x391 and c <= 0x3AB and c ~= 0x3A2
    or c >= 0x410 and c <= 0x42F or c >= 0xFF21 and c <= 0xFF3A then return c + 32 end
  if c >= 0x100 and c <= 0x137 or c >= 0x14A and c <= 0x177 or c >= 0x460 and c <= 0x481
    or c >= 0x48A and c <= 0x4BF or c >= 0x4D0 and c <= 0x52F or c >= 0x1E00 and c <= 0x1E95
    or c >= 0x1EA0 and c <= 0x1EFF or c >= 0x3D8 and c <= 0x3EF then
    return c ~= 0x130 and c % 2 == 0 and c + 1 or c
  end
  if c >= 0x139 and c <= 0x148 or c >= 0x179 and c <= 0x17E then
    return c % 2 == 1 and c + 1 or c
  end
  if c >= 0x400 and c <= 0x40F then return c + 80 end
  if c >= 0x531 and c <= 0x556 then return c + 48 end
  if c == 0x178 then return 0xFF end
  if c == 0x386 then return 0x3AC end
  if c >= 0x388 and c <= 0x38A then return c + 37 end
  return c
end

--- s in lower case.
function text.lower(s)
  if not find(s, "[\128-\255]") then return (s:lower()) end
  local out = {}
  for i, after, c in text.each(s) do
    local small = c < 0x80 and c >= 65 and c <= 90 and c + 32 or lower_code(c)
    out[#out + 1] = c == 0x130 and "i\204\135" or small == c and sub(s, i, after - 1)
      or text.encode(small)
  end
  return table.concat(out)
end

--- First and last code points of the letters beyond ASCII, roughly as Unicode's category L.
local letters = { 0xAA, 0xAA, 0xB5, 0xB5, 0xBA, 0xBA, 0xC0, 0xD6, 0xD8, 0xF6, 0xF8, 0x2C1, 0x370,
  0x373, 0x376, 0x377, 0x37B, 0x37D, 0x386, 0x386, 0x388, 0x3F5, 0x3F7, 0x481, 0x48A, 0x556, 0x561,
  0x587, 0x5D0, 0x5EA, 0x620, 0x64A, 0x671, 0x6D3, 0x904, 0x939, 0xE01, 0xE30, 0x10A0, 0x10FA,
  0x1100, 0x11FF, 0x1E00, 0x1FBC, 0x2071, 0x2071, 0x207F, 0x207F, 0x2090, 0x209C, 0x2102, 0x2102,
  0x210A, 0x2113, 0x2115, 0x2115, 0x2119, 0x211D, 0x2124, 0x2124, 0x2126, 0x2126, 0x2128, 0x2128,
  0x212A, 0x212D, 0x212F, 0x2139, 0x213C, 0x213F, 0x2145, 0x2149, 0x2C00, 0x2DDE, 0x3005, 0x3006,
  0x3041, 0x3096, 0x30A1, 0x30FA, 0x3105, 0x318E, 0x3400, 0x4DBF, 0x4E00, 0x9FFF, 0xA000, 0xA48C,
  0xAC00, 0xD7A3, 0xF900, 0xFAFF, 0xFF21, 0xFF3A, 0xFF41, 0xFF5A, 0xFF66, 0xFFDC, 0x1D400, 0x1D7CB,
  0x20000, 0x323AF }

--- Is the code point a letter?
function text.is_letter(c)
  if c < 0x80 then return c >= 65 and c <= 90 or c >= 97 and c <= 122 end
  for i = 1, #letters, 2 do
    if c <= letters[i + 1] then return c >= letters[i] end
  end
  return false
end

--- Is the code point part of a word: a letter, a digit or the underscore?
function text.is_word(c)
  return c >= 48 and c <= 57 or c == 95 or text.is_letter(c) or c >= 0xFF10 and c <= 0xFF19
    or c >= 0x660 and c <= 0x669 or c == 0xB2 or c == 0xB3 or c == 0xB9 or c >= 0xBC and c <= 0xBE
end

return text
