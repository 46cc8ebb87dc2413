--- wemath-tiny: the drawn knowledge questions as a data set.  @train; @test: new pictures;
--- @test_numbers: combinations of numbers that training never sees; @demonstrations: questions, and
--- in every fifth row an equation of equations-tiny, with an annotator's response, the last fifth
--- of them of mixed quality.  The tests' answers carry We-Math's ID and key: what belongs together.
local json = require "rllava.json"
local recipe_file = require "rllava.recipe_file"
local equations = recipe_file "data/equations-tiny.lua"
local wemath = recipe_file "data/wemath.lua"
local random = recipe_file "data/random.lua"

local sizes = { train = 125 * wemath.cycle, test = 25 * wemath.cycle,
  test_numbers = 25 * wemath.cycle, demonstrations = 32 * 1200 }

local function row(question, answer, response)
  return { prompt = question.text, answer = answer, type = question.family, key = question.key,
    response = response, target = not response and wemath.demonstration(question) or nil,
    images = { { rgb = question.rgb, width = wemath.size, height = wemath.size } } }
end

local _, equation = equations.rows "demonstrations"

local function demonstration(i)
  if i % 5 == 0 then return equation(i / 5) end
  local question = wemath.question(11, i - math.floor(i / 5))
  return row(question, question.answer, wemath.demonstration(question, random.new("wemath demo", i),
    { mixed = i > sizes.demonstrations * 0.8 }))
end

--- split -> the number of rows, and the function that draws row i (from 1); nil: no such split.
local function rows(split)
  if split == "demonstrations" then return sizes[split], demonstration end
  if not sizes[split] then return nil end
  return sizes[split], function(i)
    local question = wemath.question(0, i, { split = split })
    local answer = question.answer
    if split ~= "train" then
      local id, key = question.problem, question.key
      answer = json.encode(json.object { { "answer", answer }, { "ID", id }, { "key", key } })
    end
    return row(question, answer)
  end
end

return { splits = { "train", "test", "test_numbers", "demonstrations" }, rows = rows }
