--- A step's batch, by hand: failed rewards, filtering, length, KL in the reward.
local T = require "check"
local Batch = require "rllava.batch"
local guide = require "rllava.guide"

--- A response with a reward (or an error) and log-probs.
local function response(overall, more)
  local r = { n = 2, tokens = { old_logp = { -1, -2 }, ref_logp = { -1, -3 } },
    result = type(overall) == "string" and { error = overall }
      or { overall = overall, parts = {} } }
  for k, v in pairs(more or {}) do r[k] = v end
  return r
end

local function batch_of(...)
  local groups = {}
  for i, rewards in ipairs { ... } do
    groups[i] = { responses = {} }
    for k, v in ipairs(rewards) do groups[i].responses[k] = response(v) end
  end
  return Batch.new(groups)
end

T.test("a failed reward leaves the batch with its response, and is counted once", function()
  local b = batch_of({ 1, "broken" }, { "broken", "broken" })
  b:score "drop"
  b:score "drop"
  T.equal({ b.scores, b.failed, #b.groups }, { { 1 }, 3, 1 })
end)

T.test("a greedy response whose reward failed is no baseline of 0: its group leaves too", function()
  local b = batch_of({ 1, 0 }, { 1, 0 })
  b.groups[1].greedy, b.groups[2].greedy = { response "broken" }, { response(0.5) }
  b:score "drop"
  T.equal({ #b.groups, b.baseline, b.failed }, { 1, { 0.5, 0.5 }, 1 })
  b = batch_of { 1, 0 }
  b.groups[1].greedy = { response "broken" }
  T.raises("broken", function() b:score "raise" end)
end)

T.test("groups are filtered by mean or by difference, demonstrations aside", function()
  local b = batch_of({ 1, 1 }, { 1, 0 }, { 0.5, 0.5 })
  b:score()
  local function kept(mode)
    local out = {}
    local cfg = { filter_mode = mode, filter_key = "overall", filter_low = 0.01,
      filter_high = 0.99 }
    for i, g in ipairs(b:worth(cfg)) do
      for k, of in ipairs(b.groups) do if of == g then out[i] = k end end
    end
    return out
  end
  T.equal({ kept "mean", kept "variance" }, { { 2, 3 }, { 2 } })
  table.insert(b.groups[1].responses, response(0, { beside = true }))
  b:score()
  T.equal(kept "mean", { 2, 3 })
end)

T.test("KL in the reward: each token pays, sums follow, the controller hears of it", function()
  local b = batch_of { 1, 0 }
  b:score()
  local heard
  local controller = { value = 0.1, update = function(now, n) heard = { now, n } end }
  b:penalise_kl("k1", controller, require("rllava.dist").alone)
  T.near(b.rewards, { 0, 1 - 0.1, 0, -0.1 }, 1e-7)
  T.near(b.sums, { 0.9, -0.1 }, 1e-7)
  T.near(heard, { 0.5, 2 }, 1e-7)
end)

T.test("a target ends at its first end token, and gets one where it has none", function()
  local p = { tokenizer = { encode = function(_, text)
    local ids = {}
    for c in text:gmatch "." do ids[#ids + 1] = c:byte() end
    return ids
  end }, stop_ids = function() return { 46, 33 } end }                  -- "." and "!"
  T.equal(guide.target(p, { target = "ab" }, "target"), { 97, 98, 46 })
  T.equal(guide.target(p, { target = "a!b." }, "target"), { 97, 33 })
end)
