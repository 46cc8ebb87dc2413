--- The arithmetic questions and the reward that reads the last number.
local T = require "check"
local data = require "rllava.data"

T.test("arithmetic: answers are right, the test's pairs are not among the training's", function()
  local seen, tests = {}, 0
  for _, split in ipairs { "train", "test" } do
    local rows = data.open("arithmetic@" .. split)
    for i = 1, rows.n do
      local row = rows:get(i)
      local question = row.prompt[#row.prompt].content
      local a, sign, b = question:match "^What is (%d+) ([+-]) (%d+)%?$"
      T.equal(row.answer, tostring(sign == "+" and a + b or a - b))
      if split == "train" then seen[question] = true
      else
        assert(not seen[question], question)
        tests = tests + 1
      end
    end
  end
  T.equal(tests, 120)
  T.equal(data.open("arithmetic@test"):get(7).prompt[6].content,
    data.open("arithmetic@test"):get(7).prompt[6].content)
  T.raises("expected a split, one of train, test, got 'val'", function()
    data.open "arithmetic@val"
  end)
end)

T.test("last_number: the last number of the response decides", function()
  local chunk = require("rllava.recipe").chunk "rewards/last_number.lua"
  local score = chunk()
  local cases = { { "8 + 7 = 15", "15", 1 }, { "8 + 7 = 15, so 8", "15", 0 },
    { "It is 1,234.", "1234", 1 }, { "-5", "5", 0 }, { "9 - 4 = -5", "-5", 1 },
    { "no idea", "5", 0 }, { "2.50", "2.5", 1 }, { "15", "word", 0 } }
  for _, c in ipairs(cases) do T.equal({ c[1], (score(c[1], c[2])) }, { c[1], c[3] }) end
  T.equal(select(2, score("no idea", "5")), "no number")
end)
