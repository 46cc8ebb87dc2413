--- Updates that several ranks divide, and loss_scale "micro": what depends on the layout, and what
--- does not.
local T = require "check"
local ranks = require "ranks"
local tiny = require "tiny"
local algorithm = require "rllava.algorithm"
local Batch = require "rllava.batch"
local dist = require "rllava.dist"
local Updater = require "rllava.update"

--- ---- advantages ----

--- Groups of scored responses, with all that an algorithm may ask for.
local function scored(random, count)
  local groups = {}
  for i = 1, count do
    local g = { responses = {}, greedy = { { result = { overall = random(9) / 8 } } } }
    for k = 1, 2 + random(3) do
      local r = tiny.response(random, 1 + random(6))
      local right = random(2)
      r.result = { overall = right + random(3) / 10,
        parts = { accuracy = right, format = random(5) / 4 } }
      r.tokens = { old_logp = {}, teacher_logp = {}, values = {} }
      for t = 1, r.n do
        for _, field in ipairs { "old_logp", "teacher_logp", "values" } do
          r.tokens[field][t] = -random(90) / 30
        end
      end
      g.responses[k] = r
    end
    groups[i] = g
  end
  return groups
end

local function batch_of(groups)
  local batch = Batch.new(groups)
  batch:lay_rewards()
  batch.values = batch:lists "values"
  if #batch.responses > 0 then batch:name_parts() end
  return batch
end

