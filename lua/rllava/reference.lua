--- A frozen policy that gives log-probs of responses: the reference of KL terms, a teacher.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local Updater = require "rllava.update"
local C, check = rl.C, rl.check

local Reference = {}
Reference.__index = Reference

--- policy: its parameters take no gradients; rows: of one replay at most; temperature divides the logits;
--- dtype as in rl_replay_new.
function Reference.new(policy, rows, temperature, dtype)
  local self = setmetatable({ policy = policy, rows = rows, temperature = temperature }, Reference)
  self.replay = ffi.gc(check(C.rl_replay_new(policy.model.tape, "logp", 0, 0, dtype or C.RL_FLOAT)), C.rl_replay_free)
  self.batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  self.even = dtype == C.RL_HALF and 1 or 0
  return self
end

--- Lays log-probs of each response's tokens beside them, as r.tokens[name].
function Reference:logp(groups, name)
  for _, micro in ipairs(Updater.cut(groups, self.rows)) do
    tensor.scope(function()
      Updater.pack(self.batch, micro, self.even)
      check(C.rl_batch_bind(self.batch, self.replay, self.temperature))
      check(C.rl_replay_forward(self.replay))
      local logp, order = tensor.own(C.rl_replay_output(self.replay, "logp")):data(), C.rl_batch_order(self.batch)
      local at = 0
      for _, g in ipairs(micro) do
        for _, r in ipairs(g.responses) do
          local own = {}
          for i = 1, Updater.count(r) do own[i] = logp[order[at + i - 1]] end
          r.tokens[name], at = own, at + #own
        end
      end
    end)
  end
end

return Reference
