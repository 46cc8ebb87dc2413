--- Weights of few bits for rollout: the same bits on every path, and no more lost than their steps.
local ffi = require "ffi"
local T = require "check"
local tiny = require "tiny"
local rl = require "rllava.ffi"
local nn = require "rllava.nn"
local tensor = require "rllava.tensor"
local C, check = rl.C, rl.check

--- y = x w^T + b in so many bits (nil: in f32) -> list.  w, x, b: functions of an index from 0.
local function product(bits, rows, n, k, x, w, b)
  local m = nn.model {}
  local y = m:linear("w", n, k, b ~= nil)(m:floats("x", "tokens", k):affine(1, 0))
  m:output("y", y)
  local function set(name, count, f)
    local values = ffi.new("float[?]", count)
    for i = 0, count - 1 do values[i] = f(i) end
    check(C.rl_param_set(m.params[name].tensor, values))
  end
  set("w.weight", n * k, w)
  if b then set("w.bias", n, b) end
  local r = ffi.gc(check(C.rl_replay_new(m.tape, "y", 0, 0, C.RL_FLOAT)), C.rl_replay_free)
  if bits then check(C.rl_replay_quantise(r, bits)) end
  local input = ffi.new("float[?]", rows * k)
  for i = 0, rows * k - 1 do input[i] = x(i) end
  check(C.rl_replay_rows(r, "tokens", rows))
  check(C.rl_replay_bind(r, "x", input))
  check(C.rl_replay_forward(r))
  return tensor.scope(function() return tensor.own(C.rl_replay_output(r, "y")):totable() end), m
end

local function noise(seed)
  local random = tiny.random(seed)
  return function() return random(20001) / 10000 - 1 end
end

-- rows, n, k
local shapes = { { 1, 16, 32 }, { 1, 203, 64 }, { 5, 17, 33 }, { 13, 49, 96 }, { 64, 40, 7 },
  { 250, 3, 100 } }

for _, bits in ipairs { 8, 4 } do
  local of_bits = (" of %d bits "):format(bits)
  T.test("products" .. of_bits .. "are the same on every path and number of threads", function()
    local threads, cpu = C.rl_threads(0), ffi.string(C.rl_cpu(nil))
    for _, s in ipairs(shapes) do
      local first
      for _, path in ipairs { "generic", "avx2", "avx512" } do
        for n = 1, 3 do
          C.rl_threads(n)
          if C.rl_cpu(path) ~= nil then
            local y = product(bits, s[1], s[2], s[3], noise(1), noise(2), noise(3))
            first = first or y
            T.equal(y, first)
          end
        end
      end
    end
    C.rl_threads(threads)
    C.rl_cpu(cpu)
  end)

  T.test(("numbers that %d bits hold exactly lose nothing"):format(bits), function()
    local random, most = tiny.random(4), bits == 8 and 127 or 7
    local function x(i) return i % 32 == 0 and 127 or random(255) - 127 end
    local largest = bits == 8 and 127 or -8
    local function w(i) return (i % 32 == 0 and largest or random(2 * most + 1) - most) / 4 end
    local exact = {}                                        -- both forms take the same numbers
    for i = 0, 64 * 21 - 1 do exact[i] = w(i) end
    local rows = {}
    for i = 0, 64 * 3 - 1 do rows[i] = x(i) end
    local function of(list) return function(i) return list[i] end end
    local plain = product(nil, 3, 21, 64, of(rows), of(exact))
    T.equal(product(bits, 3, 21, 64, of(rows), of(exact)), plain)
  end)

  T.test("a product" .. of_bits .. "is near the plain one", function()
    local near = product(bits, 9, 40, 96, noise(5), noise(6))
    local plain = product(nil, 9, 40, 96, noise(5), noise(6))
    local off, all = 0, 0
    for i, v in ipairs(plain) do off, all = off + (near[i] - v) ^ 2, all + v ^ 2 end
    local error_of = math.sqrt(off / all)
    if error_of > (bits == 8 and 0.01 or 0.1) then error("relative error " .. error_of) end
  end)
end

T.test("a row does not depend on its neighbours", function()
  local x, value = {}, noise(7)
  for i = 0, 17 * 40 - 1 do x[i] = value() end
  local all = product(8, 17, 21, 40, function(i) return x[i] end, noise(8))
  for r = 0, 16 do
    local alone = product(8, 1, 21, 40, function(i) return x[r * 40 + i] end, noise(8))
    for j = 1, 21 do T.equal(alone[j], all[r * 21 + j]) end
  end
end)

