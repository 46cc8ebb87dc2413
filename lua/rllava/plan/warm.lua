--- What follows the plan and comes before step 1: everything the run will need is taken, and the
--- largest micro-batch is run once on zeros, so that a run that starts does not end for want of
--- memory.  No weight and no random number changes.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local forest = require "rllava.forest"
local tensor = require "rllava.tensor"
local worst = require "rllava.plan.worst"
local C, check = rl.C, rl.check

local warm = {}

local function zeros(n) return ffi.new("int[?]", math.max(1, n)) end

--- A group of a prompt and responses of w.max_new tokens, the last one shorter, rows in all.
local function group_of(w, prompt, rows)
  local g = { prompt = prompt, responses = {} }
  local left = rows - prompt.n
  while left > 0 do
    local n = math.min(left, w.max_new)
    g.responses[#g.responses + 1] = { ids = zeros(n), n = n }
    left = left - n
  end
  return g
end

--- Groups that fill the largest micro-batch: w.micro.pictures of them with pictures, whole where
--- they fit, and one of text alone.
local function groups_of(w)
  local list, left = {}, w.micro.rows
  local share = math.floor(left / math.max(1, w.micro.pictures))
  local whole = math.min(w.max_prompt + w.n * w.max_new, share)
  for _ = 1, w.micro.pictures do
    local rows = math.min(left, whole)
    list[#list + 1] = group_of(w, w.prompt, rows)
    left = left - rows
  end
  if left < 2 then return list end
  local n = math.min(w.max_prompt, left - 1)
  list[#list + 1] = group_of(w, { ids = zeros(n), n = n }, left)
  return list
end

local function reserve(replay, w, batch)
  worst.bind(replay, w, batch)
  check(C.rl_replay_reserve(replay))
end

--- Forward and backward of the largest micro-batch.
local function update(updater, w)
  reserve(updater.replay, w, w.micro)
  check(C.rl_replay_late(updater.replay, w.mini_rows, 1))
  tensor.scope(function()
    tensor.zeros(w.micro.rows * require("rllava.plan").LOSS_BYTES / 4)
    updater:forward(groups_of(w))
    local sum
    for name in updater.head:gmatch "%S+" do
      local part = tensor.own(C.rl_replay_output(updater.replay, name)):sum()
      sum = sum and sum + part or part
    end
    sum:backward()
    check(C.rl_replay_backward(updater.replay))
  end)
end

local function score(reference, w)
  reserve(reference.replay, w, w.micro)
  forest.pack(reference.batch, groups_of(w), reference.even)
  check(C.rl_batch_bind(reference.batch, reference.replay, 1))
  check(C.rl_replay_forward(reference.replay))
end

local function sample(rollout, w)
  reserve(C.rl_engine_replay(rollout.engine), w, w.step)
  if w.prompt.media then
    check(C.rl_engine_pictures(rollout.engine, w.prompt.media, w.step.pictures))
  end
end

--- Runs a frozen tower on the largest picture.
local function see(trainer)
  local image, picture = require "rllava.image", worst.picture(trainer.policy, trainer.cfg)
  if not picture then return end
  trainer.prompt_options.vision:reserve(picture)
  image.release(picture)
end

--- Takes the room of the pictures of n prompts while body runs.
local function beside(w, n, body)
  tensor.scope(function()
    local media = w.prompt.media
    if media and n > 1 then tensor.zeros(C.rl_media_bytes(media, n - 1) / 4) end
    body()
  end)
end

--- The updaters of a trainer.
local function updaters(trainer)
  return { trainer.updater, trainer.critic and trainer.critic.updater }
end

--- Micro-batches hold no more pictures than were planned for.
local function hold_cells(trainer, w)
  local cells = w.cells > 0 and w.micro.cells or nil
  for _, name in ipairs { "reference", "teacher" } do
    if trainer[name] then trainer[name].cells = cells end
  end
  for _, updater in ipairs(updaters(trainer)) do updater.cfg.micro_cells = cells end
end

--- trainer: as setup.open gives it; p: its plan.
function warm.up(trainer, p)
  local w, train = p.worst, not trainer.cfg.trainer.val_only
  hold_cells(trainer, w)
  sample(trainer.rollout, w)
  if trainer.policy.features then see(trainer) end
  beside(w, w.prompts, function()
    for _, name in ipairs { "reference", "teacher" } do
      if train and trainer[name] then score(trainer[name], w) end
    end
    for _, updater in ipairs(train and updaters(trainer) or {}) do update(updater, w) end
  end)
  beside(w, w.val_prompts, function() end)          -- while gradients are there, as after a step
  tensor.scope(function() tensor.zeros(p.scratch / 4) end)
  for _, updater in ipairs(updaters(trainer)) do updater.policy:zero_grad() end
  require("rllava.prompt").release(w.prompt)
end

return warm