for _, name in ipairs(algorithm.names()) do
  local algo = algorithm.load(name)
  if algo.advantage then
    T.test("advantages of " .. name .. " are those of all ranks' responses together", function()
      local random = tiny.random(31)
      for trial = 1, 5 do
        local cfg = { gamma = 0.9, lam = 0.95, norm_by_std = trial % 2 == 0,
          gpg_alpha = "nonzero_score" }
        local groups, count = scored(random, 5), 1 + trial % 3
        local want, want_returns = algo.advantage(batch_of(groups), cfg)
        local got, returns = {}, {}
        local each = ranks.run(count, function(handle, k)
          local own = {}
          for i, g in ipairs(groups) do
            if math.ceil(i * count / #groups) == k then own[#own + 1] = g end
          end
          return { dist.advantage(handle, algo, batch_of(own), cfg) }
        end)
        for _, e in ipairs(each) do
          for _, v in ipairs(e[1]) do got[#got + 1] = v end
          for _, v in ipairs(e[2] or {}) do returns[#returns + 1] = v end
        end
        T.near(got, want, 1e-12)
        T.near(returns, want_returns or {}, 1e-12)
      end
    end)
  end
end

T.test("the controller of KL in the reward hears of all ranks' responses", function()
  local random = tiny.random(36)
  local groups, heard = scored(random, 3), {}
  local function penalise(own, handle)
    local batch, controller = batch_of(own), { value = 0.1 }
    batch:assign("ref_logp", batch:lists "teacher_logp")
    function controller.update(kl, n) heard[#heard + 1] = { kl, n } end
    batch:penalise_kl("k1", controller, handle)
    return batch.rewards
  end
  local want = penalise(groups, dist.alone)
  local got = ranks.run(2, function(handle, k)
    return penalise(k == 1 and { groups[1] } or { groups[2], groups[3] }, handle)
  end)
  T.near({ heard[2], heard[3] }, { heard[1], heard[1] }, 1e-12)
  T.near({ got[1], got[2] }, want, 1e-12)
end)

--- ---- the critic ----

T.test("a critic's loss and gradient on ranks are those of one process", function()
  local value_loss = { loss = require("rllava.loss").value }
  local function critic(ranks_of)
    local p = tiny.text():critic(0.1, 3)
    return p, Updater.new(p, { head = "value", ranks = ranks_of, micro_rows = ranks_of and 1,
      objective = function(a, part, cfg) return a.loss(part, cfg) end,
      optim = { betas = { 0.9, 0.99 }, eps = 1e-8, weight_decay = 0 } })
  end
  for _, mode in ipairs { "token-mean", "seq-mean-token-mean" } do
    local p, up = critic()
    local random, groups = tiny.random(35), {}
    for g = 1, 3 do
      groups[g] = { prompt = tiny.prompt(p, random, 5), responses = {} }
      for k = 1, 2 do
        local r = tiny.response(random, 1 + random(6))
        r.tokens = { returns = {}, old_values = {} }
        for t = 1, r.n do
          r.tokens.returns[t], r.tokens.old_values[t] = random(9) / 9, random(9) / 9
        end
        groups[g].responses[k] = r
      end
    end
    local cfg, parts = { cliprange_value = 0.2, value_agg_mode = mode, norm_len = 9 }, {}
    local want = up:accumulate(groups, value_loss, cfg)
    local got = ranks.run(2, function(handle, k)
      local q, own = critic(handle)
      local mine = k == 1 and { groups[1], groups[3] } or { groups[2] }
      local m = own:accumulate(mine, value_loss, cfg)
      parts[k] = ranks.gradients(q)
      return m
    end)
    T.near({ got[1].vf_loss, got[2].vf_clipfrac }, { want.vf_loss, want.vf_clipfrac }, 1e-6)
    local one, sum = ranks.gradients(p), ranks.sum(parts)
    T.near(sum["score.weight"], one["score.weight"], 1e-6)
  end
end)

--- ---- loss_scale = "micro" ----

local function sampled(p, random, count)
  local groups = {}
  for g = 1, count do
    groups[g] = { number = g, prompt = tiny.prompt(p, random, 5), responses = {} }
    for k = 1, 3 do
      local r = tiny.response(random, 1 + random(9))
      r.sample, r.tokens = k - 1, { old_logp = {}, advantage = {} }
      for t = 1, r.n do
        r.tokens.old_logp[t], r.tokens.advantage[t] = -4 - random(99) / 90, random(9) / 4 - 1
      end
      groups[g].responses[k] = r
    end
  end
  return groups
end

local function update(p, groups, options)
  local algo = algorithm.load(options.name or "grpo")
  local cfg = { norm_len = 20, clip_low = 0.2, clip_high = 0.2, clip_c = 3, clip_cov_ratio = 0.2,
    clip_cov_lb = -9, clip_cov_ub = 9, kl_cov_ratio = 0.1, ppo_kl_coef = 1, entropy_coeff = 0.01 }
  for k, v in pairs(options) do cfg[k] = v end
  local up = Updater.new(p, { optim = { betas = { 0.9, 0.99 }, eps = 1e-8, weight_decay = 0 },
    micro_rows = options.rows, ranks = options.ranks })
  p:zero_grad()
  local m = up:accumulate(groups, algo, cfg)
  return m, p:grad_norm()
end

T.test("loss_scale=micro: token-mean by single responses is seq-mean-token-mean", function()
  local p = tiny.text()
  local groups = sampled(p, tiny.random(32), 3)
  local m, norm = update(p, groups,
    { loss_scale = "micro", agg_mode = "token-mean", rows = 1, entropy_coeff = 0 })
  local m2, norm2 = update(p, groups, { agg_mode = "seq-mean-token-mean", entropy_coeff = 0 })
  T.near({ m.pg_loss, norm }, { m2.pg_loss, norm2 }, 1e-5)
  local m3 = update(p, groups, { agg_mode = "token-mean", entropy_coeff = 0 })
  assert(math.abs(m3.pg_loss - m.pg_loss) > 1e-4, "the fixture tells nothing")
end)

T.test("loss_scale=micro: seq-mean-token-sum-norm grows with the responses at once", function()
  local p = tiny.text()
  local groups = sampled(p, tiny.random(33), 2)
  local function of(rows)
    return update(p, groups, { loss_scale = "micro", agg_mode = "seq-mean-token-sum-norm",
      rows = rows, entropy_coeff = 0 }).pg_loss
  end
  local one = of(1)
  T.near({ of(3), of(6) }, { 3 * one, 6 * one }, 1e-5)
end)

T.test("loss_scale=micro: each part is a mini-batch of its own, on ranks too", function()
  for _, name in ipairs { "grpo", "clip_cov", "kl_cov" } do
    local p, want = tiny.text(), 0
    local groups = sampled(p, tiny.random(34), 4)
    for _, g in ipairs(groups) do
      want = want + update(p, { g }, { name = name, agg_mode = "token-mean" }).loss / 4
    end
    local options = { name = name, loss_scale = "micro", agg_mode = "token-mean", rows = 3 }
    T.near(update(p, groups, options).loss, want, 1e-6)
    local models = { p, tiny.text() }
    local losses = ranks.run(2, function(handle, k)
      local own = { ranks = handle }
      for key, v in pairs(options) do own[key] = v end
      return update(models[k], { groups[k], groups[k + 2] }, own).loss
    end)
    T.near(losses, { want, want }, 1e-6)
  end
end)

T.test("micro-batches hold at most so many responses; only a larger group is cut", function()
  local function shape(rows)
    local out = {}
    local g = { prompt = { n = 4 }, responses = { { n = 2 }, { n = 2 }, { n = 2 } } }
    for i, part in ipairs(Updater.cut({ g, g }, nil, nil, rows)) do
      out[i] = {}
      for k, piece in ipairs(part) do out[i][k] = #piece.responses end
    end
    return out
  end
  T.equal({ shape(6), shape(4), shape(2) },
    { { { 3, 3 } }, { { 3 }, { 3 } }, { { 2 }, { 1 }, { 2 }, { 1 } } })
end)