T.test("a row with a number that is not finite gives NaN, the others do not", function()
  for _, bad in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
    local y = product(8, 3, 20, 40, function(i) return i == 45 and bad or i % 7 end, noise(9))
    for i, v in ipairs(y) do T.equal(v ~= v, i > 20 and i <= 40) end
  end
end)

T.test("what cannot be quantised is refused", function()
  local p = tiny.text()
  local train = ffi.gc(check(C.rl_replay_new(p.model.tape, "logp", 1, 0, C.RL_FLOAT)),
    C.rl_replay_free)
  T.raises("expected 8 or 4 bits, once, and no training, got 8", function()
    check(C.rl_replay_quantise(train, 8))
  end)
  T.raises("expected 8 or 4 bits, once, and no training, got 3", function()
    check(C.rl_engine_quantise(tiny.engine(p), 3))
  end)
end)

--- ---- in the engine ----

local function nudge(p)
  for _, name in ipairs(p.model.names) do
    local w = p.model.params[name]
    local n = w.shape[1] * (w.shape[2] or 1)
    local values = ffi.new("float[?]", n)
    check(C.rl_param_get(w.tensor, values))
    for i = 0, n - 1 do values[i] = values[i] * 1.25 end
    check(C.rl_param_set(w.tensor, values))
  end
end

local function draw(p, e, prompt)
  local id = tiny.submit(e, prompt, { samples = 5, max_new = 20, seed = 5 })
  return tiny.collect(e, 5)[id]
end

local function same(a, b)
  for k, x in ipairs(a) do T.equal({ x.tokens, x.logp }, { b[k].tokens, b[k].logp }) end
end

local function engine(p, bits, options)
  local e = tiny.engine(p, options)
  check(C.rl_engine_quantise(e, bits))
  return e
end

for _, bits in ipairs { 8, 4 } do
  local name = "an engine of %d bits draws the same at any cut, and by new weights later"
  T.test(name:format(bits), function()
    local p, prompt = tiny.text(), tiny.prompt(tiny.text(), tiny.random(3), 37)
    local e = engine(p, bits)
    local before = draw(p, e, prompt)
    same(before, draw(p, engine(p, bits, { tokens = 7, at_once = 2 }), prompt))
    local plain, gap = tiny.logp(p, prompt, before), 0
    for k, x in ipairs(before) do
      for i, v in ipairs(x.logp) do gap = gap + math.abs(v - plain[k].logp[i]) / (5 * x.n) end
    end
    if gap == 0 or gap > (bits == 8 and 0.2 or 2.5) then error("the mean gap is " .. gap) end
    check(C.rl_engine_hold(e))
    nudge(p)
    check(C.rl_engine_go(e))
    local after = draw(p, e, prompt)
    same(after, draw(p, engine(p, bits), prompt))
    T.equal(after[1].logp[1] == before[1].logp[1], false)
  end)
end

--- ---- in a run ----

local function open(...)
  return require("rllava.train").open(require("rllava.recipe").load("recipes/grpo_geoqa.lua",
    { "data.prompts_per_step=2", "rollout.n=3", "rollout.max_new_tokens=12", "data.val=null",
      "data.val_apart=null", ... }))
end

T.test("a run that samples by few bits corrects for it, and says how far it is off", function()
  for _, weights in ipairs { "same", "int8", "int4" } do
    local trainer = open("rollout.weights=" .. weights, "loss.rollout_is=token")
    local found, batch = trainer:step(1)
    trainer:close()
    T.equal(found["mismatch/k3"] > 0, weights ~= "same")
    T.equal(found["mismatch/k3"] < (weights == "int8" and 0.01 or 1), true)
    local r = batch.responses[1]
    T.equal(r.tokens.rollout_logp[1] ~= r.tokens.old_logp[1], weights ~= "same")
  end
end)

T.test("without a correction it is refused", function()
  T.raises("rollout.weights: int4: expected loss.rollout_is=token (or sequence) or "
    .. "loss.tis_imp_ratio_cap=2, which correct for what it samples, found none", function()
    open "rollout.weights=int4"
  end)
end)
