--- The optimizer step: its loss, metrics and gradient do not depend on how the mini-batch is cut.
local ffi = require "ffi"
local T = require "check"
local tiny = require "tiny"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local ranks = require "ranks"
local Updater = require "rllava.update"
local algorithm = require "rllava.algorithm"
local C, check = rl.C, rl.check

local optim = { betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0.1 }

local function updater(p, micro_tokens, more)
  local cfg = { optim = optim, max_grad_norm = 1, micro_tokens = micro_tokens }
  for k, v in pairs(more or {}) do cfg[k] = v end
  return Updater.new(p, cfg)
end

--- Groups of random responses, some with a mask, one empty, with lists by trained token.  grid: of
--- their pictures.
local function random_groups(p, random, count, grid)
  local groups = {}
  for g = 1, count do
    local images = p.config.vision_config and g % 2 == 0 and { grid or { 1, 4, 4 } } or nil
    local group = { number = g, prompt = tiny.prompt(p, random, 3 + random(20), images),
      responses = {} }
    for k = 1, 1 + random(4) do
      local r = tiny.response(random, g == 2 and k == 1 and 0 or 1 + random(12))
      if k == 2 then
        r.mask = ffi.new("unsigned char[?]", r.n)
        for i = 0, r.n - 1 do r.mask[i] = random(3) > 0 and 1 or 0 end
      end
      r.sample, r.tokens = k - 1,
        { old_logp = {}, ref_logp = {}, advantage = {}, prefix = {}, score = {} }
      local copied, score = k == 1 and random(6) or 0, random(2)
      for i = 1, Updater.count(r) do
        r.tokens.prefix[i], r.tokens.score[i] = i <= copied and 1 or 0, score
        r.tokens.old_logp[i], r.tokens.ref_logp[i] = -4 - random(200) / 100, -4 - random(200) / 100
        r.tokens.advantage[i] = random(400) / 100 - 2
      end
      group.responses[k] = r
    end
    groups[g] = group
  end
  return groups
end

local gradients = ranks.gradients

--- An algorithm, its settings over everything that can stand beside a loss.
local function setup(name, options)
  local algo, cfg = algorithm.load(name), { norm_len = 20, use_kl_loss = true, kl_loss_type = "k3",
    kl_loss_coef = 0.1, entropy_coeff = 0.01, clip_cov_ratio = 0.2, kl_cov_ratio = 0.1 }
  for _, list in ipairs { algo.defaults, options or {} } do
    for k, v in pairs(list) do cfg[k] = v end
  end
  return algo, cfg
end

--- Loss, metrics, gradient of groups that one process computes.  dtype: of products.
local function run(p, groups, name, micro_tokens, options, dtype)
  local algo, cfg = setup(name, options)
  p:zero_grad()
  local u = updater(p, micro_tokens, { seed = 5, dtype = dtype })
  return u:accumulate(groups, algo, cfg), gradients(p)
end

