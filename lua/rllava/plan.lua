--- The plan of a run: its bytes by class and phase, known before a weight is read or memory taken.
---
---   local p = plan.of(cfg)          cfg as rllava.recipe resolves it
---   p.classes[i] = { name, why, bytes = { sampling, scoring, update, validation, checkpoint } }
---   p.total[phase], p.peak = { phase, bytes, class }, p.worst = the largest batches of the run
---   plan.fit(cfg)                   chooses what cfg leaves open -> p, limit, source
---   plan.check(cfg)                 refuses a run that cannot fit, sets the limit of the rest
local rl = require "rllava.ffi"
local worst = require "rllava.plan.worst"
local C, check = rl.C, rl.check
local ffi = require "ffi"

local plan = { phases = { "sampling", "scoring", "update", "validation", "checkpoint" } }

-- Live numbers of a loss and their gradients for each row of a micro-batch: the largest of the
-- house's algorithms makes 110 tensors of one number a token.
plan.LOSS_BYTES = 4 * 128
-- What the program holds beside what it counts: code, Lua, tokenizer, threads; and a token of a
-- step in Lua's tables.
local PROGRAM, TOKEN, THREAD = 32 * 2 ^ 20, 400, 6 * 2 ^ 20

local function dtype_of(cfg) return cfg.trainer.dtype == "bf16" and C.RL_HALF or C.RL_FLOAT end

--- ---- the models of a run ----

