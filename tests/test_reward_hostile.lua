--- Whatever a response is, every reward ends, and quickly enough for this file to be run at all.
local T = require "check"
local rewards = require "rewards"

local pieces = { "(", "[", "{", "\\", "\\boxed{", "<think>", "</think>", "<answer>", "<answer>\n",
  "1 1+", "1,000,", "\255", "\226\136", "(1,", "\\frac{", "\\sqrt", "x^", "- ", "'", "<problem>{}}",
  "(1) ", "a or ", "x=", "|", "√", "{'Position': [1,2,3,4], 'Confidence': 0.5}, ", "feet ",
  "\227\128\128", "\\begin{pmatrix}", "A ", "\\pm ", "$" }

--- A million bytes of one thing after another, and shorter ones, which are parsed.
local texts = { "<think></think><answer>" .. ("(1,"):rep(3e5) .. "</answer>",
  "\\boxed{" .. ("9^"):rep(900) .. "9}" }
for _, s in ipairs(pieces) do
  local short = s:rep(math.floor(1900 / #s))
  texts[#texts + 1] = s:rep(math.floor(1e6 / #s))
  texts[#texts + 1] = "<think></think><answer>" .. short .. "</answer>\\boxed{"
    .. short:gsub("[{}]", "") .. "}"
end

--- Rewards and a truth that sends responses down their longest path.
local all = {
  { "math", "x^2+1" }, { "math", "x^2+1", "equal" }, { "r1v", "(1,2)" },
  { "r1v", "(1,2)", "equal" }, { "format", "" }, { "geoqa", "42" }, { "counting", "42" },
  { "grounding", "[1,2,3,4]" },
  { "ovd", "<answer>[{'Position': [1,2,3,4], 'Confidence': 1}]</answer>" }, { "wemath", "8, 6, 7" },
  { "wemath", "A" }, { "wemath", "5 or 6", "equal" }, { "agent_search", "<search>a b</search>" },
  { "agent_code", "<problem>{'a'}</problem>" }, { "agent_search_agentic", "a" },
  { "agent_code_agentic", "a" }, { "deepeyes_visual", "a" },
}

for _, one in ipairs(all) do
  local name, truth, grader = one[1], one[2], one[3]
  T.test(("hostile responses end, with finite scores: %s %s"):format(name, grader or ""), function()
    local f = rewards.open(name, { grader = grader })
    for _, s in ipairs(texts) do
      for part, value in pairs(f(s, truth, {})) do
        assert(value - value == 0, ("%s: %s for %q"):format(part, value, s:sub(1, 20)))
      end
    end
  end)
end

T.test("a hostile truth ends too", function()
  for _, s in ipairs(texts) do
    for _, name in ipairs { "math", "r1v", "counting", "wemath", "agent_code", "ovd",
      "grounding" } do
      rewards.open(name)("<think>a</think><answer>1</answer>\\boxed{1}", s, {})
    end
  end
end)
