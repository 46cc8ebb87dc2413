--- Algorithms against the reference implementations, through the code that training uses.
local T = require "check"
local Case = require "algo_case"
local tensor = require "rllava.tensor"
local algorithm = require "rllava.algorithm"
local advantage = require "rllava.advantage"
local kl = require "rllava.kl"
local loss = require "rllava.loss"
local schedule = require "rllava.schedule"
local score = require "rllava.score"
local Part = require "rllava.part"

local root = T.goldens .. "/algorithms"
local families = {}

local function max(...) return math.max(0, ...) end

--- ---- building blocks ----

function families.adaptive_kl(c)
  local controller, got = kl.controller(c.config), {}
  for i, now in ipairs(c.input.current_kl) do
    got[i] = controller.update(now, c.input.n_steps[i])
  end
  return c:compare("kl_coef", got)
end

function families.masked_stats(c)
  local values = c:pack(c.input.values)
  local whitened, mean, var = advantage.whiten(values)
  local b = Part.new(c.lengths, {})
  return max(c:compare("mean", { mean }), c:compare("var", { var }),
    c:compare_packed("whiten", whitened),
    c:compare("row_mean", b:seq_mean(tensor.tensor(values)):totable()))
end

function families.lr_schedule(c)
  local worst, cfg = 0, { lr = 1, warmup_steps = c.config.num_warmup_steps,
    min_lr_ratio = c.config.min_lr_ratio or 0, num_cycles = c.config.num_cycles or 0.5 }
  for _, kind in ipairs { "cosine", "constant" } do
    local got = {}
    cfg.schedule = kind
    local lr = schedule.of(cfg)
    for i, k in ipairs(c.input.step) do got[i] = lr(k, c.config.num_training_steps) end
    worst = max(worst, c:compare(kind, got))
  end
  return worst
end

