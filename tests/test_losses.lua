--- Losses without a reference to compare with, and settings that the references lack: worked out by
--- hand.
local T = require "check"
local tensor = require "rllava.tensor"
local algorithm = require "rllava.algorithm"
local advantage = require "rllava.advantage"
local loss = require "rllava.loss"
local score = require "rllava.score"
local Part = require "rllava.part"

--- Two responses of 2 and 1 tokens; ratios e^0.5, e^-1, 1; advantages 1, -2, 0.5.
local function part(fields, totals)
  local f = { logp = tensor.tensor { -1, -2, -0.5 }, old_logp = tensor.tensor { -1.5, -1, -0.5 },
    advantage = tensor.tensor { 1, -2, 0.5 }, entropy = tensor.tensor { 0, 0, 0 } }
  for k, v in pairs(fields or {}) do f[k] = tensor.tensor(v) end
  f.logp:require_grad()
  return Part.new({ 2, 1 }, f, totals)
end

local function run(name, options, fields, totals)
  local algo, b = algorithm.load(name), part(fields, totals)
  local cfg = {}
  for k, v in pairs(algo.defaults) do cfg[k] = v end
  for k, v in pairs(options or {}) do cfg[k] = v end
  local value, metrics = loss.total(algo, b, cfg)
  value:backward()
  return b:value(value), b.logp:grad():totable(), b, metrics
end

local e = math.exp

T.test("CISPO clips the weight and keeps every token's gradient", function()
  local value, grad = run("cispo", { clip_low = 0.5, clip_high = 0.2 })
  local w = { 1.2, 0.5, 1 }                               -- e^0.5 and e^-1 are held
  T.near(value, (-1 * -1 * w[1] + 2 * -2 * w[2] - 0.5 * -0.5 * w[3]) / 3, 1e-6)
  T.near(grad, { -1 * w[1] / 3, 2 * w[2] / 3, -0.5 * w[3] / 3 }, 1e-6)
end)

T.test("SAPO's gate is steeper for negative advantages", function()
  local value, grad = run("sapo", { agg_mode = "token-mean", tau_pos = 1, tau_neg = 2 })
  local function gate(r, tau) return 4 / tau / (1 + e(-tau * (r - 1))) end
  local function slope(r, tau)
    local s = 1 / (1 + e(-tau * (r - 1)))
    return 4 * s * (1 - s) * r
  end
  T.near(value, (-gate(e(0.5), 1) + 2 * gate(e(-1), 2) - 0.5 * gate(1, 1)) / 3, 1e-6)
  T.near(grad, { -slope(e(0.5), 1) / 3, 2 * slope(e(-1), 2) / 3, -0.5 * slope(1, 1) / 3 }, 1e-6)
end)

T.test("GSPO-token gives each token its advantage and its sequence's ratio", function()
  local value, grad = run("gspo_token", { clip_low = 0.9, clip_high = 9 })
  local s = e((0.5 - 1) / 2)                              -- of the first response; 1 of the second
  T.near(value, (-s + 2 * s - 0.5) / 3, 1e-6)
  T.near(grad, { -s / 3, 2 * s / 3, -0.5 / 3 }, 1e-6)
end)

T.test("the dual clip bounds the loss of a negative advantage without cancelling", function()
  local value, grad = run("grpo", { clip_c = 3 },
    { logp = { -1, 17, -0.5 }, old_logp = { -1, -2, -0.5 } })
  T.near(value, (-1 + 2 * 3 - 0.5) / 3, 1e-6)
  T.near(grad, { -1 / 3, 0, -0.5 / 3 }, 1e-6)
end)

T.test("weights against another sampler: of a token, a sequence, capped, in every loss", function()
  local rollout = { rollout_logp = { -1.6, -1.5, -0.5 } }  -- old - rollout: 0.1, 0.5, 0
  local function weighted(options)
    options.remove_clip = true
    return (run("grpo", options, rollout))
  end
  local l = { -e(0.5), 2 * e(-1), -0.5 }
  local function mean(w) return (l[1] * w[1] + l[2] * w[2] + l[3] * w[3]) / 3 end
  T.near(weighted { rollout_is = "token", rollout_is_threshold = 1.5 }, mean { e(0.1), 1.5, 1 },
    1e-6)
  T.near(weighted { tis_imp_ratio_cap = 1.2 }, mean { e(0.1), 1.2, 1 }, 1e-6)
  T.near(weighted { rollout_is = "sequence", rollout_is_threshold = 9 }, mean { e(0.6), e(0.6), 1 },
    1e-6)
  T.near(weighted { rollout_is = "token", rollout_is_mode = "mask", rollout_is_threshold = 1.5 },
    mean { e(0.1), 0, 1 }, 1e-6)
  T.near(weighted { rollout_is = "token", rollout_is_mode = "mask", rollout_is_threshold = 9,
    rollout_is_lower = 1.01 }, mean { e(0.1), e(0.5), 0 }, 1e-6)
  T.near(weighted { rollout_is = "sequence", rollout_is_mode = "mask", rollout_is_threshold = 1.5 },
    mean { 0, 0, 1 }, 1e-6)
  local value = run("gpg", { rollout_is = "token", rollout_is_threshold = 9 }, rollout)
  T.near(value, (1 * e(0.1) - 4 * e(0.5) + 0.25) / 3, 1e-6)
  T.raises("expected the sampler's log-probs", function() run("grpo", { rollout_is = "token" }) end)
end)