--- The same of groups that ranks divide among them, each with a model of its own: the metrics that
--- every rank knows, the sum of their gradients.
local function run_ranks(models, groups, name, micro_tokens, options, random)
  local algo, cfg = setup(name, options)
  local shares = {}
  for k in ipairs(models) do shares[k] = {} end
  for _, g in ipairs(groups) do table.insert(shares[1 + random(#models)], g) end
  local parts = {}
  local all = ranks.run(#models, function(handle, k)
    local up = updater(models[k], micro_tokens, { seed = 5, ranks = handle })
    local m = up:accumulate(shares[k], algo, cfg)
    parts[k] = gradients(models[k])
    return m
  end)
  for k = 2, #models do T.equal(all[k], all[1]) end
  return all[1], ranks.sum(parts)
end

local function norm(list)
  local sum = 0
  for _, v in ipairs(list) do sum = sum + v * v end
  return math.sqrt(sum)
end

--- Metrics within 1e-6, each parameter's gradient within 1e-5 of its norm.
local function close(m, g, want_m, want_g)
  for name, value in pairs(want_m) do
    if not (math.abs(m[name] - value) <= 1e-6 * math.max(1, math.abs(value))) then
      error(("%s: expected %.9g, got %.9g"):format(name, value, m[name]))
    end
  end
  for name, want in pairs(want_g) do
    local apart = {}
    for i, v in ipairs(want) do apart[i] = g[name][i] - v end
    if not (norm(apart) <= 1e-5 * norm(want)) then
      error(("gradient of %s: apart by %.3g of its norm"):format(name, norm(apart) / norm(want)))
    end
  end
end

local function shuffled(list, random)
  local out = {}
  for i, v in ipairs(list) do out[i] = v end
  for i = #out, 2, -1 do
    local k = 1 + random(i)
    out[i], out[k] = out[k], out[i]
  end
  return out
end

local function largest(groups)
  local rows = 0
  for _, g in ipairs(groups) do
    local own = g.prompt.n
    for _, r in ipairs(g.responses) do own = own + r.n end
    rows = math.max(rows, own)
  end
  return rows
end

local modes = { "token-mean", "seq-mean-token-sum", "seq-mean-token-mean",
  "seq-mean-token-sum-norm" }
local names = { "grpo", "gspo", "gmpo", "kl_cov", "cispo", "clip_cov", "luffy", "sapo", "srft",
  "gpg", "hpt", "gspo_token", "uft", "chord" }

local function model(trial)
  if trial % 5 == 0 then return tiny.vision() end
  return tiny.text(trial % 2 == 0 and "qwen3" or "qwen2", { tie_word_embeddings = trial % 3 == 0 })
end

T.test("50 random cuts, orders of groups and rank counts: same loss, metrics, gradient", function()
  local random = tiny.random(21)
  for trial = 1, 50 do
    local p, models = model(trial), {}
    local groups = random_groups(p, random, 3 + random(4))
    local name, options = names[1 + trial % #names], { agg_mode = modes[1 + trial % 4] }
    local m, g = run(p, groups, name, nil, options)
    for k = 1, 1 + random(4) do models[k] = model(trial) end
    local m2, g2 = run_ranks(models, shuffled(groups, random), name, 12 + random(80), options,
      random)
    close(m2, g2, m, g)
  end
end)

T.test("every algorithm and aggregation gives on two ranks what it gives on one", function()
  local random = tiny.random(26)
  for _, name in ipairs(names) do
    for _, mode in ipairs(modes) do
      local p = tiny.text()
      local groups = random_groups(p, random, 4)
      local m, g = run(p, groups, name, nil, { agg_mode = mode })
      local m2, g2 = run_ranks({ tiny.text(), tiny.text() }, groups, name, 60, { agg_mode = mode },
        random)
      close(m2, g2, m, g)
    end
  end
end)

T.test("cuts between groups change no bit", function()
  local random = tiny.random(22)
  for trial = 1, 20 do
    local p = trial % 4 == 0 and tiny.vision()
      or tiny.text("qwen2", { tie_word_embeddings = trial % 2 == 0 })
    local groups, options = random_groups(p, random, 4), { agg_mode = modes[1 + trial % 4] }
    local m, g = run(p, groups, names[1 + trial % #names], nil, options)
    local m2, g2 = run(p, groups, names[1 + trial % #names], largest(groups) + random(40), options)
    T.equal(m2, m)
    T.equal(g2, g)
  end
end)

T.test("nor do they in bf16, where rows go in pairs, nor odd pictures", function()
  local random = tiny.random(23)
  for trial = 1, 6 do
    local p = trial % 3 == 0 and tiny.text("qwen2") or tiny.vision()
    local groups = random_groups(p, random, 4, { 1, 2, 6 })
    local m, g = run(p, groups, "grpo", nil, nil, C.RL_HALF)
    local cut = largest(groups) + random(40)
    local m2, g2 = run(p, groups, "grpo", cut, nil, C.RL_HALF)
    T.equal(m2, m)
    T.equal(g2, g)
  end
end)

T.test("a group with more rows than a micro-batch goes in pieces, each with its prompt", function()
  local r = function(n) return { n = n } end
  local parts = Updater.cut({ { prompt = { n = 10 }, responses = { r(5), r(4), r(6), r(30) } } },
    20)
  local shape = {}
  for i, part in ipairs(parts) do
    shape[i] = {}
    for k, x in ipairs(part[1].responses) do shape[i][k] = x.n end
  end
  T.equal(shape, { { 5, 4 }, { 6 }, { 30 } })
end)

local function numbers(p, name)
  local s = p.model.params[name].shape
  local n = s[1] * (s[2] or 1) * (s[3] or 1) * (s[4] or 1) * (s[5] or 1)
  local values, list = ffi.new("float[?]", n), {}
  check(C.rl_param_get(p.model.params[name].tensor, values))
  for i = 1, n do list[i] = values[i - 1] end
  return list
end

T.test("a tower that saw no picture is left alone, by weight decay too", function()
  local p = tiny.vision()
  local group = random_groups(p, tiny.random(23), 1)
  local before, text = numbers(p, "visual.merger.mlp.0.weight"), numbers(p, "model.norm.weight")
  local algo = algorithm.load "grpo"
  updater(p):step(group, algo, algo.defaults, 1e-2)
  T.equal(numbers(p, "visual.merger.mlp.0.weight"), before)
  if norm(text) == norm(numbers(p, "model.norm.weight")) then
    error("the text side did not move")
  end
end)

T.test("a gradient that is not finite or too long is dropped and counted", function()
  local p = tiny.text()
  local groups, algo = random_groups(p, tiny.random(24), 2), algorithm.load "grpo"
  local before, up = numbers(p, "model.norm.weight"), updater(p, nil, { skip_grad_norm = 1e-9 })
  up:step(groups, algo, algo.defaults, 1e-2)
  groups[1].responses[1].tokens.advantage[1] = 0 / 0
  up.cfg.skip_grad_norm = 0
  up:step(groups, algo, algo.defaults, 1e-2)
  T.equal(up.skipped, 2)
  T.equal(numbers(p, "model.norm.weight"), before)
  T.equal(p:grad_norm(), 0)
end)

T.test("the gradient of a tied embedding is that of both its uses", function()
  local random = tiny.random(25)
  local tied, free = tiny.text("qwen2"), tiny.text("qwen2", { tie_word_embeddings = false })
  for _, name in ipairs(tied.model.names) do
    local values = ffi.new("float[?]", #numbers(tied, name), numbers(tied, name))
    check(C.rl_param_set(free.model.params[name].tensor, values))
    if name == "model.embed_tokens.weight" then
      check(C.rl_param_set(free.model.params["lm_head.weight"].tensor, values))
    end
  end
  local groups = random_groups(tied, random, 3)
  local _, g = run(tied, groups, "grpo")
  local _, g2 = run(free, groups, "grpo")
  local sum = {}
  for i, v in ipairs(g2["lm_head.weight"]) do sum[i] = v + g2["model.embed_tokens.weight"][i] end
  T.near(g["model.embed_tokens.weight"], sum, 1e-6)
end)