--- The models that a run opens, recorded but without numbers: list of { name, policy, head,
--- train }.
function plan.models(cfg)
  local policy, asked = require "rllava.policy", require("rllava.algorithm").asks(cfg)
  local actor = policy.shape(cfg.model, { features = cfg.trainer.freeze_vision_tower and "apart" })
  local list = { { name = "policy", policy = actor, head = "logp entropy", train = true } }
  local function add(name, p, head, train)
    if not train then p:freeze() end
    list[#list + 1] = { name = name, policy = p, head = head, train = train }
  end
  if asked.ref_logp then add("reference", actor:sibling(), "logp") end
  if cfg.teacher then add("teacher", policy.shape(cfg.teacher), "logp") end
  if asked.value then
    local from = cfg.critic.model and policy.shape(cfg.critic.model) or actor
    add("critic", from:sibling(true), "value", true)
  end
  return list
end

--- Bytes of a model's parameters.  which: as in rl_param_bytes.
local function bytes_of(policy, which)
  local sum = 0
  for _, name in ipairs(policy.model.names) do
    sum = sum + C.rl_param_bytes(policy.model.params[name].tensor, which)
  end
  return sum
end

--- Bytes of a model's moments, and of how many bits they are.
local function moments_of(policy, optim)
  local sum, bits = 0, require("rllava.update").bits(optim)
  for _, name in ipairs(policy.model.names) do
    sum = sum + C.rl_adamw_bytes(policy.model.params[name].tensor, bits)
  end
  return sum, bits
end

local function largest(policy)
  local most = 0
  for _, name in ipairs(policy.model.names) do
    local n = 1
    for _, d in ipairs(policy.model.params[name].shape) do n = n * d end
    most = math.max(most, C.rl_bytes_of(4 * n))
  end
  return most
end

--- ---- classes ----

--- Adds bytes to a class, which is made where it is not there yet.  phases: nil: in all of them.
local function put(p, name, bytes, why, phases)
  if bytes == 0 then return end
  local class = p.by_name[name]
  if not class then
    class = { name = name, why = why, bytes = {} }
    for _, phase in ipairs(plan.phases) do class.bytes[phase] = 0 end
    p.by_name[name], p.classes[#p.classes + 1] = class, class
  end
  for _, phase in ipairs(phases or plan.phases) do
    class.bytes[phase] = class.bytes[phase] + bytes
  end
end

--- Parameters, gradients, moments and the arena of one model.
local function put_model(p, cfg, m)
  local w, own = p.worst, m.name == "policy" and "" or " of the " .. m.name
  put(p, "weights" .. own, bytes_of(m.policy, 0), "f32")
  local replay = ffi.gc(check(C.rl_replay_new(m.policy.model.tape, m.head, m.train and 1 or 0,
    m.train and cfg.trainer.recompute and 1 or 0, dtype_of(cfg))), C.rl_replay_free)
  put(p, "bf16 copies" .. own, C.rl_replay_halves(replay), "what products read")
  if m.train then
    put(p, "gradients" .. own, bytes_of(m.policy, 2), "f32")
    local bytes, bits = moments_of(m.policy, m.name == "critic" and cfg.critic or cfg.optim)
    put(p, "optimizer" .. own, bytes, ("AdamW, two moments of %d bits"):format(bits))
    put(p, "late rows" .. own, C.rl_replay_late(replay, w.mini_rows, 0),
      "gradients of the tied embedding's look-ups, " .. w.mini_rows .. " rows of a mini-batch")
  end
  worst.bind(replay, w, w.micro)
  local cause = m.train and "of an update, %d rows" or "of scoring, %d rows"
  put(p, "activations" .. own, C.rl_replay_bytes(replay), cause:format(w.micro.rows))
  return replay
end

local function put_engine(p, cfg, actor)
  local w = p.worst
  local replay = ffi.gc(check(C.rl_replay_new(actor.model.tape, "logp entropy", 0, 0,
    dtype_of(cfg))), C.rl_replay_free)
  local bits = require("rllava.rollout").bits[cfg.rollout.weights]
  if bits then check(C.rl_replay_quantise(replay, bits)) end
  put(p, "quantised weights", C.rl_replay_quant_bytes(replay),
    cfg.rollout.weights .. ", of the rollout")
  worst.bind(replay, w, w.step)
  put(p, "KV cache", C.rl_engine_bytes(actor.model.tape, dtype_of(cfg), w.slots),
    ("%d slots, %d responses at once"):format(w.slots, cfg.rollout.at_once))
  put(p, "engine", C.rl_replay_bytes(replay),
    ("activations of a step, %d rows"):format(w.step.rows))
end

--- A frozen tower: its run on the largest picture, and the features that are kept.
local function put_vision(p, cfg, actor)
  local picture = actor.features and require("rllava.plan.worst").picture(actor, cfg)
  if not picture then return end
  local needs = require("rllava.vision").bytes(actor, dtype_of(cfg), picture,
    plan.bytes(cfg.trainer.vision_cache, "trainer.vision_cache"))
  put(p, "vision tower", needs.arena, ("activations of a picture, %d patches"):format(picture.rows))
  put(p, "bf16 copies", needs.halves)
  put(p, "pictures", needs.media)
  put(p, "pictures", needs.media, nil, { "sampling", "validation" })
  put(p, "features", needs.room, "of a frozen tower, kept")
end

--- Patches of prompts, and of the batches that are made of them.
local function put_pictures(p, models)
  local w = p.worst
  local media = w.prompt.media
  if not media then return end
  local one = C.rl_media_bytes(media, 1)
  put(p, "pictures", C.rl_media_bytes(media, w.step.pictures), "of prompts and batches")
  for _ = 1, #models do put(p, "pictures", C.rl_media_bytes(media, w.micro.pictures)) end
  put(p, "pictures", one * w.prompts, nil, { "sampling", "scoring", "update" })
  put(p, "pictures", one * w.val_prompts, nil, { "validation" })
end

local function put_rest(p, cfg, models)
  local w, scratch = p.worst, 0
  for _, m in ipairs(models) do
    if m.train then scratch = math.max(scratch, largest(m.policy)) end
  end
  p.scratch = scratch
  put(p, "loss", C.rl_bytes_of(plan.LOSS_BYTES * w.micro.rows), "live tensors of a micro-batch",
    { "update" })
  put(p, "scratch", scratch, "a parameter on its way to a file", { "checkpoint" })
  put(p, "program", PROGRAM + TOKEN * w.step_tokens + THREAD * C.rl_threads(0),
    "code, Lua's tables, tokenizer, threads; an estimate")
end

local function find_peak(p)
  p.total, p.peak = {}, { bytes = -1 }
  for _, phase in ipairs(plan.phases) do
    local sum = 0
    for _, class in ipairs(p.classes) do sum = sum + class.bytes[phase] end
    p.total[phase] = sum
    if sum > p.peak.bytes then p.peak = { phase = phase, bytes = sum } end
  end
  local most = -1
  for _, class in ipairs(p.classes) do
    if class.bytes[p.peak.phase] > most then
      p.peak.class, most = class, class.bytes[p.peak.phase]
    end
  end
  p.counted = p.peak.bytes - p.by_name.program.bytes[p.peak.phase]
end

--- cfg -> its plan.  models (or nil): as plan.models gives them, for several plans of one model.
function plan.of(cfg, models)
  models = models or plan.models(cfg)
  local actor = models[1].policy
  local p = { classes = {}, by_name = {}, cfg = cfg, models = models,
    worst = worst.of(cfg, models) }
  for _, m in ipairs(models) do put_model(p, cfg, m) end
  put_engine(p, cfg, actor)
  put_vision(p, cfg, actor)
  put_pictures(p, models)
  put_rest(p, cfg, models)
  find_peak(p)
  return p
end

--- ---- the limit ----

local units = { [""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }

--- "24G", "900M", or a number of bytes -> bytes.  key: whose value it is, and may be 0; nil: that
--- of trainer.memory, which may not.
function plan.bytes(v, key)
  local number, unit = tostring(v):upper():match "^([%d.]+)%s*([KMGT]?)I?B?$"
  local n = tonumber(number) or tonumber(v)
  if not n or n < 0 or n == 0 and not key then
    rl.raise("%s: expected bytes, or a number with K, M, G or T (24G), got %s",
      key or "trainer.memory", tostring(v))
  end
  return math.floor(n * units[unit or ""])
end

local function number_in(path, pattern)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read "*a"
  f:close()
  return tonumber(text:match(pattern))
end

--- Bytes that a run may use, and who says so: trainer.memory, or what the machine has free.
function plan.limit(cfg)
  if cfg.trainer.memory then return plan.bytes(cfg.trainer.memory), "trainer.memory" end
  local free = number_in("/proc/meminfo", "MemAvailable:%s*(%d+)")
  local most, used = number_in("/sys/fs/cgroup/memory.max", "^(%d+)"),
    number_in("/sys/fs/cgroup/memory.current", "^(%d+)")
  local bytes = free and free * 1024 or math.huge
  if most then bytes = math.min(bytes, most - (used or 0)) end
  return bytes + C.rl_memory_now(), "free on this machine"
end

--- The plan within the limit, which sets trainer.micro_tokens and trainer.recompute where they are
--- left out -> it, the limit and who says so.
function plan.fit(cfg)
  local limit, source = plan.limit(cfg)
  return require("rllava.plan.choose").fit(cfg, limit), limit, source
end

--- Refuses a run that cannot fit: with the table, and what to change.  Else what exceeds the limit,
--- beside what is in use already, is refused until plan.done -> the plan.
function plan.check(cfg)
  local p, limit, source = plan.fit(cfg)
  if p.peak.bytes > limit then
    error(require("rllava.plan.text").refusal(p, limit, source), 0)
  end
  check(C.rl_bytes_limit(C.rl_bytes_used() + limit - p.by_name.program.bytes[p.peak.phase]))
  return p
end

function plan.done() check(C.rl_bytes_limit(0)) end

return plan
