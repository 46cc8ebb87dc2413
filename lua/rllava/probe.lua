--- A model by hand: text from a policy, log-probabilities of a response, a loss and its gradient.
---
---   p = rl.policy.load "tiny-vl"
---   rl.probe.generate(p, "How many sides has a square?", { n = 4, temperature = 0.7 })
---   s = rl.probe.score(p, "How many sides has a square?", "4")
---   s.logp, s.entropy                  [tokens], live: what is made of them can be differentiated
---   s:backward(-s.logp:mean())         p:grad_norm(), rl.probe.gradient(p, "model.norm.weight")
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local C, check = rl.C, rl.check

local probe = {}

--- A text, messages, or a row { prompt, images } -> a prompt of the policy's; made ones pass.
local function prompt_of(policy, what)
  if type(what) == "table" and what.ids then return what end
  local row = type(what) == "table" and what.prompt and what or { prompt = what }
  if not policy.chat or not policy.tokenizer then
    local text = type(row.prompt) == "string" and row.prompt
    if not policy.tokenizer or not text then
      rl.raise "probe: expected a policy with a tokenizer, or a prompt made of ids"
    end
    return require("rllava.prompt").new(policy, policy.tokenizer:encode(text))
  end
  return require("rllava.prompt").of_row(policy, row)
end

--- Responses to a prompt (text, messages, or a row) -> a list of texts.  options: n (1), max_new
--- (64), temperature (1; 0: the likeliest token), top_p, top_k, min_p, seed, stop.
function probe.generate(policy, what, options)
  options = options or {}
  local prompt = prompt_of(policy, what)
  local n, max_new = options.n or 1, options.max_new or 64
  local r = require("rllava.rollout").new(policy,
    { at_once = n, n = n, max_prompt = prompt.n, max_new = max_new })
  local ok, found = pcall(function()
    local number = r:submit(prompt, {
      n = n, max_new = max_new, temperature = options.temperature, top_p = options.top_p,
      top_k = options.top_k, min_p = options.min_p, seed = options.seed, stop = options.stop })
    return r:drain()[number]
  end)
  r:close()
  if not ok then error(found, 0) end
  local texts = {}
  for i, response in ipairs(found) do texts[i] = response.text or response end
  return texts
end

local Score = {}
Score.__index = Score

--- Adds the gradient of a loss (one number, made of logp and entropy) to the parameters; once.
function Score:backward(loss)
  if self.done then rl.raise "probe: expected one backward pass of a score, found a second" end
  self.done = true
  loss:backward()
  check(C.rl_replay_backward(self.replay))
  return self
end

function Score:__tostring()
  local sum = self.logp:sum():item()
  return ("score of %d tokens: log-probability %.4f, perplexity %.4g"):format(self.n, sum,
    math.exp(-sum / self.n))
end

--- Log-probabilities of a response (text or a list of ids) to a prompt, and the entropies, with the
--- tape that made them -> { logp, entropy [tokens], ids, n, prompt }.  options: temperature (1).
function probe.score(policy, what, response, options)
  local prompt = prompt_of(policy, what)
  local ids = type(response) == "string" and policy.tokenizer:encode(response) or response
  if #ids == 0 then rl.raise "probe: response: expected at least one token, found none" end
  local one = { prompt = prompt, responses = { { ids = ffi.new("int[?]", #ids, ids), n = #ids } } }
  local self = setmetatable({ prompt = prompt, ids = ids, n = #ids, group = one }, Score)
  self.batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  local replay = check(C.rl_replay_new(policy.model.tape, "logp entropy", 1, 0, C.RL_FLOAT))
  self.replay = ffi.gc(replay, C.rl_replay_free)
  require("rllava.update").pack(self.batch, { one })
  check(C.rl_batch_bind(self.batch, self.replay, options and options.temperature or 1))
  check(C.rl_replay_forward(self.replay))
  local order = tensor.from(C.rl_batch_order(self.batch), { #ids }, C.RL_INT)
  self.logp = tensor.own(C.rl_replay_output(self.replay, "logp")):gather(order)
  self.entropy = tensor.own(C.rl_replay_output(self.replay, "entropy")):gather(order)
  return self
end

--- A parameter of the model by name; the nearest name where there is none.
local function parameter(policy, name)
  local p = policy.model.params[name]
  if p then return p end
  rl.raise("probe: expected the name of a parameter, found '%s'; the nearest is '%s'", name,
    require("rllava.nearest")(name, policy.model.names) or "none")
end

--- The numbers of a parameter, a copy in the shape of the checkpoint.
function probe.numbers(policy, name)
  local p, n = parameter(policy, name), 1
  for _, d in ipairs(p.shape) do n = n * d end
  local values = ffi.new("float[?]", n)
  check(C.rl_param_get(p.tensor, values))
  return tensor.from(values, p.shape)
end

--- The gradient of a parameter, a copy; axes after the first are one.
function probe.gradient(policy, name) return parameter(policy, name).tensor:grad() end

return probe
