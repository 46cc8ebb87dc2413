--- A frozen policy that gives log-probs of responses: the reference of KL terms, a teacher.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local forest = require "rllava.forest"
local C, check = rl.C, rl.check

local Reference = {}
Reference.__index = Reference

--- policy: its parameters take no gradients; rows: of one replay at most (and .cells of pictures);
--- responses: likewise, nil: any; temperature divides the logits; dtype as in rl_replay_new.
function Reference.new(policy, rows, responses, temperature, dtype)
  local self = setmetatable({ policy = policy, rows = rows, responses = responses,
    temperature = temperature }, Reference)
  self.replay = ffi.gc(check(C.rl_replay_new(policy.model.tape, "logp", 0, 0,
    dtype or C.RL_FLOAT)), C.rl_replay_free)
  self.batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  self.even = dtype == C.RL_HALF and 1 or 0
  return self
end

--- Log-probs of these groups' trained tokens, end to end.
local function of_micro(self, groups)
  forest.pack(self.batch, groups, self.even)
  check(C.rl_batch_bind(self.batch, self.replay, self.temperature))
  check(C.rl_replay_forward(self.replay))
  local logp = tensor.own(C.rl_replay_output(self.replay, "logp")):data()
  local order, out = C.rl_batch_order(self.batch), {}
  for i = 0, C.rl_batch_pairs(self.batch) - 1 do out[i + 1] = logp[order[i]] end
  return out
end

--- Lays log-probs of each response's tokens beside them, as r.tokens[name].
function Reference:logp(groups, name)
  for _, micro in ipairs(forest.cut(groups, self.rows, self.cells, self.responses)) do
    tensor.scope(function()
      local _, _, n, responses = forest.lay(micro)
      forest.assign(responses, name, n > 0 and of_micro(self, micro) or {})
    end)
  end
end

--- Follows the policy that is trained, after a step.  cfg.ref_update: none; every: becomes it each
--- ref_every steps; ema: ref = ref_decay ref + (1 - ref_decay) policy, each ref_every steps.
function Reference:follow(policy, step, cfg)
  if cfg.ref_update == "none" or step % cfg.ref_every ~= 0 then return end
  self.policy:approach(policy, cfg.ref_update == "ema" and 1 - cfg.ref_decay or 1)
end

return Reference
