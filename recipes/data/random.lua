--- Random integers that are the same in every process: a counter hashed with 32-bit arithmetic.
local bit = require "bit"

local Random = {}
Random.__index = Random

local function multiply(a, b)                       -- low 32 bits of a product, exactly
  local high, low = bit.rshift(a, 16), bit.band(a, 0xffff)
  return bit.tobit(bit.lshift(bit.tobit(high * b % 2 ^ 32), 16) + low * b % 2 ^ 32)
end

--- 32 bits from 32 bits (the finaliser of MurmurHash3).
local function mix(h)
  h = bit.bxor(h, bit.rshift(h, 16))
  h = multiply(h, 0x85ebca6b)
  h = bit.bxor(h, bit.rshift(h, 13))
  h = multiply(h, 0xc2b2ae35)
  return bit.bxor(h, bit.rshift(h, 16))
end

--- Words (numbers below 2^32 or strings) to 32 bits.
local function hash(...)
  local h = 0x9e3779b9
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if type(v) == "string" then
      for k = 1, #v do h = mix(bit.bxor(bit.tobit(h * 31 % 2 ^ 32), v:byte(k))) end
    else
      h = mix(bit.bxor(bit.tobit(h * 31 % 2 ^ 32), bit.tobit(v)))
    end
  end
  return h % 2 ^ 32
end

--- A stream named by words: random("geoqa", seed, index).
local function new(...) return setmetatable({ key = hash(...), count = 0 }, Random) end

--- An integer from low to high, both included.
function Random:int(low, high)
  self.count = self.count + 1
  local place = bit.tobit(self.count * 0x9e3779b1 % 2 ^ 32)
  return low + mix(bit.bxor(bit.tobit(self.key), place)) % 2 ^ 32 % (high - low + 1)
end

--- True in percent of 100 cases.
function Random:chance(percent) return self:int(1, 100) <= percent end
function Random:pick(list) return list[self:int(1, #list)] end

--- One of list by its weights (whole numbers): entries { ..., weight = w }.
function Random:weighted(list)
  local all = 0
  for _, e in ipairs(list) do all = all + e.weight end
  local at = self:int(1, all)
  for _, e in ipairs(list) do
    at = at - e.weight
    if at <= 0 then return e end
  end
end

return { new = new, hash = hash }
