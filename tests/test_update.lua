--- The optimizer step: its loss, metrics and gradient do not depend on how the mini-batch is cut.
local ffi = require "ffi"
local T = require "check"
local tiny = require "tiny"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local Updater = require "rllava.update"
local algorithm = require "rllava.algorithm"
local C, check = rl.C, rl.check

local optim = { betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0.1 }

local function updater(p, micro_tokens, more)
  local cfg = { optim = optim, max_grad_norm = 1, micro_tokens = micro_tokens }
  for k, v in pairs(more or {}) do cfg[k] = v end
  return Updater.new(p, cfg)
end

--- Groups of random responses, some with a mask, one empty, with lists by trained token.
local function random_groups(p, random, count)
  local groups = {}
  for g = 1, count do
    local images = p.config.vision_config and g % 2 == 0 and { { 1, 4, 4 } } or nil
    local group = { prompt = tiny.prompt(p, random, 3 + random(20), images), responses = {} }
    for k = 1, 1 + random(4) do
      local r = tiny.response(random, g == 2 and k == 1 and 0 or 1 + random(12))
      if k == 2 then
        r.mask = ffi.new("unsigned char[?]", r.n)
        for i = 0, r.n - 1 do r.mask[i] = random(3) > 0 and 1 or 0 end
      end
      r.tokens = { old_logp = {}, ref_logp = {}, advantage = {} }
      for i = 1, Updater.count(r) do
        r.tokens.old_logp[i], r.tokens.ref_logp[i] = -4 - random(200) / 100, -4 - random(200) / 100
        r.tokens.advantage[i] = random(400) / 100 - 2
      end
      group.responses[k] = r
    end
    groups[g] = group
  end
  return groups
end

local function gradients(p)
  local out = {}
  for _, name in ipairs(p.model.names) do
    local w = p.model.params[name].tensor
    local squares = C.rl_param_grad_squares(w)                -- settles a tied embedding
    out[name] = squares > 0 and tensor.own(C.rl_grad_of(w)):totable() or {}
  end
  return out
end

local function run(p, groups, name, micro_tokens, options)
  local algo = algorithm.load(name)
  local cfg = { norm_len = 20, use_kl_loss = true, kl_loss_type = "k3", kl_loss_coef = 0.1, entropy_coeff = 0.01 }
  for k, v in pairs(algo.defaults) do cfg[k] = v end
  for k, v in pairs(options or {}) do cfg[k] = v end
  p:zero_grad()
  return updater(p, micro_tokens):accumulate(groups, algo, cfg), gradients(p)
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

local modes = { "token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm" }
local names = { "grpo", "gspo", "gmpo", "kl_cov", "cispo" }

T.test("50 random cuts and orders of groups give the same loss, metrics and gradient", function()
  local random = tiny.random(21)
  for trial = 1, 50 do
    local p = trial % 5 == 0 and tiny.vision() or tiny.text(trial % 2 == 0 and "qwen3" or "qwen2",
      { tie_word_embeddings = trial % 3 == 0 })
    local groups = random_groups(p, random, 3 + random(4))
    local name, options = names[1 + trial % #names], { agg_mode = modes[1 + trial % 4] }
    local m, g = run(p, groups, name, nil, options)
    local m2, g2 = run(p, shuffled(groups, random), name, 12 + random(80), options)
    close(m2, g2, m, g)
  end
end)

T.test("cuts between groups change no bit", function()
  local random = tiny.random(22)
  for trial = 1, 20 do
    local p = trial % 4 == 0 and tiny.vision() or tiny.text("qwen2", { tie_word_embeddings = trial % 2 == 0 })
    local groups = random_groups(p, random, 4)
    local options = { agg_mode = modes[1 + trial % 4] }
    local m, g = run(p, groups, names[1 + trial % #names], nil, options)
    local m2, g2 = run(p, groups, names[1 + trial % #names], largest(groups) + random(40), options)
    T.equal(m2, m)
    T.equal(g2, g)
  end
end)

T.test("a group with more rows than a micro-batch goes in pieces, each with its prompt", function()
  local r = function(n) return { n = n } end
  local parts = Updater.cut({ { prompt = { n = 10 }, responses = { r(5), r(4), r(6), r(30) } } }, 20)
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
  if norm(text) == norm(numbers(p, "model.norm.weight")) then error("the text side did not move") end
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
    if name == "model.embed_tokens.weight" then check(C.rl_param_set(free.model.params["lm_head.weight"].tensor, values)) end
  end
  local groups = random_groups(tied, random, 3)
  local _, g = run(tied, groups, "grpo")
  local _, g2 = run(free, groups, "grpo")
  local sum = {}
  for i, v in ipairs(g2["lm_head.weight"]) do sum[i] = v + g2["model.embed_tokens.weight"][i] end
  T.near(g["model.embed_tokens.weight"], sum, 1e-6)
end)
