--- Rollout: prompts in, finished responses out; a face of the engine, which has its own thread.
---
---   local r = rollout.new(policy, { at_once = 64, max_prompt = 64, max_new = 56, n = 8 })
---   r:submit(prompt, { n = 8, seed = 1, stream = 3 })     -> the request's number
---   r:next(seconds)                                       -> a finished response, or nil
---   r:update(function() ... end)                          weights change inside
local ffi = require "ffi"
local rl = require "rllava.ffi"
local C, check = rl.C, rl.check

local Rollout = {}
Rollout.__index = Rollout

local finishes = { [0] = "stop", "length", "failed", "cancelled" }

--- Ids that are never sampled: placeholders of pictures, and rows that no token of the tokenizer has.
local function banned_ids(policy)
  local vocab = policy.config.text_config.vocab_size
  local banned = ffi.new("unsigned char[?]", vocab)
  for _, id in ipairs { policy.config.image_token_id or -1, policy.config.video_token_id or -1 } do
    if id >= 0 then banned[id] = 1 end
  end
  for id = policy.tokenizer and policy.tokenizer.size or vocab, vocab - 1 do banned[id] = 1 end
  return banned, vocab
end

--- Bits of the weights that are sampled by, by the names of rollout.weights; same: the trainer's.
Rollout.bits = { int8 = 8, int4 = 4 }

--- Rows of prompts in one step of the engine, at most.
Rollout.PROMPT_ROWS = 2048

--- Rows of the cache: room for at_once samples, n below a prompt, at their longest.
function Rollout.slots(options)
  local n = options.n or 1
  local at_once = math.max(options.at_once or 64, n)
  local page = function(rows) return math.ceil(rows / 16) * 16 end
  return math.ceil(at_once / n) * page(options.max_prompt) + at_once * page(options.max_new)
end

--- options: at_once samples decoded together; max_prompt, max_new tokens; n samples a prompt, as a
--- rule; dtype; weights: same, int8 or int4; lookup: tokens drafted at most; skip_special = false keeps special tokens in r.text.
--- The cache has room for so many at their longest.
function Rollout.new(policy, options)
  local self = setmetatable({ policy = policy, options = options, waiting = {}, told = {} }, Rollout)
  local banned, vocab = banned_ids(policy)
  self.engine = check(C.rl_engine_new(policy.model.tape, options.dtype or C.RL_FLOAT,
    Rollout.slots(options), options.at_once or 64, options.prompt_rows or Rollout.PROMPT_ROWS, banned,
    vocab))
  local bits = Rollout.bits[options.weights]
  if bits then check(C.rl_engine_quantise(self.engine, bits)) end
  self.stop = policy:stop_ids()
  return self
end

local function ints(list) return ffi.new("int[?]", math.max(1, #list), list) end

--- Queues n samples of a prompt.  how: n, max_new, temperature, top_p, top_k, min_p, seed, stream (which
--- prompt of the run: below 2^31), first_sample, stop (texts that end a response).
function Rollout:submit(prompt, how)
  local stop, texts = ints(self.stop), how.stop or {}
  local stop_text = ffi.new("const char *[?]", math.max(1, #texts), texts)
  local q = ffi.new("rl_request", {
    prompt = prompt.ids, positions = prompt.positions, n = prompt.n, samples = how.n or 1,
    max_new = how.max_new or self.options.max_new, media = prompt.media,
    temperature = how.temperature or 1, top_p = how.top_p or 1, min_p = how.min_p or 0,
    top_k = math.max(0, how.top_k or 0), seed = how.seed or 0, stream = how.stream or 0,
    first_sample = how.first_sample or 0, stop = stop, nstop = #self.stop,
    stop_text = stop_text, nstop_text = #texts, lookup = self.options.lookup or 0,
    tokenizer = #texts > 0 and self.policy.tokenizer.handle or nil })
  local number = check(C.rl_engine_submit(self.engine, q))
  self.waiting[number] = { prompt = prompt, left = q.samples }
  return number
end

--- A finished sample as it leaves the engine.
local function response(self, result)
  local n = result.n
  local r = { request = result.request, sample = result.sample, n = n, finish = finishes[result.finish],
    version = result.version, ids = ffi.new("int[?]", math.max(1, n)), tokens = {}, entropy = {},
    error = result.error ~= nil and ffi.string(result.error) or nil }
  ffi.copy(r.ids, result.tokens, 4 * n)
  local logp = {}
  for i = 1, n do logp[i], r.entropy[i] = result.logp[i - 1], result.entropy[i - 1] end
  r.tokens.old_logp = logp
  if self.policy.tokenizer then r.text = self.policy.tokenizer:decode_ints(r.ids, n, self.options.skip_special ~= false) end
  return r
end

--- The next finished response { request, sample, ids (int *), n, text, finish = "stop", "length", "failed" or
--- "cancelled", error, version, tokens = { old_logp = [n] }, entropy = [n] }; nil where none came in time.
function Rollout:next(seconds)
  local result = C.rl_engine_next(self.engine, seconds or 3600)
  if result == nil then return nil end
  local asked = self.waiting[result.request]
  local r = response(self, result)
  asked.left = asked.left - 1
  if asked.left == 0 then self.waiting[result.request] = nil end
  C.rl_engine_forget(self.engine, result)
  return r
end

--- Adds what the engine counted since the last call: rollout/accepted, the share of drafted tokens
--- that were drawn; rollout/prompt_reused, the share of prompt tokens that were there already.
function Rollout:into(found)
  local function since(which)
    local before, now = self.told[which] or 0, C.rl_engine_count(self.engine, which)
    self.told[which] = now
    return now - before
  end
  local drafted, accepted = since(3), since(4)
  if drafted > 0 then found["rollout/accepted"] = accepted / drafted end
  local computed, reused = since(0), since(5)
  if computed + reused > 0 then found["rollout/prompt_reused"] = reused / (computed + reused) end
end

--- Responses that have not come yet.
function Rollout:pending() return C.rl_engine_pending(self.engine) end

--- Everything submitted, as { [request] = { response by sample } }; each(response) is called as they come.
function Rollout:drain(each)
  local groups = {}
  for number in pairs(self.waiting) do groups[number] = {} end
  while next(self.waiting) do
    local r = self:next(60)
    if r then
      if r.error then rl.raise("rollout: %s", r.error) end
      table.insert(groups[r.request], r)
      if each then each(r) end
    end
  end
  for _, g in pairs(groups) do table.sort(g, function(a, b) return a.sample < b.sample end) end
  return groups
end

--- Runs body while no step of the engine reads the weights; what was cached of them is dropped after.
function Rollout:update(body)
  check(C.rl_engine_hold(self.engine))
  local ok, message = pcall(body)
  check(C.rl_engine_go(self.engine))
  if not ok then error(message, 0) end
end

function Rollout:close()
  if self.engine then C.rl_engine_free(self.engine) end
  self.engine = nil
end

return Rollout
