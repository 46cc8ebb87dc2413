--- The rollout engine: what it draws is what the trainer would compute, to the bit, whatever else
--- is in flight.
local ffi = require "ffi"
local T = require "check"
local tiny = require "tiny"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local C, check = rl.C, rl.check

--- Log-probabilities and entropies of a group's samples are those of the training forward.
local function agrees(p, prompt, samples, temperature)
  local found = tiny.logp(p, prompt, samples, temperature, true)
  for k, x in ipairs(samples) do
    T.equal(x.logp, found[k].logp)
    T.equal(x.entropy, found[k].entropy)
  end
end

local lengths = { 1, 15, 16, 17, 33, 70 }

--- Prompts of several lengths, with and without pictures, groups of several sizes, all in flight at
--- once.
local function mixed(p, options, temperature)
  local random, prompts, asked, total = tiny.random(11), {}, {}, 0
  local e = tiny.engine(p, options)
  for i, n in ipairs(lengths) do
    local images = p.config.vision_config and i % 2 == 0
      and { { 1, 4, 6 }, i == 4 and { 1, 6, 4 } or nil } or nil
    prompts[i] = tiny.prompt(p, random, n, images)
    asked[i] = tiny.submit(e, prompts[i], { samples = i, max_new = 3 + 9 * (i % 3),
      temperature = temperature or 1, seed = 5, stream = i })
    total = total + i
  end
  local found = tiny.collect(e, total)
  local out = {}
  for i in ipairs(lengths) do out[i] = found[asked[i]] end
  C.rl_engine_free(ffi.gc(e, nil))
  return prompts, out
end

local settings = {
  { "one prompt of any length a step", { tokens = 256, at_once = 32 } },
  { "prompts in pieces of 7 rows, 2 samples at once", { tokens = 7, at_once = 2 } },
  { "prompts in pieces of 16 rows", { tokens = 16, at_once = 5 } },
}

for name, make in require("rllava").sorted { text = tiny.text, vision = tiny.vision } do
  local p = make()
  T.test(name .. ": sampled log-probs are those of the training forward, to the bit", function()
    local first
    for _, s in ipairs(settings) do
      local prompts, found = mixed(p, s[2])
      for i in ipairs(lengths) do agrees(p, prompts[i], found[i]) end
      local tokens = {}
      for i, group in ipairs(found) do
        for k, x in ipairs(group) do tokens[i * 100 + k] = x.tokens end
      end
      first = first or tokens
      T.equal(tokens, first)
    end
  end)
  T.test(name .. ": the same is drawn at any number of threads and on each CPU path", function()
    local _, first = mixed(p, settings[2][2], 0.7)
    local threads, cpu = C.rl_threads(0), ffi.string(C.rl_cpu(nil))
    for _, path in ipairs { "generic", "avx2", "avx512" } do
      for n = 1, 3 do
        C.rl_threads(n)
        if C.rl_cpu(path) ~= nil then
          local prompts, found = mixed(p, settings[1][2], 0.7)
          for i, group in ipairs(found) do
            for k, x in ipairs(group) do
              T.equal(x.tokens, first[i][k].tokens)
              T.equal(x.logp, first[i][k].logp)
            end
          end
          agrees(p, prompts[4], found[4], 0.7)
        end
      end
    end
    C.rl_threads(threads)
    C.rl_cpu(cpu)
  end)
end

T.test("a response's log-probs do not depend on which others stand below its prompt", function()
  local p, random = tiny.text "qwen3", tiny.random(3)
  local prompt, responses = tiny.prompt(p, random, 21), {}
  for k = 1, 5 do responses[k] = tiny.response(random, 4 * k) end
  local all = tiny.logp(p, prompt, responses)
  for k = 1, 5 do
    T.equal(tiny.logp(p, prompt, { responses[k] })[1], all[k])
    T.equal(tiny.logp(p, prompt, { responses[k] }, 1, true)[1], all[k])
  end
end)

