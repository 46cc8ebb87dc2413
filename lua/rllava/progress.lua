--- What a checkpoint holds of a run beside the policy's weights and moments, and going on from it.
local rl = require "rllava.ffi"

local progress = {}

--- Numbers and lists that JSON gives back as they were.
function progress.state(trainer)
  return { step = trainer.step_done, consumed = trainer.feed.consumed,
    updater = trainer.updater:state(), critic = trainer.critic and trainer.critic.updater:state(),
    kl_coef = trainer.kl_controller.value, recall = trainer.recall and trainer.recall:state(),
    data_hash = trainer.data.hash }
end

--- The models beside the policy: list of { name, policy, optimizer (or nil) }.
function progress.beside(trainer)
  local list, critic = {}, trainer.critic
  if critic then
    list[1] = { name = "critic", policy = critic.policy, optimizer = critic.updater }
  end
  if trainer.cfg.loss.ref_update ~= "none" then
    list[#list + 1] = { name = "reference", policy = trainer.reference.policy }
  end
  return list
end

--- Goes on from a state: the data must be those of the checkpoint.
function progress.take_up(trainer, state)
  local hash = trainer.data.hash
  if state.data_hash and hash and state.data_hash ~= hash then
    rl.raise("resume: data.train: expected the rows of the checkpoint (hash %s), found others (%s)",
      state.data_hash, hash)
  end
  trainer.step_done, trainer.feed.consumed = state.step, state.consumed
  trainer.updater:take_up(state.updater)
  if trainer.critic then trainer.critic.updater:take_up(state.critic) end
  if trainer.recall and state.recall then trainer.recall:take_up(state.recall) end
  trainer.kl_controller.value = state.kl_coef
end

return progress
