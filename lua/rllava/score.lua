--- What becomes of scores before advantages are made of them: KL in the reward, length, filtering.
--- Plain lists; rllava.batch lays them beside responses.
local length = require "rllava.reward.length"
local kl = require "rllava.kl"
local tensor = require "rllava.tensor"
local rl = require "rllava.ffi"

local score = {}

--- 1 up to and including the first end token, 0 behind it.
--- ids: a list; eos: a token or a list of them.
function score.response_mask(ids, eos)
  local ends, mask, open = {}, {}, 1
  for _, id in ipairs(type(eos) == "table" and eos or { eos }) do ends[id] = true end
  for i, id in ipairs(ids) do
    mask[i] = open
    if ends[id] then open = 0 end
  end
  return mask
end

--- rewards minus beta KL(old_logp, ref_logp) of each token, by the named estimator.  batch: as in
--- advantage, with lists old_logp and ref_logp [tokens]
--- -> rewards [tokens], the KL now: mean over responses of their token means.
function score.kl_in_reward(batch, name, beta)
  local rewards, sum, at = {}, 0, 0
  local values = tensor.scope(function()
    if #batch.old_logp == 0 then return {} end
    return kl.estimate(name, tensor.tensor(batch.old_logp), tensor.tensor(batch.ref_logp)):totable()
  end)
  for _, n in ipairs(batch.lengths) do
    local own = 0
    for t = at + 1, at + n do
      rewards[t], own = batch.rewards[t] - beta * values[t], own + values[t]
    end
    sum, at = sum + own / math.max(1, n), at + n
  end
  return rewards, sum / math.max(1, #batch.lengths)
end

--- Soft punishment of long responses, 0 to -1: falls over the last `buffer` tokens before max.
--- arXiv:2503.14476, eq. 13
function score.overlong(n, max, buffer)
  return buffer > 0 and length.overlong_penalty(n, max, buffer) or 0
end

--- Which responses belong to groups worth training on.  scores, group [responses];
--- cfg: { filter_low, filter_high } (mean strictly between), or { filter_mode = "variance" } (not
--- all equal) -> indices in order.
function score.filter(scores, group, cfg)
  local sum, count, first, differ, kept = {}, {}, {}, {}, {}
  for i, g in ipairs(group) do
    sum[g], count[g] = (sum[g] or 0) + scores[i], (count[g] or 0) + 1
    if first[g] == nil then first[g] = scores[i] end
    differ[g] = differ[g] or scores[i] ~= first[g]
  end
  local mode = cfg.filter_mode or "mean"
  if mode ~= "mean" and mode ~= "variance" then
    rl.raise("filter_mode: expected mean or variance, got %s", tostring(mode))
  end
  for i, g in ipairs(group) do
    local mean = sum[g] / count[g]
    local good = differ[g]
    if mode == "mean" then good = cfg.filter_low < mean and mean < cfg.filter_high end
    if good then kept[#kept + 1] = i end
  end
  return kept
end

return score
