--- rllava bench/tokenizer.lua [PATH [MB]]: speed over generated, English-like text, in CPU time.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tokenizer = require "rllava.tokenizer"

local path, megabytes = arg[2] or "tests/golden/tokenizers/qwen_small", tonumber(arg[3] or 10)

local state = 1
local function random(n)                                -- a number from 1 to n
  state = (state * 16807) % 2147483647
  return state % n + 1
end

--- 20000 words of one to four syllables, the k-th drawn about 1 / k times as often as the first.
local function words()
  local head, tail, out = { "th", "s", "r", "st", "b", "c", "d", "pl", "m", "n", "w", "" },
    { "e", "ing", "an", "o", "er", "ion", "at", "y", "al", "it" }, {}
  for k = 1, 20000 do
    local word = ""
    for _ = 1, math.min(4, 1 + math.floor(math.log(k) / 3)) do
      word = word .. head[random(#head)] .. tail[random(#tail)]
    end
    out[k] = word
  end
  return out
end

local function english(bytes)
  local list, out, n = words(), {}, 0
  while n < bytes do
    local word = list[math.floor(math.exp(random(1e6) / 1e6 * math.log(#list)))]
    if random(12) == 1 then word = word:gsub("^%l", string.upper) end
    local mark = random(40)
    local between = mark == 1 and ".\n" or mark < 4 and ", " or " "
    if mark == 4 then between = " " .. random(2000) .. " " end
    out[#out + 1], n = word .. between, n + #word + #between
  end
  return table.concat(out)
end

local function best(body)
  local seconds = math.huge
  for _ = 1, 5 do
    local start = os.clock()
    body()
    seconds = math.min(seconds, os.clock() - start)
  end
  return seconds
end

local start = os.clock()
local t = tokenizer.load(path)
local load = os.clock() - start
local text = english(megabytes * 1e6)
local n = rl.C.rl_tokenizer_encode(t.handle, text, #text, 0, 0)
local encode = best(function() rl.C.rl_tokenizer_encode(t.handle, text, #text, 0, 0) end)
local ids = t:encode(text)
local list = ffi.new("int[?]", n, ids)
local decode = best(function() rl.C.rl_tokenizer_decode(t.handle, list, n, 0) end)
local spaceless = text:gsub("%A", ""):sub(1, 1e6)
local long = best(function() rl.C.rl_tokenizer_encode(t.handle, spaceless, #spaceless, 0, 0) end)
print(("%s: load %.0f ms; encode %.1f MB/s, decode %.1f MB/s; 1 MB without spaces %.2f s"):format(
  path, load * 1e3, #text / encode / 1e6, #text / decode / 1e6, long))
