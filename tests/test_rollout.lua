--- The rollout beside its plain form: stop texts.
local ffi = require "ffi"
local T = require "check"
local tiny = require "tiny"
local rl = require "rllava.ffi"
local rollout = require "rllava.rollout"
local C = rl.C

--- A tokenizer of as many tokens as the tiny models have ids: letters, then pairs of them.
local function letters()
  local vocab = {}
  for i = 0, 25 do vocab[#vocab + 1] = string.char(97 + i) end
  for i = 0, tiny.vocab - 27 do
    vocab[#vocab + 1] = string.char(97 + i % 26, 97 + (math.floor(i / 26) + i) % 26)
  end
  for i, token in ipairs(vocab) do vocab[i] = ('"%s":%d'):format(token, i - 1) end
  return require("tiny_tokenizer").make { decoder = '{"type":"Fuse"}',
    model = '"type":"BPE","vocab":{' .. table.concat(vocab, ",") .. '},"merges":[]' }
end

local function speaker()
  local p = tiny.text()
  p.tokenizer = letters()
  return p
end

--- The responses to a prompt, by sample, and how many tokens were drawn for them.
local function respond(p, options, how)
  local r = rollout.new(p, options)
  how.seed = 5
  local number = r:submit(how.prompt, how)
  local found = r:drain()[number]
  local drawn = C.rl_engine_count(r.engine, 1)
  r:close()
  return found, drawn
end

--- ---- stop texts ----

--- How many tokens lie before the end of the first stop text; nil where there is none.
local function stopped_at(p, r, stop)
  for i = 1, r.n do
    local text = p.tokenizer:decode_ints(r.ids, i, false)
    for _, s in ipairs(stop) do if text:find(s, 1, true) then return i end end
  end
end

T.test("a stop text ends a sample at the token that completes it, and changes nothing before", function()
  local p, options = speaker(), { n = 6, max_new = 60, max_prompt = 16 }
  local prompt = tiny.prompt(p, tiny.random(3), 9)
  local free = respond(p, options, { prompt = prompt, n = 6 })
  local text = p.tokenizer:decode_ints(free[1].ids, free[1].n, false)
  local stop = { "never said", text:sub(20, 22), text:sub(31, 31) }
  local found, drawn = respond(p, options, { prompt = prompt, n = 6, stop = stop })
  local sum, ended = 0, 0
  for k, r in ipairs(found) do
    local n = stopped_at(p, free[k], stop)
    T.equal({ r.n, r.finish }, { n or 60, n and "stop" or "length" })
    for i = 1, r.n do
      T.equal({ r.ids[i - 1], r.tokens.old_logp[i] }, { free[k].ids[i - 1], free[k].tokens.old_logp[i] })
    end
    sum, ended = sum + r.n, ended + (n and 1 or 0)
  end
  if ended == 0 then error "no sample ended by a text" end
  T.equal(drawn, sum)                                       -- none was drawn behind an end
end)

T.test("a stop text needs some text", function()
  local p = speaker()
  T.raises("stop_text 0: expected some text, got none", function()
    respond(p, { max_new = 4, max_prompt = 4 }, { prompt = tiny.prompt(p, tiny.random(3), 3), stop = { "" } })
  end)
end)

--- ---- drafts by look-up ----

--- Samples of an engine that drafts: { tokens, logp, entropy, finish } of several groups, its counts.
local function drafting(p, prompts, lookup, options)
  local e, asked, out = tiny.engine(p, options), {}, {}
  for i, prompt in ipairs(prompts) do
    asked[i] = tiny.submit(e, prompt, { samples = 3, max_new = 50, seed = 5, stream = i, lookup = lookup,
      temperature = i % 3 / 2, top_k = i == 2 and 5 or 0, stop = { 17, 40 }, nstop = 2 })
  end
  local found = tiny.collect(e, 3 * #prompts)
  for i in ipairs(prompts) do
    for k, x in ipairs(found[asked[i]]) do
      out[#out + 1] = { x.tokens, x.logp, x.entropy, x.finish, k }
    end
  end
  return out, C.rl_engine_count(e, 3), C.rl_engine_count(e, 4), C.rl_engine_count(e, 1)
end

for name, make in require("rllava").sorted { text = tiny.text, vision = tiny.vision } do
  for _, dtype in ipairs { C.RL_FLOAT, C.RL_HALF } do
    local title = "a %s model draws the same samples with drafts as without (dtype %d)"
    T.test(title:format(name, tonumber(dtype)), function()
      local p, random, prompts = make(), tiny.random(9), {}
      for i = 1, 5 do
        local images = name == "vision" and i % 2 == 0 and { { 1, 4, 4 } } or nil
        prompts[i] = tiny.prompt(p, random, 7 * i, images)
        for k = 8, prompts[i].n - 1 do                      -- a text that repeats itself
          if not images then prompts[i].ids[k] = prompts[i].ids[k - 8] end
        end
      end
      tiny.dtype = dtype
      local ok, message = pcall(function()
        local plain, none, _, drawn = drafting(p, prompts, 0)
        T.equal(none, 0)
        for _, o in ipairs { { 1 }, { 5 }, { 8, { tokens = 9, at_once = 2 } }, { 64 } } do
          local found, drafted, accepted, tokens = drafting(p, prompts, o[1], o[2])
          T.equal(found, plain)
          T.equal(tokens, drawn)
          T.equal({ drafted > 0, accepted <= drafted }, { true, true })
        end
      end)
      tiny.dtype = C.RL_FLOAT
      if not ok then error(message, 0) end
    end)
  end
end

T.test("drafts that are right save steps: a text that repeats itself", function()
  local p = tiny.text()
  local prompt = tiny.prompt(p, tiny.random(3), 5)
  local function greedy(lookup)
    local e = tiny.engine(p)
    local id = tiny.submit(e, prompt, { max_new = 200, temperature = 0, lookup = lookup,
      bias_id = { 7 }, bias = { 1000 }, nbias = 1 })
    local x = tiny.collect(e, 1)[id][1]
    return x.tokens, C.rl_engine_count(e, 4)
  end
  local plain, with = greedy(0), { greedy(8) }
  T.equal(with[1], plain)
  if with[2] < 100 then error(("%d tokens of 200 came by drafts"):format(with[2])) end
end)

T.test("an update in flight leaves no draft behind", function()
  local p, random = tiny.text(), tiny.random(6)
  local prompt = tiny.prompt(p, random, 30)
  local e = tiny.engine(p, { tokens = 8 })
  local id = tiny.submit(e, prompt, { samples = 4, max_new = 300, temperature = 0.3, seed = 3, lookup = 6 })
  while C.rl_engine_count(e, 1) < 60 do C.rl_sleep(0.0005) end
  rl.check(C.rl_engine_hold(e))
  rl.check(C.rl_engine_go(e))
  local plain = tiny.engine(p)
  local other = tiny.submit(plain, prompt, { samples = 4, max_new = 300, temperature = 0.3, seed = 3 })
  local found, want = tiny.collect(e, 4)[id], tiny.collect(plain, 4)[other]
  for k, x in ipairs(found) do T.equal({ x.tokens, x.logp }, { want[k].tokens, want[k].logp }) end
end)

T.test("a look-up of more tokens than a step may hold is refused", function()
  local p = tiny.text()
  T.raises("lookup: expected 0 to 64, got 65", function()
    tiny.submit(tiny.engine(p), tiny.prompt(p, tiny.random(3), 3), { lookup = 65 })
  end)
end)

T.test("a run with rollout.lookup is the run without, and says how many drafts were right", function()
  local function step(...)
    local recipe = require("rllava.recipe").load("recipes/grpo_geoqa.lua",
      { "data.prompts_per_step=2", "rollout.n=3", "data.val=null", "data.val_apart=null", ... })
    local trainer = require("rllava.train").open(recipe)
    local found = trainer:step(1)
    trainer:close()
    return found
  end
  local plain, with = step(), step "rollout.lookup=4"
  T.equal(with["actor/grad_norm"], plain["actor/grad_norm"])
  T.equal(plain["rollout/accepted"], nil)
  T.equal(with["rollout/accepted"] > 0 and with["rollout/accepted"] <= 1, true)
end)

--- ---- prompts that are there already ----

local function samples(e, prompt, options)
  local how = { samples = 3, max_new = 12, seed = 5, stream = 2 }
  for k, v in pairs(options or {}) do how[k] = v end
  local id = tiny.submit(e, prompt, how)
  local out = {}
  for k, x in ipairs(tiny.collect(e, how.samples)[id]) do out[k] = { x.tokens, x.logp, x.entropy } end
  return out
end

for name, make in require("rllava").sorted { text = tiny.text, vision = tiny.vision } do
  T.test("a " .. name .. " model computes a prompt once, whatever asks for it later", function()
    local p, random = make(), tiny.random(4)
    local images = name == "vision" and { { 1, 4, 4 } } or nil
    for _, n in ipairs { 1, 15, 16, 33 } do
      local prompt, other = tiny.prompt(p, random, n, images), tiny.prompt(p, random, n, images)
      local e = tiny.engine(p, { tokens = 20 })
      samples(e, prompt, { samples = 2, temperature = 0 })
      T.equal(C.rl_engine_count(e, 0), prompt.n)
      local ways = { {}, { temperature = 0.5, top_k = 7 }, { temperature = 0, samples = 1 } }
      for i, way in ipairs(ways) do
        local again = samples(e, prompt, way)
        T.equal({ C.rl_engine_count(e, 0), C.rl_engine_count(e, 5) },
          { prompt.n + i, i * (prompt.n - 1) })
        T.equal(again, samples(tiny.engine(p), prompt, way))
      end
      T.equal(samples(e, other), samples(tiny.engine(p), other))
      T.equal(C.rl_engine_count(e, 0), prompt.n + #ways + other.n)
    end
  end)
end

T.test("requests in flight share a prompt", function()
  local p = tiny.text()
  local prompt, e = tiny.prompt(p, tiny.random(3), 40), tiny.engine(p, { tokens = 16 })
  rl.check(C.rl_engine_hold(e))
  local ids = {}
  for i = 1, 3 do
    ids[i] = tiny.submit(e, prompt, { samples = 2, max_new = 9, seed = 5, stream = i })
  end
  rl.check(C.rl_engine_go(e))
  local found = tiny.collect(e, 6)
  T.equal({ C.rl_engine_count(e, 0), C.rl_engine_count(e, 5) }, { 40, 80 })
  for i = 1, 3 do
    local alone = samples(tiny.engine(p), prompt, { samples = 2, max_new = 9, stream = i })
    for k, x in ipairs(found[ids[i]]) do T.equal({ x.tokens, x.logp, x.entropy }, alone[k]) end
  end
end)

T.test("the same words with another picture are another prompt", function()
  local p = tiny.vision()
  local a, b = tiny.prompt(p, tiny.random(3), 9, { { 1, 4, 4 } }), nil
  local random = tiny.random(3)
  b = tiny.prompt(p, random, 9, { { 1, 4, 4 } })
  local e = tiny.engine(p)
  samples(e, a)
  samples(e, b)
  T.equal(C.rl_engine_count(e, 5), a.n - 1)                 -- the same picture, made twice
  local c = tiny.prompt(p, random, 9, { { 1, 4, 4 } })
  for i = 0, c.n - 1 do c.ids[i] = a.ids[i] end
  T.equal(samples(e, c), samples(tiny.engine(p), c))
  T.equal(C.rl_engine_count(e, 0), a.n + 1 + c.n)
end)

T.test("new weights leave nothing of a prompt, in an update or by hand", function()
  local p = tiny.text()
  local prompt, e = tiny.prompt(p, tiny.random(3), 20), tiny.engine(p)
  local w = p.model.params["model.layers.0.mlp.up_proj.weight"]
  local values = ffi.new("float[?]", w.shape[1] * w.shape[2])
  local function nudge()
    rl.check(C.rl_param_get(w.tensor, values))
    for i = 0, w.shape[1] * w.shape[2] - 1 do values[i] = values[i] * 1.5 end
    rl.check(C.rl_param_set(w.tensor, values))
  end
  samples(e, prompt)
  rl.check(C.rl_engine_hold(e))
  nudge()
  rl.check(C.rl_engine_go(e))
  T.equal(samples(e, prompt), samples(tiny.engine(p), prompt))
  nudge()
  T.equal(samples(e, prompt), samples(tiny.engine(p), prompt))
  T.equal({ C.rl_engine_count(e, 0), C.rl_engine_count(e, 5) }, { 60, 0 })
end)

T.test("prompts that are kept make room for those that come, the oldest first", function()
  local p, random, prompts = tiny.text(), tiny.random(8), {}
  for i = 1, 6 do prompts[i] = tiny.prompt(p, random, 30) end       -- two pages each
  local e = tiny.engine(p, { slots = 16 * 9 })                      -- of 9; a group takes 2 + 3
  for _, i in ipairs { 1, 2, 3, 1, 4, 1, 2, 5, 6, 1, 1 } do
    T.equal(samples(e, prompts[i]), samples(tiny.engine(p), prompts[i]))
  end
  T.equal({ C.rl_engine_count(e, 0), C.rl_engine_count(e, 5) }, { 8 * 30 + 3, 3 * 29 })
end)

T.test("validation that samples a prompt in two ways computes it once", function()
  local recipe = require("rllava.recipe").load("recipes/grpo_geoqa.lua", { "data.val_rows=6",
    "rollout.val_sampled=true", "rollout.max_new_tokens=8", "data.val_apart=null" })
  local trainer = require("rllava.train").open(recipe)
  require("rllava.validate").all(trainer)
  local found = {}
  trainer.rollout:into(found)
  trainer:close()
  T.equal(found["rollout/prompt_reused"] > 0.45, true)       -- a last row may be computed twice
end)