T.test("the ratio of an on-policy step is exactly 1", function()
  local p, e = tiny.vision(), nil
  e = tiny.engine(p)
  local prompt = tiny.prompt(p, tiny.random(8), 12, { { 1, 4, 4 } })
  local id = tiny.submit(e, prompt, { samples = 6, max_new = 11, temperature = 0.9, seed = 1 })
  local samples = tiny.collect(e, 6)[id]
  local Updater = require "rllava.update"
  local up = Updater.new(p,
    { optim = { lr = 0, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0 }, temperature = 0.9 })
  local logp, sampled = up:values({ { prompt = prompt, responses = samples } }, "logp"), {}
  for _, x in ipairs(samples) do
    for _, v in ipairs(x.logp) do sampled[#sampled + 1] = v end
  end
  T.equal(logp, sampled)
end)

--- Logits of the last row of ids, by the training forward.
local function last_logits(p, list)
  local n = #list
  local batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  local asked = ffi.new("unsigned char[?]", n + 1)
  asked[n] = 1
  check(C.rl_batch_segment(batch, -1, ffi.new("int[?]", n + 1, list), n + 1, nil, asked, 1, 0))
  local replay = ffi.gc(check(C.rl_replay_new(p.model.tape, "hidden", 0, 0, C.RL_FLOAT)),
    C.rl_replay_free)
  check(C.rl_batch_bind(batch, replay, 1))
  check(C.rl_replay_forward(replay))
  local w = p.model.params["lm_head.weight"] or p.model.params["model.embed_tokens.weight"]
  return tensor.own(C.rl_replay_output(replay, "hidden")):linear(w.tensor):totable()
end

local function list_of(prompt)
  local list = {}
  for i = 1, prompt.n do list[i] = prompt.ids[i - 1] end
  return list
end

T.test("temperature 0 takes the largest logit", function()
  local p = tiny.text "llama"
  local e, prompt = tiny.engine(p), tiny.prompt(p, tiny.random(4), 9)
  local id = tiny.submit(e, prompt, { max_new = 12, temperature = 0 })
  local list = list_of(prompt)
  for _, token in ipairs(tiny.collect(e, 1)[id][1].tokens) do
    local best, z = 1, last_logits(p, list)
    for v = 2, #z do if z[v] > z[best] then best = v end end
    T.equal(token, best - 1)
    list[#list + 1] = token
  end
end)

T.test("a seed repeats whatever else is in flight, and another seed or stream does not", function()
  local p, random = tiny.text(), tiny.random(5)
  local prompt, other = tiny.prompt(p, random, 14), tiny.prompt(p, random, 40)
  local function run(crowd, options)
    local e = tiny.engine(p, { at_once = 4, tokens = 9 })
    for i = 1, crowd do
      tiny.submit(e, other, { samples = i, max_new = 5 * i, seed = i, stream = i })
    end
    local ask = { samples = 3, max_new = 16, seed = 42, stream = 6 }
    for k, v in pairs(options or {}) do ask[k] = v end
    local id = tiny.submit(e, prompt, ask)
    local found = tiny.collect(e, crowd * (crowd + 1) / 2 + ask.samples)[id]
    local tokens = {}
    for k, x in ipairs(found) do tokens[k] = table.concat(x.tokens, " ") end
    return tokens
  end
  local alone = run(0)
  T.equal(run(3), alone)
  T.equal(run(1, { samples = 1, first_sample = 2 })[1], alone[3])
  for _, options in ipairs { { seed = 43 }, { stream = 7 } } do
    local changed = run(0, options)
    for k = 1, 3 do
      if changed[k] == alone[k] then error("the same tokens from another seed") end
    end
  end
  if alone[1] == alone[2] then error("two samples with the same tokens") end
end)

--- ---- updates in flight ----

local function nudge(p, amount)
  local w = p.model.params["model.layers.0.mlp.up_proj.weight"]
  local n = w.shape[1] * w.shape[2]
  local values = ffi.new("float[?]", n)
  check(C.rl_param_get(w.tensor, values))
  for i = 0, n - 1 do values[i] = values[i] * amount end
  check(C.rl_param_set(w.tensor, values))
end

local function wait_for(e, sampled)
  for _ = 1, 20000 do
    if C.rl_engine_count(e, 1) >= sampled then return end
    C.rl_sleep(0.0005)
  end
  error("the engine does not go on")
end

T.test("tokens after an update come from the new weights alone; each knows its own", function()
  local p = tiny.text()
  local e, prompt = tiny.engine(p, { tokens = 8 }), tiny.prompt(p, tiny.random(6), 30)
  local id = tiny.submit(e, prompt, { samples = 4, max_new = 400, seed = 3 })
  wait_for(e, 40)
  check(C.rl_engine_hold(e))
  local before = C.rl_engine_count(e, 1)
  C.rl_sleep(0.02)
  T.equal(C.rl_engine_count(e, 1), before)                  -- nothing moves while it is held
  nudge(p, 1.5)
  check(C.rl_engine_go(e))
  T.equal(C.rl_engine_version(e), 1)
  local samples = tiny.collect(e, 4)[id]
  local found = tiny.logp(p, prompt, samples)
  for k, x in ipairs(samples) do
    local old = 0
    for i, version in ipairs(x.versions) do
      if version == 0 then old = old + 1 else T.equal(x.logp[i], found[k].logp[i]) end
    end
    if old == 0 or old == x.n then
      error("expected tokens of both policies, got " .. old .. " of the old one")
    end
    if x.logp[1] == found[k].logp[1] then
      error("the first token's log-prob does not show the update")
    end
  end
end)

T.test("a stale cache outlives an update", function()
  local p = tiny.text()
  local e, prompt = tiny.engine(p), tiny.prompt(p, tiny.random(6), 30)
  check(C.rl_engine_stale(e, 1))
  tiny.submit(e, prompt, { samples = 2, max_new = 300, seed = 3 })
  wait_for(e, 10)
  check(C.rl_engine_hold(e))
  check(C.rl_engine_go(e))
  tiny.collect(e, 2)
  T.equal(C.rl_engine_count(e, 0), 30)                      -- the prompt was computed once
  T.raises("expected a hold before it", function() check(C.rl_engine_go(e)) end)
end)

--- ---- ends, refusals, settings ----

T.test("a stop id ends a response and is its last token", function()
  local p = tiny.text()
  local e, prompt = tiny.engine(p), tiny.prompt(p, tiny.random(9), 5)
  local function run(options)
    local id = tiny.submit(e, prompt, options)
    return tiny.collect(e, 1)[id][1]
  end
  local free = run { max_new = 30, seed = 2 }
  local stop = free.tokens[7]
  local first = 1
  while free.tokens[first] ~= stop do first = first + 1 end
  local x = run { max_new = 30, seed = 2, stop = { 202, stop }, nstop = 2 }
  T.equal(x.finish, tonumber(C.RL_STOPPED))
  T.equal(x.n, first)
  T.equal(x.tokens[x.n], stop)
end)

T.test("cancelling ends a request's samples and no others", function()
  local p = tiny.text()
  local e, prompt = tiny.engine(p), tiny.prompt(p, tiny.random(9), 5)
  local a = tiny.submit(e, prompt, { samples = 3, max_new = 900, seed = 2 })
  local b = tiny.submit(e, prompt, { samples = 2, max_new = 20, seed = 2 })
  wait_for(e, 10)
  check(C.rl_engine_cancel(e, a))
  local found = tiny.collect(e, 5)
  for _, x in ipairs(found[a]) do
    T.equal(x.finish, tonumber(C.RL_CANCELLED))
    if x.n == 0 or x.n == 900 then error("expected some of the tokens, got " .. x.n) end
  end
  for _, x in ipairs(found[b]) do T.equal(x.finish, tonumber(C.RL_LENGTH)) end
  agrees(p, prompt, found[a])
  T.equal(C.rl_engine_pending(e), 0)
end)

T.test("a program that ends by an error while samples are drawn says so, and ends", function()
  local code = [[package.path = "tests/?.lua;" .. package.path
    tiny = require "tiny"
    p = tiny.text()
    e = tiny.engine(p, { slots = 16384 })
    for i = 1, 8 do
      tiny.submit(e, tiny.prompt(p, tiny.random(i), 50), { samples = 16, max_new = 100, seed = i })
    end
    require("rllava.ffi").C.rl_sleep(0.02)
    error "over"]]
  for _ = 1, 6 do
    local p = io.popen(("%s -e '%s' 2>&1; echo $?"):format(arg[0], code))
    local said = p:read "*a"
    p:close()
    if not said:find "over\n1\n$" then error(said) end
  end
end)

T.test("an error belongs to its request", function()
  local p, random = tiny.vision(), tiny.random(10)
  local e = tiny.engine(p)
  local good = tiny.prompt(p, random, 12, { { 1, 4, 4 } })
  local bad = tiny.prompt(p, random, 12, { { 1, 4, 4 } })
  bad.media = ffi.gc(C.rl_media_new(), C.rl_media_free)      -- patches without their positions
  check(C.rl_media_floats(bad.media, "pixels", "patches", 16, 96, ffi.new("float[?]", 16 * 96)))
  local rows = ffi.new("int[4]", 7, 8, 9, 10)
  check(C.rl_media_ints(bad.media, "image_rows", "cells", 4, 1, rows, "tokens"))
  check(C.rl_engine_hold(e))                                 -- so that they meet in one step
  local a = tiny.submit(e, good, { samples = 2, seed = 1 })
  local b = tiny.submit(e, bad, { samples = 2, seed = 1 })
  local c = tiny.submit(e, tiny.prompt(p, random, 6), { samples = 1, seed = 1 })
  check(C.rl_engine_go(e))
  local found = tiny.collect(e, 5)
  for _, x in ipairs(found[b]) do
    T.equal(x.finish, tonumber(C.RL_FAILED))
    T.equal(x.error, "replay: input 'cell_order' is not bound")
  end
  T.equal(found[c][1].finish, tonumber(C.RL_LENGTH))
  agrees(p, good, found[a])
end)

T.test("a request that cannot be is refused with what was expected", function()
  local p = tiny.text()
  local e, prompt = tiny.engine(p, { slots = 64 }), tiny.prompt(p, tiny.random(9), 5)
  local function refused(text, options)
    T.raises(text, function() tiny.submit(e, options.prompt or prompt, options) end)
  end
  refused("samples and new tokens, got 5, 0, 8", { samples = 0 })
  refused("expected at most 64 slots of cache, 4 samples of 5 + 40 tokens need 208",
    { samples = 4, max_new = 40 })
  refused("temperature: expected 0 or more, got -1", { temperature = -1 })
  refused("top_p: expected above 0 to 1, got 0", { top_p = 0 })
  refused("min_p: expected 0 to 1, got 2", { min_p = 2 })
  refused("top_k: expected 0 or more, got -3", { top_k = -3 })
  refused("stop 0: expected 0 to 202, got 203", { stop = { 203 }, nstop = 1 })
  refused("bias 0: expected a finite number", { bias_id = { 3 }, bias = { 1 / 0 }, nbias = 1 })
  refused("expected a seed below 2^53", { seed = -1 })
  prompt.ids[2] = 999
  refused("prompt 2: expected 0 to 202, got 999", {})
end)

T.test("no step has more rows than its bounds", function()
  local p = tiny.text()
  local e = tiny.engine(p, { tokens = 10, at_once = 4 })
  for i = 1, 4 do
    tiny.submit(e, tiny.prompt(p, tiny.random(i), 50), { samples = 4, max_new = 30, seed = i })
  end
  wait_for(e, 150)
  check(C.rl_engine_hold(e))
  check(C.rl_engine_go(e))
  tiny.collect(e, 16)
  if C.rl_engine_count(e, 2) > 14 then
    error("a step had " .. C.rl_engine_count(e, 2) .. " rows")
  end
end)

--- ---- what may be drawn ----

--- Draws of the first token: id -> how often.
local function draws(p, prompt, options, n, engine_options)
  local e, counts = tiny.engine(p, engine_options), {}
  options.samples, options.max_new = n, 1
  local id = tiny.submit(e, prompt, options)
  for _, x in ipairs(tiny.collect(e, n)[id]) do
    counts[x.tokens[1]] = (counts[x.tokens[1]] or 0) + 1
  end
  return counts
end

--- The kept ids and their probabilities: top_k, then top_p, then min_p.
local function kept(z, o)
  local c, sum, max = {}, 0, math.max(unpack(z))
  for v, x in ipairs(z) do
    if not (o.banned and o.banned[v - 1]) then
      local bias = o.bias_id and o.bias_id[1] == v - 1 and o.bias[1] or 0
      c[#c + 1] = { id = v - 1, p = math.exp((x + bias - max) / (o.temperature or 1)) }
    end
  end
  table.sort(c, function(a, b) return a.p > b.p or a.p == b.p and a.id < b.id end)
  while o.top_k and #c > o.top_k do c[#c] = nil end
  for _, x in ipairs(c) do sum = sum + x.p end
  local reached, n = 0, 0
  while n < #c and (n == 0 or reached < (o.top_p or 1) * sum) do
    n, reached = n + 1, reached + c[n + 1].p
  end
  while #c > n do c[#c] = nil end
  while #c > 1 and c[#c].p < (o.min_p or 0) * c[1].p do c[#c] = nil end
  sum = 0
  for _, x in ipairs(c) do sum = sum + x.p end
  local out = {}
  for _, x in ipairs(c) do out[x.id] = x.p / sum end
  return out
end

local p_draw = tiny.text("qwen2", { vocab_size = 50 })
for _, o in ipairs {
  { name = "temperature 2", temperature = 2 },
  { name = "top-k", top_k = 5, temperature = 2 },
  { name = "top-p", top_p = 0.7, temperature = 1.5 },
  { name = "min-p", min_p = 0.3, temperature = 2 },
  { name = "top-k, top-p and min-p together", top_k = 12, top_p = 0.9, min_p = 0.05,
    temperature = 3 },
  { name = "a bias", bias_id = { 7 }, bias = { 6 }, temperature = 2 },
  { name = "banned ids", banned = { [3] = true, [11] = true, [30] = true }, temperature = 3 },
} do
  T.test(o.name .. ": tokens are drawn from what is kept, as often as is probable", function()
    local prompt = tiny.prompt(p_draw, function() return 17 end, 1)
    local want, n = kept(last_logits(p_draw, list_of(prompt)), o), 600
    local banned = o.banned and ffi.new("unsigned char[?]", 50)
    for id in pairs(o.banned or {}) do banned[id] = 1 end
    local options = { seed = 9, temperature = o.temperature, top_k = o.top_k, top_p = o.top_p,
      min_p = o.min_p, bias_id = o.bias_id, bias = o.bias, nbias = o.bias and 1 or 0 }
    local counts = draws(p_draw, prompt, options, n, { banned = banned, slots = 20000 })
    for id, count in pairs(counts) do
      if not want[id] then error(("id %d was drawn %d times but is not kept"):format(id, count)) end
    end
    for id, share in pairs(want) do                          -- five standard deviations
      local off = math.abs((counts[id] or 0) - n * share) / math.sqrt(n * share * (1 - share) + 1)
      if off > 5 then
        error(("id %d: expected %.1f draws, got %d"):format(id, n * share, counts[id] or 0))
      end
    end
  end)
end
