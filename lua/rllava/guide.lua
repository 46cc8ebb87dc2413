--- Demonstrations inside groups: responses that begin with a part of their row's target text, are
--- it, or stand beside the samples.  Their field prefix [tokens] is 1 where a token was copied.
---   loss.prefix_strategy   random: LUFFY, arXiv:2504.14945; hint: UFT, arXiv:2505.16984;
---                          beside: CHORD, arXiv:2508.11408
---   loss.unify_strategy    switch: HPT, arXiv:2509.04419
local ffi = require "ffi"
local rl = require "rllava.ffi"
local Batch = require "rllava.batch"
local forest = require "rllava.forest"
local score = require "rllava.score"
local C = rl.C

local guide = {}

--- Does the config ask for demonstrations inside groups?
function guide.asked(cfg) return cfg.prefix_strategy ~= "none" or cfg.unify_strategy ~= "none" end

--- The tokens of a row's target text up to its first end token; without one it gets the policy's.
function guide.target(policy, row, key)
  local text = row[key] or row.response
  if type(text) ~= "string" then
    rl.raise("%s: %s: expected a text to imitate (data.target_key), found none",
      row.source or "row", key)
  end
  local ids, stop, out = policy.tokenizer:encode(text), policy:stop_ids(), {}
  ids[#ids + 1] = stop[1]
  for t, counts in ipairs(score.response_mask(ids, stop)) do
    if counts == 1 then out[t] = ids[t] end
  end
  return out
end

--- The largest share at a step: it falls from max_prefix_ratio by a cosine over hint_steps.
local function highest(cfg, step)
  local high = cfg.max_prefix_ratio
  if cfg.prefix_strategy == "hint" and cfg.hint_steps > 0 then
    high = high * (1 + math.cos(math.pi * math.min(1, step / cfg.hint_steps))) / 2
  end
  return math.max(cfg.min_prefix_ratio, high)
end

--- The share of the demonstration that each of n responses begins with: of the first n_prefix (-1:
--- all) u ~ U(min, max), of the others 0.  uniform(k): a number in [0, 1).
function guide.ratios(cfg, n, step, uniform)
  local low, high, out = cfg.min_prefix_ratio, highest(cfg, step), {}
  local first = cfg.n_prefix < 0 and n or math.min(n, cfg.n_prefix)
  for k = 1, n do
    local u = uniform(cfg.prefix_share_across_samples and 1 or k)
    out[k] = k <= first and low + (high - low) * u or 0
  end
  return out
end

local function list_of(n, value)
  local out = {}
  for t = 1, n do out[t] = value end
  return out
end

local function decode(policy, r, skip_special)
  return policy.tokenizer:decode_ints(r.ids, r.n, skip_special)
end

--- The first p of a list of ids in an array of n (LuaJIT would write the whole list, beyond it).
local function ints(n, list, p)
  local out = ffi.new("int[?]", math.max(1, n))
  for t = 1, p do out[t - 1] = list[t] end
  return out
end

--- A response that is the target itself, cut to `most` tokens.
function guide.copy(policy, target, most, sample, skip_special)
  local n = math.min(#target, most)
  local r = { ids = ints(n, target, n), n = n, sample = sample, copied = n,
    tokens = { prefix = list_of(n, 1), old_logp = list_of(n, 0) }, entropy = {},
    finish = n == #target and "stop" or "length" }
  r.text = decode(policy, r, skip_special)
  return r
end

--- Puts the first p tokens of the target before a sampled response.
function guide.join(policy, target, p, r, skip_special)
  local ids, sampled = ints(p + r.n, target, p), r.tokens.old_logp
  ffi.copy(ids + p, r.ids, 4 * r.n)
  r.tokens.prefix, r.tokens.old_logp = list_of(p, 1), list_of(p, 0)
  for t = 1, r.n do
    r.tokens.prefix[p + t], r.tokens.old_logp[p + t] = 0, sampled[t]
  end
  r.ids, r.n, r.copied = ids, p + r.n, p
  r.text = decode(policy, r, skip_special)
end

--- A prompt followed by the first p tokens of the target.
function guide.extend(prompt, target, p)
  local n = prompt.n
  local ids, out = ffi.new("int[?]", n + p), {}
  ffi.copy(ids, prompt.ids, 4 * n)
  for t = 1, p do ids[n + t - 1] = target[t] end
  for k, v in pairs(prompt) do out[k] = v end
  out.ids, out.n = ids, n + p
  if not prompt.positions then return out end
  local top = 0
  for i = 0, 3 * n - 1 do top = math.max(top, prompt.positions[i]) end
  out.positions = ffi.new("int[?]", 3 * (n + p))
  for a = 0, 2 do
    for i = 0, n + p - 1 do
      out.positions[a * (n + p) + i] = i < n and prompt.positions[a * n + i] or top + i - n + 1
    end
  end
  return out
end

--- ---- a group ----

--- A number in [0, 1) for a group: a stream of its own beside sampling.
local function draw(trainer, group, k)
  return C.rl_uniform(trainer.seed, 2 ^ 52 + group.number * 4096 + k)
end

local function copy_of(trainer, group, target, sample)
  local r = guide.copy(trainer.policy, target, trainer.cfg.rollout.max_new_tokens, sample,
    trainer.cfg.reward_options.skip_special_tokens)
  trainer:hand_out(r, group.row)
  table.insert(group.responses, r)
end

--- Asks for the n responses of a group that begins with demonstrations: submit(prompt, how, joined)
--- where joined(r) completes a sampled response; what is copied whole is there at once.
local function ask_prefixed(trainer, group, step, submit)
  local cfg, most = trainer.cfg.loss, trainer.cfg.rollout.max_new_tokens
  local target = guide.target(trainer.policy, group.row, trainer.cfg.data.target_key)
  local n = trainer.cfg.rollout.n
  local function uniform(k) return draw(trainer, group, k) end
  for k, ratio in ipairs(guide.ratios(cfg, n, step, uniform)) do
    local p = math.floor(#target * ratio)
    if p >= math.min(#target, most) then
      copy_of(trainer, group, target, k - 1)
    else
      local how = trainer:how(group)
      how.n, how.first_sample, how.max_new = 1, k - 1, most - p
      submit(p > 0 and guide.extend(group.prompt, target, p) or group.prompt, how, p > 0
        and function(r)
          guide.join(trainer.policy, target, p, r, trainer.cfg.reward_options.skip_special_tokens)
        end)
    end
  end
end

--- Asks for a group's responses.  submit(prompt, how, joined or nil): see Trainer:sample.
--- i of count groups: which of them get a demonstration beside their samples.
function guide.ask(trainer, group, i, count, step, submit)
  local strategy, n = trainer.cfg.loss.prefix_strategy, trainer.cfg.rollout.n
  if strategy == "random" or strategy == "hint" then
    return ask_prefixed(trainer, group, step, submit)
  end
  submit(group.prompt, trainer:how(group))
  if strategy ~= "beside" then return end
  local share = trainer.cfg.loss.expert_share
  local each = math.min(1, share / math.max(1e-9, 1 - share) * n)    -- demonstrations a group
  if math.floor(i * each + 1e-9) > math.floor((i - 1) * each + 1e-9) then
    local key = trainer.cfg.data.target_key
    copy_of(trainer, group, guide.target(trainer.policy, group.row, key), n)
    group.responses[1].beside = true
  end
end

--- ---- a batch ----

--- HPT: in a group with at most switch_gate responses of success_reward_threshold or more, the
--- first is replaced by the demonstration, whose reward is asked for, and the others are not
--- trained on -> groups that were switched.
function guide.switch(trainer, batch)
  local cfg, switched = trainer.cfg.loss, 0
  for _, g in ipairs(batch.groups) do
    local right = 0
    for _, r in ipairs(g.responses) do
      if r.result.overall >= cfg.success_reward_threshold then right = right + 1 end
    end
    if right <= cfg.switch_gate then
      local key, old = trainer.cfg.data.target_key, g.responses
      for _, r in ipairs(old) do Batch.mask(r) end
      g.responses = {}
      copy_of(trainer, g, guide.target(trainer.policy, g.row, key), old[1].sample)
      for k = 2, #old do g.responses[k] = old[k] end
      switched = switched + 1
    end
  end
  return switched
end

--- Lays what losses over demonstrations ask for: prefix of every response, and the old log-probs of
--- copied tokens, by the policy as it is.
function guide.complete(trainer, batch)
  local copied = {}
  for _, g in ipairs(batch.groups) do
    local own = { prompt = g.prompt, responses = {} }
    for _, r in ipairs(g.responses) do
      r.tokens.prefix = r.tokens.prefix or list_of(forest.count(r), 0)
      if r.copied then table.insert(own.responses, r) end
    end
    if #own.responses > 0 then copied[#copied + 1] = own end
  end
  local logp, at = trainer.updater:values(copied, "logp"), 0
  for _, g in ipairs(copied) do
    for _, r in ipairs(g.responses) do
      local n = forest.count(r)
      for t = 1, math.min(n, r.copied) do r.tokens.old_logp[t] = logp[at + t] end
      at = at + n
    end
  end
end

return guide
