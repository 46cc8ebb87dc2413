--- The largest batches that a run's keys admit: what is planned for, and reserved before step 1.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local C, check = rl.C, rl.check

local worst = {}

--- ---- a prompt with as many patches as fit ----

--- The grid of at most so many cells that has the most of them, at most four times as wide as high.
local function grid_of(cells)
  local best = { 1, 1 }
  for rows = math.floor(math.sqrt(cells)), math.max(1, math.floor(math.sqrt(cells) / 2)), -1 do
    local columns = math.floor(cells / rows)
    if rows * columns > best[1] * best[2] then best = { rows, columns } end
  end
  return best[1], best[2]
end

--- Cells of a picture, at least and at most, by the processor's limits of its area and the run's.
local function limits(processor, cfg)
  local side = processor.rule.patch * processor.rule.merge
  local least, most = processor.min_pixels / side ^ 2, processor.max_pixels / side ^ 2
  if cfg.data.max_pixels then
    most = math.max(least, math.min(most, (math.sqrt(cfg.data.max_pixels) / side + 1) ^ 2))
  end
  return math.max(1, math.ceil(least)), math.max(1, math.floor(most))
end

--- A picture of zeros, rows x columns cells, as the processor makes it.
local function blank(rule, rows, columns)
  local h, w, width = rows * rule.merge, columns * rule.merge, 3 * rule.times * rule.patch ^ 2
  local patches = require("rllava.image").room("float", h * w * width)
  ffi.fill(patches, 4 * h * w * width)
  return { patches = patches, rows = h * w, width = width, grid = { 1, h, w } }
end

--- The same behind a frozen tower: its features.
local function features(policy, rule, rows, columns)
  local n, width = rows * columns, policy.config.text_config.hidden_size
  local zeros = require("rllava.image").room("float", n * width)
  ffi.fill(zeros, 4 * n * width)
  return { features = zeros, rows = n, width = width,
    grid = { 1, rows * rule.merge, columns * rule.merge } }
end

--- The largest picture of a prompt, for a frozen tower; nil where there is none.
function worst.picture(policy, cfg)
  local least, most = limits(policy.processor, cfg)
  most = math.min(most, cfg.data.max_prompt_length - 2)
  return most >= least and blank(policy.processor.rule, grid_of(most)) or nil
end