function families.response_mask(c)
  local got, width = {}, c.shape.response_ids[2]
  for r = 1, c.shape.response_ids[1] do
    local ids = {}
    for i = 1, width do ids[i] = c.input.response_ids[(r - 1) * width + i] end
    for _, m in ipairs(score.response_mask(ids, c.config.eos_token_id)) do got[#got + 1] = m end
  end
  return c:compare("response_mask", got)
end

function families.overlong(c)
  local soft, reward, total = {}, {}, {}
  local cfg = c.config
  for i, n in ipairs(c.input.response_length) do
    soft[i] = score.overlong(n, cfg.max_response_length, cfg.overlong_buffer_length)
    reward[i] = (cfg.overlong_penalty_factor or 1) * soft[i]
    total[i] = c.input.score and c.input.score[i] + reward[i]
  end
  local worst = c:compare("soft_punishment", soft)
  if c.want.overlong_reward then worst = max(worst, c:compare("overlong_reward", reward)) end
  if c.want.reward then worst = max(worst, c:compare("reward", total)) end
  return worst
end

function families.filter_online(c)
  local kept = score.filter(c.input.reward_overall, c.input.uid, c.config)
  for k, i in ipairs(kept) do kept[k] = i - 1 end
  return c:compare("kept_rows", kept)
end

--- Log-prob and entropy of the head: the rows of logits stand in an embedding, the head is the
--- identity.
function families.log_prob_entropy(c)
  return require "head_case"(c)
end

--- ---- KL ----

local function kl_case(c, f)
  local logp = tensor.tensor(c.input.log_prob):require_grad()
  local got = f(logp, tensor.tensor(c.input.ref_log_prob))
  local worst = c:compare("kl", got:totable());
  (got * tensor.tensor(c.input.upstream)):sum():backward()
  return max(worst, c:compare("grad_log_prob", logp:grad():totable()))
end

function families.kl_full(c)
  local s = c.shape.log_prob
  return kl_case(c, function(logp, ref)
    local q = ref:reshape(s[1] * s[2], s[3])
    return kl.full(logp:reshape(s[1] * s[2], s[3]), q)
  end)
end

function families.kl_(c)
  return kl_case(c, function(logp, ref) return kl.estimate(c.config.kl_penalty, logp, ref) end)
end

function families.kl_in_reward(c)
  local controller = kl.controller(c.config.kl_ctrl)
  local used = controller.value
  local batch = { lengths = c.lengths, rewards = c:pack(c.input.token_level_scores),
    old_logp = c:pack(c.input.old_log_probs), ref_logp = c:pack(c.input.ref_log_probs) }
  local rewards, now = score.kl_in_reward(batch, c.config.kl_penalty, used)
  local after = controller.update(now, #c.lengths)
  return max(c:compare_packed("token_level_rewards", rewards), c:compare("current_kl", { now }),
    c:compare("kl_coef_used", { used }), c:compare("kl_coef_after", { after }))
end

--- ---- aggregation ----

local function aggregate(c, mode, totals)
  local x = tensor.tensor(c:pack(c.input.loss_mat)):require_grad()
  local b = Part.new(c.lengths, {}, totals)
  local value = b:aggregate(x, mode)
  value:backward()
  return max(c:compare("loss", { b:value(value) }),
    c:compare_packed("grad_loss_mat", x:grad():totable()))
end

local function counts(c)
  local nonempty = 0
  for _, n in ipairs(c.lengths) do nonempty = nonempty + (n > 0 and 1 or 0) end
  return { tokens = #c.at, responses = nonempty, norm_len = c.width }
end

function families.aggregate_(c)
  local totals, mode = counts(c), c.config.loss_agg_mode
  totals.responses = mode == "seq-mean-token-sum-norm" and 1 or c.rows
  return aggregate(c, mode, totals)
end

function families.aggregate_average(c)
  local totals = counts(c)
  totals.responses = c.rows
  return aggregate(c, c.config.loss_avg_mode == "seq" and "seq-mean-token-mean" or "token-mean",
    totals)
end

--- A mini-batch over several ranks: its totals, as each of them sees them.
function families.aggregate_verl(c)
  local totals, ranks = counts(c), c.config.dp_size or 1
  if c.config.batch_num_tokens then totals.tokens = c.config.batch_num_tokens / ranks end
  if c.config.global_batch_size then totals.responses = c.config.global_batch_size / ranks end
  if c.config.loss_scale_factor then
    totals.responses, totals.norm_len = 1, c.config.loss_scale_factor
  end
  return aggregate(c, c.config.loss_agg_mode, totals)
end

--- ---- advantages ----

local function batch_of(c, rewards)
  return { lengths = c.lengths, group = c.input.uid, rewards = c:pack(rewards),
    sums = c:row_sums(rewards), gap = c.gap, values = c.input.values and c:pack(c.input.values),
    baseline = c.input.reward_baselines }
end

function families.advantage_(c)
  local algo = algorithm.load(c.config.adv_estimator)
  local got, returns = algo.advantage(batch_of(c, c.input.token_level_rewards),
    c:settings(algo.defaults, c.config))
  return max(c:compare_packed("advantages", got), c:compare_packed("returns", returns or got))
end
families.gae = families.advantage_

--- ---- losses ----

local fields = { logp = "log_prob", old_logp = "old_log_prob", advantage = "advantages",
  rollout_logp = "rollout_log_prob", prefix = "prefix_mask", entropy = "entropy", keep = "keep" }

local function fields_of(c, names)
  local out = {}
  for name, golden in pairs(names) do
    local matrix = c.input[golden] or c.want[golden]
    if matrix then out[name] = c:pack(matrix) end
  end
  if c.input.token_level_scores and c.input.prefix_mask then
    out.score = advantage.spread(c, c:row_sums(c.input.token_level_scores))
  end
  return out
end

local metric_names = { pg_clipfrac = "pg_clipfrac_higher", off_pg_clipfrac = false,
  on_pg_clipfrac = "pg_clipfrac_higher" }

local function compare_metrics(c, b, metrics)
  local worst = 0
  for name in pairs(c.want) do
    local short = name:match "^metric:actor/(.*)$"
      or (name:find "^p[gp]" or name == "entropy_loss") and name
    local ours = short and (metric_names[short] == nil and short or metric_names[short])
    if ours then
      if metrics[ours] == nil then error(("%s: no such metric"):format(ours), 0) end
      worst = max(worst, c:compare(name, { b:value(metrics[ours]) }))
    end
  end
  return worst
end

function families.loss_(c)
  local algo = algorithm.load((c.config.loss_mode or "vanilla"):gsub("^vanilla$", "grpo"))
  local cfg = c:settings(algo.defaults, c.config)
  local b, logp = c:part(fields_of(c, fields), algo, cfg)
  b.keep = c.want.keep and tensor.tensor(c:pack(c.want.keep)) or b.keep
  local value, metrics = loss.total(algo, b, cfg)
  value:backward()
  return max(c:compare("loss", { b:value(value) }),
    c:compare_packed("grad_log_prob", logp:grad():totable()), compare_metrics(c, b, metrics))
end

--- The same surrogate with names of its own; its KL is of the clamped difference, its entropy the
--- sampled one.
function families.loss_log_clip(c)
  local algo, seq = algorithm.load "grpo", c.config.loss_avg_mode == "seq"
  local cfg = c:settings(algo.defaults, c.config)
  cfg.agg_mode = seq and "seq-mean-token-mean" or "token-mean"
  local b, logp = c:part(fields_of(c, fields), algo, cfg)
  local value, metrics = algo.loss(b, cfg)
  metrics.entropy_loss = b:aggregate(-b.logp, cfg.agg_mode)
  value:backward()
  return max(c:compare("loss", { b:value(value) }),
    c:compare_packed("grad_log_prob", logp:grad():totable()), compare_metrics(c, b, metrics))
end

--- Indices of tokens as pairs (row, column) from 0.
local function pairs_of(c, list)
  local out = {}
  for _, t in ipairs(list) do
    out[#out + 1] = math.floor((c.at[t] - 1) / c.width)
    out[#out + 1] = (c.at[t] - 1) % c.width
  end
  return out
end

local function same_covariance(c, mini)
  local got, want = require("rllava.covariance").of(mini), c:pack(c.want.covariance)
  for t, w in ipairs(want) do if w == -math.huge then got[t] = w end end
  return c:compare("covariance", got, want)
end

local function where(list, value)
  local out = {}
  for t, v in ipairs(list) do if v == value then out[#out + 1] = t end end
  return out
end

function families.loss_clip_cov(c)
  local algo = algorithm.load "clip_cov"
  local cfg = c:settings(algo.defaults, c.config)
  local b, _, mini = c:part(fields_of(c, fields), algo, cfg)
  local list = algo.candidates(mini, cfg)
  local dropped = where(b.keep:totable(), 0)
  T.equal(#dropped, math.min(c.want.clip_num[1], #list))
  return max(same_covariance(c, mini), c:compare("candidates", pairs_of(c, list)),
    families.loss_(c))
end

function families.loss_kl_cov(c)
  local algo = algorithm.load "kl_cov"
  local cfg = c:settings(algo.defaults, c.config)
  local b, _, mini = c:part(fields_of(c, fields), algo, cfg)
  return max(same_covariance(c, mini),
    c:compare("selected", pairs_of(c, where(b.held:totable(), 1))), families.loss_(c))
end

function families.value_loss(c)
  local b = c:part({ logp = c:pack(c.input.vpreds) }, {}, {})
  b.values = tensor.tensor(c:pack(c.input.vpreds)):require_grad()
  b.old_values, b.returns = tensor.tensor(c:pack(c.input.values)),
    tensor.tensor(c:pack(c.input.returns))
  b.totals.responses = c.rows
  local value, metrics = loss.value(b, { cliprange_value = c.config.cliprange_value,
    value_agg_mode = c.config.loss_avg_mode == "seq" and "seq-mean-token-mean" or "token-mean" })
  value:backward()
  local worst = c:compare_packed("grad_vpreds", b.values:grad():totable())
  for _, name in ipairs { "vf_loss", "vf_clipfrac", "vpred_mean" } do
    worst = max(worst, c:compare(name, { b:value(metrics[name]) }))
  end
  return worst
end

--- ---- whole steps ----

local step_fields = { logp = "log_probs", old_logp = "old_log_probs", ref_logp = "ref_log_probs",
  entropy = "entropy" }

--- Micro-batches as the reference cuts them: each with its own totals, its loss scaled by its share
--- of rows.
local function micro_batches(c, algo, cfg, lists)
  local size, mini = c.config.actor.ppo_micro_batch_size, c.config.actor.ppo_mini_batch_size
  local got = { losses = {}, grad = {}, grad_entropy = {}, metrics = {} }
  for first = 1, c.rows, size do
    local b, logp = c:part(lists, algo, cfg, first, first + size - 1)
    b.entropy:require_grad()
    local value, metrics = loss.total(algo, b, cfg)
    local share = size / mini;
    (value * share):backward()
    got.losses[#got.losses + 1] = b:value(value) * share
    for _, g in ipairs(logp:grad():totable()) do got.grad[#got.grad + 1] = g end
    for _, g in ipairs(b.entropy:grad():totable()) do
      got.grad_entropy[#got.grad_entropy + 1] = g
    end
    for name, x in pairs(metrics) do
      got.metrics[name] = got.metrics[name] or {}
      local scaled = (name == "pg_loss" or name == "kl_loss") and share or 1
      table.insert(got.metrics[name], b:value(x) * scaled)
    end
  end
  return got
end

function families.step_(c)
  local a, rewards, worst = c.config.algorithm, c.input.token_level_scores, 0
  local lists = fields_of(c, step_fields)
  local batch = batch_of(c, rewards)
  if a.use_kl_in_reward then
    batch.old_logp, batch.ref_logp = lists.old_logp, lists.ref_logp
    local now
    batch.rewards, now = score.kl_in_reward(batch, a.kl_penalty, a.kl_coef)
    batch.sums, worst = nil, c:compare("reward_kl", { now })
  end
  worst = max(worst, c:compare_packed("token_level_rewards", batch.rewards))
  local from, algo = algorithm.load(a.adv_estimator),
    algorithm.load(c.config.actor.loss_mode:gsub("^vanilla$", "grpo"))
  local got, returns = from.advantage(batch, c:settings(from.defaults, a))
  worst = max(worst, c:compare_packed("advantages", got),
    c:compare_packed("returns", returns or got))
  lists.advantage = got
  -- exactly on policy
  if c.config.actor.ppo_mini_batch_size == c.rows then lists.old_logp = nil end
  local found = micro_batches(c, algo, c:settings(algo.defaults, a, c.config.actor), lists)
  worst = max(worst, c:compare("micro_losses", found.losses),
    c:compare_packed("grad_log_probs", found.grad))
  if c.want.grad_entropy then
    worst = max(worst, c:compare_packed("grad_entropy", found.grad_entropy))
  end
  for name in pairs(c.want) do
    local short = name:match "^metric:actor/(.*)$"
    if short then worst = max(worst, c:compare(name, found.metrics[short])) end
  end
  return worst
end

--- ---- all cases ----

--- The family whose name is the longest beginning of the file's.
local function family_of(file)
  local best
  for name in pairs(families) do
    if file:sub(1, #name) == name and (not best or #name > #best) then best = name end
  end
  return best
end

for _, file in ipairs(T.list(root)) do
  if file:find "%.json$" then
    T.golden(root .. "/" .. file, function()
      local family = family_of(file)
      if not family then error("no test knows this family", 0) end
      return tensor.scope(function() return families[family](Case.open(root .. "/" .. file)) end)
    end)
  end
end

T.test("kl_cov holds no token without a covariance before one with it", function()
  local mini = { tokens = 64, logp = {}, old_logp = {}, advantage = {} }
  for t = 1, 64 do
    mini.logp[t], mini.advantage[t] = t % 3 == 0 and -math.huge or -t % 7, t % 5 - 2
    mini.old_logp[t] = mini.logp[t]
  end
  local held = require("rllava.algo.kl_cov").prepare(mini, { kl_cov_ratio = 0.25 }).held
  local cov, n = require("rllava.covariance").of(mini), 0
  for t = 1, 64 do
    n = n + held[t]
    if held[t] == 1 and cov[t] ~= cov[t] then error("token " .. t) end
  end
  T.equal(n, 16)
end)