T.test("an unknown aggregation is refused by name", function()
  T.raises("agg_mode: expected token-mean", function() run("grpo", { agg_mode = "mean" }) end)
end)

--- ---- advantages ----

local function batch(rewards, group, lengths)
  return { lengths = lengths or { 1, 1, 1, 1 }, group = group or { 1, 1, 1, 1 }, rewards = rewards }
end

T.test("GPG's alpha counts right answers, or responses in groups with a signal", function()
  local gpg = algorithm.load "gpg"
  T.near(gpg.advantage(batch { 1, 1, 0, 0 }, { gpg_alpha = "nonzero_score" }), { 1, 1, -1, -1 },
    1e-12)
  T.near(gpg.advantage(batch { 1, 1, 0, 0 }, { gpg_alpha = "valid_group" }),
    { 0.5, 0.5, -0.5, -0.5 }, 1e-12)
  T.near(gpg.advantage(batch({ 1, 0, 1, 1 }, { 1, 1, 2, 2 }), { gpg_alpha = "valid_group" }),
    { 1, -1, 0, 0 }, 1e-12)
end)

T.test("GDPO normalises each part of a reward by itself", function()
  local b = batch { 0, 0, 0, 0 }
  b.named = { { "accuracy", 1, { 1, 0, 0, 1 } }, { "format", 0.5, { 10, 10, 10, 40 } } }
  local a = advantage.normalise({ 1, 0, 0, 1 }, 4)
  local f = advantage.normalise({ 10, 10, 10, 40 }, 4)
  local sum = {}
  for i = 1, 4 do sum[i] = a[i] + 0.5 * f[i] end
  T.near(algorithm.load("gdpo").advantage(b, {}), (advantage.whiten(sum)), 1e-12)
end)

T.test("pass@k needs two responses", function()
  T.raises("expected at least 2 responses to each prompt, got 1", function()
    algorithm.load("passk").advantage(batch({ 1 }, { 1 }, { 1 }), {})
  end)
end)

T.test("equal rewards give exactly no advantage, whatever they are", function()
  T.equal(advantage.group_norm(batch { 0.1, 0.1, 0.1, 0.1 }, {}), { 0, 0, 0, 0 })
end)

T.test("groups are kept where their rewards differ", function()
  T.equal(score.filter({ 1, 1, 0, 1 }, { 1, 1, 2, 2 }, { filter_mode = "variance" }), { 3, 4 })
  T.raises("filter_mode: expected mean or variance, got median", function()
    score.filter({}, {}, { filter_mode = "median" })
  end)
end)

T.test("SRFT: copied tokens held to bounds, likely ones left out, unknown bases refused", function()
  local algo, cfg = algorithm.load "srft", { agg_mode = "token-mean" }
  for k, v in pairs(algo.defaults) do cfg[k] = cfg[k] or v end
  cfg.off_policy_reshape = "no_reshape"
  local function value(options)
    local all, ones = {}, { 1, 1, 1 }
    for k, v in pairs(cfg) do all[k] = v end
    for k, v in pairs(options) do all[k] = v end
    local none, many = { 0, 0, 0 }, 1e30            -- so many that imitation vanishes
    local fields = { prefix = ones, own = none, demo = ones, free = none, score = ones }
    local b = part(fields, { tokens = 3, responses = 2, prefix = { tokens = 3 },
      own = { tokens = 0 }, demo = { tokens = many } })
    return b:value((algo.loss(b, all)))
  end
  local p = { e(-1), e(-2), e(-0.5) }                     -- advantages 1, -2, 0.5
  T.near(value {}, (-p[1] + 2 * p[2] - 0.5 * p[3]) / 3, 1e-6)
  T.near(value { off_policy_max_clip = 0.4 }, (-p[1] + 2 * p[2] - 0.5 * 0.4) / 3, 1e-6)
  T.near(value { off_policy_min_clip = 0.2 }, (-p[1] + 2 * 0.2 - 0.5 * p[3]) / 3, 1e-6)
  T.near(value { all_max_clip = 0.5 }, (-p[1] + 2 * p[2]) / 3, 1e-6)
  T.raises("srft_type: expected paper, exp, minus_old or classic_rl, got best", function()
    value { srft_type = "best" }
  end)
end)

T.test("CHORD's weight rises, then falls to its valley", function()
  local chord = algorithm.load "chord"
  local cfg = { mu_warmup = 200, mu_decay = 400, mu_peak = 0.5, mu_valley = 0.02 }
  T.near({ chord.mu(0, cfg), chord.mu(100, cfg), chord.mu(200, cfg), chord.mu(400, cfg),
    chord.mu(600, cfg), chord.mu(9e9, cfg) },
    { 0, 0.25, 0.5, 0.26, 0.02, 0.02 }, 1e-12)
end)
