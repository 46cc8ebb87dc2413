--- A golden case of an algorithm: its padded matrices as packed lists, its config in the names of
--- the house.
local json = require "rllava.json"
local forest = require "rllava.forest"
local tensor = require "rllava.tensor"
local Part = require "rllava.part"
local T = require "check"

local Case = {}
Case.__index = Case

local words = { NaN = 0 / 0, Infinity = math.huge, ["-Infinity"] = -math.huge }

local function numbers(t)
  local out = {}
  for i, v in ipairs(t.data) do out[i] = words[v] or v end
  return out
end

function Case.open(path)
  local j = json.decode(T.read(path), path)
  local self = setmetatable({ j = j, config = j.config, tolerance = j.tolerance, source = j.source,
    input = {}, want = {}, shape = {} }, Case)
  for name, t in pairs(j.inputs) do self.input[name], self.shape[name] = numbers(t), t.shape end
  for name, t in pairs(j.outputs) do self.want[name], self.shape[name] = numbers(t), t.shape end
  local mask = self.input.response_mask or self.input.loss_mask or self.input.mask
  if mask then
    self:use_mask(mask, self.shape.response_mask or self.shape.loss_mask or self.shape.mask)
  end
  return self
end

--- lengths [rows], at: flat index of each packed token, gap [tokens].
function Case:use_mask(mask, shape)
  self.rows, self.width, self.lengths, self.at, self.gap = shape[1], shape[2], {}, {}, {}
  for r = 1, self.rows do
    local n, before = 0, nil
    for c = 1, self.width do
      local i = (r - 1) * self.width + c
      if mask[i] == 1 then
        n, self.at[#self.at + 1] = n + 1, i
        self.gap[#self.at] = before ~= nil and before < i - 1
        before = i
      end
    end
    self.lengths[r] = n
  end
end

--- A padded matrix -> its valid tokens.
function Case:pack(matrix)
  local out = {}
  for k, i in ipairs(self.at) do out[k] = matrix[i] end
  return out
end

--- Sums of whole rows, padding and all, as the references take scores.
function Case:row_sums(matrix)
  local sums = {}
  for r = 1, self.rows do
    sums[r] = 0
    for c = 1, self.width do sums[r] = sums[r] + matrix[(r - 1) * self.width + c] end
  end
  return sums
end

--- |got - want| / tolerance, the largest.
function Case:compare(name, got, want)
  want = want or self.want[name]
  if #got ~= #want then error(("%s: expected %d numbers, got %d"):format(name, #want, #got), 0) end
  local worst, atol = 0, self.tolerance.atol[name] or 0
  for i, w in ipairs(want) do
    local share = got[i] == w and 0
      or math.abs(got[i] - w) / (atol + self.tolerance.rtol * math.abs(w))
    if not (share <= 1) then
      error(("%s: element %d: expected %.9g, got %.9g"):format(name, i, w, got[i]), 0)
    end
    worst = math.max(worst, share)
  end
  return worst
end

--- The same of a matrix, at its valid tokens.
function Case:compare_packed(name, got)
  return self:compare(name, got, self:pack(self.want[name]))
end

local names = { norm_adv_by_std_in_grpo = "norm_by_std", clip_ratio_low = "clip_low",
  clip_ratio_high = "clip_high", clip_ratio_c = "clip_c", clip_ratio_dual = "clip_c",
  loss_agg_mode = "agg_mode", loss_remove_clip = "remove_clip" }

--- Settings in the names of the house over an algorithm's defaults.
function Case:settings(defaults, ...)
  local cfg = { norm_len = self.width }
  for k, v in pairs(defaults or {}) do cfg[k] = v end
  for _, config in ipairs { ... } do
    for k, v in pairs(config) do
      if k == "policy_loss" then for inner, x in pairs(v) do cfg[inner] = x end
      else cfg[names[k] or k] = v end
    end
  end
  return cfg
end

--- What a loss sees of rows first to last (all of them).
--- fields: house name -> golden name of a matrix.
--- -> part, the tensor of log-probs, the mini-batch as prepare saw it.
function Case:part(fields, algorithm, cfg, first, last)
  first, last = first or 1, last or self.rows
  local lengths, from, n = {}, 0, 0
  for r = 1, last do
    if r < first then from = from + self.lengths[r]
    else
      lengths[#lengths + 1], n = self.lengths[r], n + self.lengths[r]
    end
  end
  local mini, all = { lengths = lengths, tokens = n, norm_len = self.width, step = 0 }, {}
  mini.u = {}
  for t = 1, n do mini.u[t] = 0.5 end
  for name, list in pairs(fields) do
    local own = {}
    for t = 1, n do own[t] = list[from + t] end
    mini[name] = own
  end
  local totals = forest.totals(lengths, { norm_len = self.width, agg_mode = cfg.agg_mode,
    loss_scale = self.source:find "verl" and "global" or "micro" })
  mini.old_logp = mini.old_logp or mini.logp
  if algorithm.prepare then
    local more, numbers_of = algorithm.prepare(mini, cfg)
    for k, v in pairs(more) do all[k] = v end
    for k, v in pairs(numbers_of or {}) do totals[k] = v end
  end
  local given = {}
  for name in pairs(fields) do given[name] = tensor.tensor(mini[name]) end
  for name, list in pairs(all) do given[name] = tensor.tensor(list) end
  given.logp:require_grad()
  given.old_logp = given.old_logp or given.logp:detach()
  given.entropy = given.entropy or tensor.tensor(mini.logp) * 0
  return Part.new(lengths, given, totals), given.logp, mini
end

return Case
