--- arithmetic: sums and differences of numbers up to 20, asked in a chat that shows two answers
--- first.  @train; @test: pairs of numbers that training never sees.
local recipe_file = require "rllava.recipe_file"
local random = recipe_file "data/random.lua"

local sizes = { train = 4000, test = 120 }

--- The first number, the sign, the second number, the result.
local function problem(r)
  local a, b = r:int(1, 20), r:int(1, 20)
  if r:chance(50) then return a, "+", b, a + b end
  return math.max(a, b), "-", math.min(a, b), math.abs(a - b)
end

--- A sixth of all pairs is kept for the test.
local function held_out(a, sign, b) return random.hash("arithmetic", sign, a, b) % 6 == 0 end

local function messages(question)
  return {
    { role = "system", content = "Answer with an equation." },
    { role = "user", content = "What is 2 + 3?" }, { role = "assistant", content = "2 + 3 = 5" },
    { role = "user", content = "What is 19 - 7?" }, { role = "assistant", content = "19 - 7 = 12" },
    { role = "user", content = question },
  }
end

--- split -> the number of rows, and the function that draws row i (from 1); nil: no such split.
local function rows(split)
  if not sizes[split] then return nil end
  return sizes[split], function(i)
    local r = random.new("arithmetic", split, i)
    local a, sign, b, result
    repeat a, sign, b, result = problem(r) until held_out(a, sign, b) == (split == "test")
    local question = ("What is %d %s %d?"):format(a, sign, b)
    return { prompt = messages(question), answer = tostring(result) }
  end
end

return { splits = { "train", "test" }, rows = rows }
