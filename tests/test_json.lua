local T = require "check"
local json = require "rllava.json"

T.test("json keeps key order, null, empty arrays and big integers", function()
  local text = '{"b":1,"a":[null,true,-2.5,[]],"n":12345678901234567890,"o":{}}'
  T.equal(json.encode(json.decode(text)), text)
  T.equal(json.keys(json.decode(text)), { "b", "a", "n", "o" })
end)

T.test("json keeps 1.0 apart from 1 where asked", function()
  T.equal(tostring(json.decode("[1.0, 1]", "x", true)[1]), "1.0")
  T.equal(json.decode "[1.0]" [1], 1)
end)

T.test("json resolves escapes, pairs of surrogates and lone ones", function()
  T.equal(json.decode [["\u00e9\ud83d\ude00\ud800x\n"]], "é😀\239\191\189x\n")
end)

for text, message in pairs {
  ['{"a":1,}'] = "f.json:1:8: expected a string, found '}'",
  ["[1 2]"] = "f.json:1:4: expected ',' or ']', found '2'",
  ["[01]"] = "f.json:1:3: expected ',' or ']', found '1'",
  ['\n"a'] = "f.json:2:3: expected '\"', found the end",
  ["nul"] = "f.json:1:1: expected a value, found 'n'",
  [("["):rep(600)] = "at most 512 levels",
  [""] = "expected a value, found the end",
} do
  T.test("json refuses " .. text:sub(1, 9), function()
    T.raises(message, function() json.decode(text, "f.json") end)
  end)
end
