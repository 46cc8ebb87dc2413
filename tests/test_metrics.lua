--- The numbers of a step, worked out by hand: what users look at first when nothing is learnt.
local T = require "check"
local ffi = require "ffi"
local advantage = require "rllava.advantage"
local Batch = require "rllava.batch"
local metrics = require "rllava.metrics"

local function response(overall, parts, finish, n)
  return { ids = ffi.new("int[9]"), n = n or 3, finish = finish or "stop", tokens = {},
    entropy = { 1, 2 }, result = { overall = overall, parts = parts or {} } }
end

local function group(...) return { prompt = { n = 10 }, responses = { ... } } end

local function of(groups)
  local batch = Batch.new(groups)
  batch:lay_rewards()
  batch.advantage = advantage.group_norm(batch, {})
  batch:assign("advantage", batch.advantage)
  return metrics.of_batch(batch, nil, 10)
end

T.test("groups without a signal are counted, each under one reason", function()
  local masked = group(response(1), response(0))
  for _, r in ipairs(masked.responses) do Batch.mask(r) end
  local m = of {
    group(response(1), response(0)),
    group(response(0.9, { accuracy = 1 }), response(0.9, { accuracy = 1 })),
    group(response(0.1, { accuracy = 0 }), response(0.1, { accuracy = 0 })),
    group(response(0, nil, "length"), response(0, nil, "length")),
    group(response(0.5, { a = 1, b = 0 }), response(0.5, { a = 0, b = 1 })),
    group(response(0.5), response(0.5)), group(response(0), response(0)), masked }
  local got = {}
  for i, name in ipairs { "no_spread", "all_right", "all_wrong", "all_truncated", "parts_cancel",
    "all_alike", "untrained", "zero_advantage" } do got[i] = 8 * m["group/" .. name] end
  T.equal(got, { 6, 1, 2, 1, 1, 1, 1, 7 })
end)

T.test("parts of the reward with mean and spread, lengths, the truncated share, entropy", function()
  local m = of { group(response(1, { accuracy = 1, format = 1 }),
    response(0, { accuracy = 0, format = 1 }, "length", 5)) }
  T.near({ m["reward/accuracy"], m["reward/accuracy/std"], m["reward/format"],
    m["reward/format/std"] }, { 0.5, math.sqrt(0.5), 1, 0 }, 1e-12)
  T.equal({ m["response_length/mean"], m["response_length/max"], m["response_length/min"],
    m["response_length/clip_ratio"], m["response_length/p95"], m["actor/entropy"] },
    { 4, 5, 3, 0.5, 3, 1.5 })
  T.equal({ m["prompt_length/mean"], m["prompt_length/clip_ratio"], m["critic/score/mean"] },
    { 10, 1, 0.5 })
end)

T.test("seconds a token: of sampling by response tokens, of the rest by all", function()
  local batch = Batch.new { group(response(1), response(0)) }
  batch:lay_rewards()
  local clock = { laps = { gen = 3, update_actor = 4 }, total = function() return 8 end }
  local m = metrics.of_batch(batch, clock)
  T.near({ m["timing_per_token_ms/gen"], m["timing_per_token_ms/update_actor"],
    m["perf/time_per_step"], m["perf/throughput"] }, { 500, 250, 8, 2 }, 1e-12)
  assert(m["perf/cpu_memory_used_gb"] > 0)
end)

T.test("a loss mask with holes: credit reaches the trained tokens before a hole", function()
  local r = response(1, nil, nil, 5)
  r.mask = ffi.new("unsigned char[5]", 1, 1, 0, 0, 1)
  local batch = Batch.new { group(r) }
  batch:lay_rewards()
  T.equal({ batch.rewards, batch.lengths }, { { 0, 0, 1 }, { 3 } })
  T.near(advantage.returns(batch, 0.5), { 0.25, 0.5, 1 }, 1e-12)
  batch.values = { 0, 0, 0 }
  T.near(select(2, advantage.gae(batch, { gamma = 0.5, lam = 1 })), { 0.25, 0.5, 1 }, 1e-12)
end)
