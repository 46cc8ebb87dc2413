--- What a training run needs, opened from its config: policy, data, rewards, engine, optimizer, run
--- folder.
local rl = require "rllava.ffi"
local algorithm = require "rllava.algorithm"
local data = require "rllava.data"
local guide = require "rllava.guide"
local policy = require "rllava.policy"
local C = rl.C

local setup = {}

--- ---- pieces ----

local function data_options(cfg)
  local d = cfg.data
  return { image_dir = d.image_dir, prompt_key = d.prompt_key, answer_key = d.answer_key,
    image_key = d.image_key, video_key = d.video_key, folder = cfg.recipe.folder,
    on_bad = d.on_bad == "skip" and "drop" or "error" }
end

--- Rows of a source; says how many were left out (data.on_bad=skip), and why the first ones.
local function open_rows(spec, options)
  local rows = data.open(spec, options)
  for i = 1, math.min(3, #rows.dropped) do io.stderr:write(rows.dropped[i], "; left out\n") end
  if #rows.dropped > 0 then
    io.stderr:write(("data: %d rows left out, %d are there\n"):format(#rows.dropped, rows.n))
  end
  return rows
end

--- The sets of validation: data.val, whose metrics have plain names, and each of data.val_apart,
--- whose metrics end in its split's name.
local function val_sets(cfg)
  local sets, options = {}, data_options(cfg)
  options.image_dir = cfg.data.val_image_dir or options.image_dir
  local function add(spec, suffix)
    local rows = open_rows(spec, options)
    local n = cfg.data.val_rows > 0 and math.min(cfg.data.val_rows, rows.n) or rows.n
    local first = { n = n, get = function(_, i) return rows:get(i) end }
    sets[#sets + 1] = { suffix = suffix, rows = first }
  end
  if cfg.data.val then add(cfg.data.val, "") end
  for _, spec in ipairs(cfg.data.val_apart or {}) do
    add(spec, "/" .. (spec:match "@([%w_-]+)$" or spec))
  end
  return sets
end

--- Decodings of validation: rollout.val, and, with rollout.val_sampled, one response as training
--- samples.
local function val_ways(cfg)
  local function way(suffix, from)
    return { suffix = suffix, n = from.n, temperature = from.temperature, top_p = from.top_p,
      top_k = from.top_k, min_p = from.min_p, stop = cfg.rollout.stop,
      max_new = from.max_new_tokens or cfg.rollout.max_new_tokens }
  end
  local ways = { way("", cfg.rollout.val) }
  if cfg.rollout.val_sampled then
    ways[2] = way("/sampled", cfg.rollout)
    ways[2].n = 1
  end
  return ways
end

local function dtype(cfg) return cfg.trainer.dtype == "bf16" and C.RL_HALF or C.RL_FLOAT end

--- What logits are divided by in training: the rollout's temperature; greedy samples: 1.
local function temperature(cfg)
  return cfg.rollout.temperature > 0 and cfg.rollout.temperature or 1
end

local function updater(self, cfg)
  local o = cfg.optim
  return require("rllava.update").new(self.policy, {
    optim = o, max_grad_norm = o.max_grad_norm, skip_grad_norm = o.skip_grad_norm,
    micro_tokens = cfg.trainer.micro_tokens, micro_rows = cfg.trainer.micro_rows,
    score_rows = cfg.trainer.score_rows, recompute = cfg.trainer.recompute, ranks = self.ranks,
    dtype = dtype(cfg), temperature = temperature(cfg), seed = cfg.trainer.seed })
end

local function rollout(self, cfg)
  local r = cfg.rollout
  local max_new = math.max(r.max_new_tokens, r.val.max_new_tokens or 0)
  local hints = cfg.loss.prefix_strategy == "random" or cfg.loss.prefix_strategy == "hint"
  return require("rllava.rollout").new(self.policy, { n = hints and 1 or r.n, at_once = r.at_once,
    skip_special = cfg.reward_options.skip_special_tokens, dtype = dtype(cfg), max_new = max_new,
    max_prompt = cfg.data.max_prompt_length + (hints and max_new or 0), weights = r.weights,
    lookup = r.lookup })
end

--- Refuses keys that this algorithm would not heed, or that it needs and that are not set.
local function check_needs(asked, chosen, cfg)
  if guide.asked(cfg.loss) ~= (asked.prefix or false) then
    rl.raise(asked.prefix and "algorithm %s: expected loss.prefix_strategy or loss.unify_strategy, "
      .. "which bring demonstrations into groups, found none" or "algorithm %s: expected one that "
      .. "knows copied tokens (luffy, srft, uft, hpt, chord), where loss.prefix_strategy or "
      .. "loss.unify_strategy bring demonstrations into groups", chosen.name)
  end
  if (cfg.teacher ~= nil) ~= (asked.teacher or false) then
    rl.raise("teacher: expected %s", asked.teacher and "a model for the algorithm "
      .. chosen.name or "an algorithm that learns from one (distill), got " .. chosen.name)
  end
  if cfg.loss.ref_update ~= "none" and not asked.ref_logp then
    rl.raise("loss.ref_update: expected a reference (loss.use_kl_loss, loss.use_kl_in_reward)")
  end
  if cfg.loss.part_weights and not asked.named then
    rl.raise("loss.part_weights: expected an algorithm that asks for named parts (gdpo), got %s",
      chosen.name)
  end
end

--- Refuses models of other names where a frozen tower's features stand for pictures: their own
--- towers would make others.
local function check_frozen(cfg)
  local key = cfg.teacher and "teacher" or cfg.critic.model and "critic.model"
  if cfg.trainer.freeze_vision_tower and key then
    rl.raise("%s: expected none beside trainer.freeze_vision_tower, whose features are those of "
      .. "the policy's tower, got %s", key, cfg.teacher or cfg.critic.model)
  end
end

--- What gives log-probs of samples beside the policy that is trained.
local function frozen(policy, cfg)
  local t = cfg.trainer
  return require("rllava.reference").new(policy, t.micro_tokens, t.score_rows or t.micro_rows,
    temperature(cfg), dtype(cfg))
end

--- Samples of other weights than the trainer's are corrected for, or refused.
local function check_weights(cfg)
  local loss = cfg.loss
  if cfg.rollout.weights ~= "same" and not cfg.algorithm.supervised and loss.rollout_is == "none"
    and loss.tis_imp_ratio_cap <= 0 then
    rl.raise("rollout.weights: %s: expected loss.rollout_is=token (or sequence) or "
      .. "loss.tis_imp_ratio_cap=2, which correct for what it samples, found none",
      cfg.rollout.weights)
  end
end

--- A model of another name whose log-probs of these tokens mean the same.
local function teacher(self, cfg)
  local t = policy.load(cfg.teacher):freeze()
  local own, other = self.policy.config.text_config, t.config.text_config
  if own.vocab_size ~= other.vocab_size then
    rl.raise("teacher: %s: expected the vocabulary of %s, %d tokens, found %d", cfg.teacher,
      cfg.model, own.vocab_size, other.vocab_size)
  end
  return frozen(t, cfg)
end

local function format_prompt(cfg)
  local path = cfg.data.format_prompt
  if not path then return nil end
  local text = require("rllava.recipe").read(path, cfg.recipe.folder)
  return require("rllava.jinja").compile(text, path)
end

--- data.override_chat_template: the text of a template, a .jinja file, or a .json file with
--- chat_template.
local function chat_override(self, cfg)
  local given = cfg.data.override_chat_template
  if not given then return nil end
  local text, name = given, "data.override_chat_template"
  if given:find "%.jinja2?$" or given:find "%.json$" then
    text, name = require("rllava.recipe").read(given, cfg.recipe.folder)
    if given:find "%.json$" then text = require("rllava.json").decode(text, name).chat_template end
  end
  local options = { name = name }
  for k, v in pairs(self.policy.chat and self.policy.chat.variables or {}) do options[k] = v end
  return require("rllava.chat").new(text, options)
end

--- What runs a frozen tower; nil where the tower is trained.
local function vision(self, cfg)
  if not self.policy.features then return nil end
  return require("rllava.vision").new(self.policy, dtype(cfg),
    require("rllava.plan").bytes(cfg.trainer.vision_cache, "trainer.vision_cache"),
    cfg.data.max_prompt_length)
end

--- How rows become prompts: see prompt.of_row.
local function prompt_options(self, cfg)
  return { vision = vision(self, cfg), format_prompt = format_prompt(cfg),
    min_pixels = cfg.data.min_pixels, max_pixels = cfg.data.max_pixels,
    chat = chat_override(self, cfg) }
end

--- ---- the whole ----

--- What training has beside policy, data and samples.
local function open_training(self, cfg)
  self.schedule = require("rllava.schedule").of(cfg.optim)
  self.kl_controller = require("rllava.kl").controller(cfg.loss.kl_ctrl)
  if self.needs.ref_logp then
    self.reference = frozen(self.policy:clone(), cfg)
  end
  if self.needs.teacher then self.teacher = teacher(self, cfg) end
  if self.needs.value then
    self.critic = require("rllava.critic").new(self.policy, cfg, self.algorithm, dtype(cfg),
      self.ranks)
  end
  if cfg.loss.recall > 0 then
    self.recall = require("rllava.recall").new(cfg.loss.recall, cfg.loss.success_reward_threshold)
  end
end

--- The plan of a run that trains, which must fit; a replay is only cut as its run was.
local function planned(cfg, purpose)
  local plan = require "rllava.plan"
  if purpose == "replay" then plan.fit(cfg) end
  return not purpose and plan.check(cfg) or nil
end

--- cfg -> a table with cfg, seed, ranks, policy, algorithm, needs, prompt_options,
--- and by its purpose
---   train (or nil)   data, updater, val_sets, val_ways, rollout, rewards (or nil), schedule,
---                    kl_controller; reference, teacher, critic, recall where they are asked for
---   eval             val_sets, val_ways, rollout, rewards
---   replay           data, updater
function setup.open(cfg, purpose)
  if cfg.trainer.threads then C.rl_threads(cfg.trainer.threads) end
  local self = { cfg = cfg, seed = cfg.rollout.seed or cfg.trainer.seed, algorithm = cfg.algorithm,
    ranks = require("rllava.dist").alone }
  self.needs = algorithm.asks(cfg)
  check_needs(self.needs, cfg.algorithm, cfg)
  if not purpose then check_weights(cfg) end
  check_frozen(cfg)
  self.plan = planned(cfg, purpose)
  self.policy = policy.load(cfg.model, { init_seed = cfg.init_seed,
    features = cfg.trainer.freeze_vision_tower and "apart" })
  self.prompt_options = prompt_options(self, cfg)
  if purpose ~= "eval" then
    self.data = open_rows(cfg.data.train, data_options(cfg))
    self.updater = updater(self, cfg)
  end
  if purpose == "replay" then return self end
  self.val_sets, self.val_ways = val_sets(cfg), val_ways(cfg)
  if purpose ~= "eval" then open_training(self, cfg) end
  self.rollout = rollout(self, cfg)
  if self.plan then require("rllava.plan.warm").up(self, self.plan) end
  if cfg.reward then self.rewards = require("rllava.reward").open(cfg.reward, cfg) end
  return self
end

return setup