--- Pictures of zeros, the largest that a prompt of so many tokens can hold; each stands between two
--- tokens of its own.
local function pictures(policy, cfg)
  local processor, list, room = policy.processor, {}, cfg.data.max_prompt_length
  if not processor or processor.kind ~= "qwen" then return list, 0 end
  local rule, cells = processor.rule, 0
  local least, most = limits(processor, cfg)
  while room - 2 >= least do
    local rows, columns = grid_of(math.min(most, room - 2))
    local n = rows * columns
    list[#list + 1] = policy.features and features(policy, rule, rows, columns)
      or blank(rule, rows, columns)
    room, cells = room - n - 2, cells + n
  end
  return list, cells
end

--- A prompt of data.max_prompt_length tokens, all 0 but the placeholders of its pictures -> the
--- prompt, and how many of its tokens are cells of pictures.
function worst.prompt(policy, cfg)
  local list, cells = pictures(policy, cfg)
  local ids = {}
  for _ = 1, cfg.data.max_prompt_length - cells do ids[#ids + 1] = 0 end
  for _ = 1, #list do table.insert(ids, 1, policy.config.image_token_id) end
  local prompt = require("rllava.prompt").new(policy, ids, list)
  for _, image in ipairs(list) do require("rllava.image").release(image) end
  return prompt, cells
end

--- ---- batches ----

--- Rows of a mini-batch and of its largest micro-batch.  A group of the largest kind that exceeds
--- trainer.micro_tokens or micro_rows is cut, and pays for its prompt again in each piece.
local function training(w, cfg)
  local t, one, group = cfg.trainer, w.max_prompt + w.max_new, w.max_prompt + w.n * w.max_new
  local micro = t.micro_tokens or require("rllava.plan.choose").ROWS
  local trained = t.micro_rows or math.huge
  w.micro_tokens = micro
  w.pieces = math.max(1, math.ceil(w.n * w.max_new / math.max(w.max_new, micro - w.max_prompt)),
    math.ceil(w.n / trained))
  w.mini_rows = w.groups * (group + (w.pieces - 1) * w.max_prompt)
  local responses = math.max(trained, t.score_rows or trained)
  local rows = math.min(w.mini_rows, math.max(micro, one), responses * one)
  local full = math.max(1, math.min(w.groups, math.floor(micro / group), responses))
  w.micro = { rows = rows, answers = rows, pictures = full, cells = full * w.cells,
    pads = cfg.trainer.dtype == "bf16" and w.groups or 0 }
end

--- Rows of a step of the engine: prompts, and one of each response that is decoded, with its draft.
local function sampling(w, cfg)
  local r, asked = cfg.rollout, {}
  for _, need in ipairs(cfg.algorithm.needs or {}) do asked[need] = true end
  local val_n = r.val_sampled and 1 or r.val.n
  local together = math.max(1, math.floor(r.at_once / (asked.greedy and 1 or r.n)))
  local prompts = math.max(math.min(together, w.prompts * (asked.greedy and 2 or 1)),
    math.floor(r.at_once / math.min(val_n, r.val.n)), 1)
  local whole = w.cells > 0 and math.min(prompts, math.ceil(w.prompt_rows / w.cells)) or 0
  if w.max_prompt > w.prompt_rows and w.cells > 0 then whole = whole + 2 end
  local answers = math.max(r.at_once, r.n, r.val.n) * (1 + r.lookup)
  w.step = { rows = math.min(w.prompt_rows, prompts * w.max_prompt) + answers, answers = answers,
    pictures = whole, pads = 0 }
end

--- How many rows of validation have their pictures in memory at once.
local function validation(w, cfg)
  if not cfg.data.val and #(cfg.data.val_apart or {}) == 0 then return 0 end
  local most = cfg.data.val_batch_size > 0 and math.min(256, cfg.data.val_batch_size) or 256
  if not w.prompt.media then return most end
  local one = C.rl_media_bytes(w.prompt.media, 1)
  local room = math.max(2 ^ 26, one * w.prompts)
  return math.max(1, math.min(most, math.floor(room / one)))
end

--- May a group have a response beside its samples: a demonstration, or a recalled one?
local function guided(cfg)
  for _, need in ipairs(cfg.algorithm.needs or {}) do if need == "prefix" then return true end end
  return (cfg.loss.recall or 0) > 0
end

--- The prompt of a plan, made once for all plans of the same models.
local function prompt_of(models, cfg)
  local n = cfg.data.max_prompt_length
  models.prompts = models.prompts or {}
  if not models.prompts[n] then models.prompts[n] = { worst.prompt(models[1].policy, cfg) } end
  return unpack(models.prompts[n])
end

--- The largest batches of a run by its config.  models: as plan.models gives them.
function worst.of(cfg, models)
  local r, t = cfg.rollout, cfg.trainer
  local w = { max_prompt = cfg.data.max_prompt_length, max_new = r.max_new_tokens,
    n = cfg.algorithm.supervised and 1 or r.n, prompts = cfg.data.prompts_per_step }
  if guided(cfg) then w.n = w.n + 1 end
  w.groups = math.ceil(w.prompts / math.min(t.updates_per_step, w.prompts))
  w.prompt, w.cells = prompt_of(models, cfg)
  w.prompt_rows = require("rllava.rollout").PROMPT_ROWS
  w.step_tokens = w.prompts * (w.max_prompt + w.n * w.max_new)
  w.slots = require("rllava.rollout").slots { at_once = r.at_once, n = r.n,
    max_prompt = w.max_prompt, max_new = math.max(r.max_new_tokens, r.val.max_new_tokens or 0) }
  training(w, cfg)
  sampling(w, cfg)
  w.val_prompts = validation(w, cfg)
  return w
end

local text = { tokens = true, answers = true, pairs = true }

--- Binds the rows of a batch (w.micro or w.step) to a replay.
function worst.bind(replay, w, batch)
  for i = 0, 1000 do
    local name = C.rl_replay_kind(replay, i)
    if name == nil then break end
    local kind = ffi.string(name)
    local rows = kind == "tokens" and batch.rows + batch.pads or batch.answers
    if not text[kind] then
      rows = w.prompt.media and batch.pictures * C.rl_media_rows(w.prompt.media, kind) or 0
    end
    check(C.rl_replay_rows(replay, kind, rows))
  end
end

return worst
