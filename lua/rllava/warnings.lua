--- Warnings in words, from the metrics of a run: what usually hides behind a curve that does not
--- rise.
local warnings = {}
local Warnings = {}
Warnings.__index = Warnings

local PATIENCE = 10                       -- steps before something is said about all of them

function warnings.new() return setmetatable({ count = {}, said = {}, history = {} }, Warnings) end

--- The text once every PATIENCE steps in a row in which it holds.
function Warnings:lasting(name, holds, text)
  local n = holds and (self.count[name] or 0) + 1 or 0
  self.count[name] = n
  return n > 0 and n % PATIENCE == 0 and text() or nil
end

--- The text the first time it holds.
function Warnings:once(name, holds, text)
  if not holds or self.said[name] then return nil end
  self.said[name] = true
  return text()
end

local function parts_of(metrics)
  local names = {}
  for name in pairs(metrics) do
    local part = name:match "^reward/([^/]+)$"
    if part and part ~= "overall" and part ~= "failed" then names[#names + 1] = part end
  end
  table.sort(names)
  return names
end

--- Parts that vary while their sum does not: a goes up where b goes down.
local function cancelling(metrics)
  local moving = {}
  if (metrics["group/parts_cancel"] or 0) == 0 then return "" end
  for _, name in ipairs(parts_of(metrics)) do
    if (metrics["reward/" .. name .. "/std"] or 0) > 1e-6 then moving[#moving + 1] = name end
  end
  if #moving < 2 then return "" end
  return "; their parts vary (" .. table.concat(moving, ", ") .. ") but cancel each other"
end

local reasons = { { "all_right", "all right" }, { "all_wrong", "all wrong" },
  { "all_truncated", "all cut off" }, { "parts_cancel", "parts that cancel" },
  { "all_alike", "alike" } }

--- " (40% all right, 20% all wrong)": why responses of a prompt have equal rewards.
local function why_equal(m)
  local out = {}
  for _, r in ipairs(reasons) do
    local share = m["group/" .. r[1]] or 0
    if share > 0 then out[#out + 1] = ("%.0f%% %s"):format(100 * share, r[2]) end
  end
  return #out > 0 and " (" .. table.concat(out, ", ") .. ")" or ""
end

local function spread(self, m)
  local share = m["group/no_spread"]
  return self:lasting("spread", share and share > 0.5, function()
    return ("%.0f%% of the prompts gave responses of equal reward%s, for %d steps: nothing is "
      .. "learnt from them%s; easier or harder prompts, a larger rollout.n or "
      .. "loss.online_filtering help"):format(100 * share, why_equal(m), PATIENCE, cancelling(m))
  end)
end

local function silent_parts(self, m, out)
  for _, name in ipairs(parts_of(m)) do
    local value = m["reward/" .. name]
    out[#out + 1] = self:lasting("part " .. name, value == 0, function()
      return ("the reward's part '%s' was 0 in every response of %d steps: does it read the "
        .. "format that the model writes? rllava try-reward RECIPE shows both side by side"):format(
        name, PATIENCE)
    end)
  end
end

--- cfg: of the run, for the limit that it names.
local function truncated(self, m, cfg)
  local share = m["response_length/clip_ratio"]
  return self:once("truncated", share and share > 0.2, function()
    local limit, p95 = cfg.rollout.max_new_tokens, m["response_length/p95"]
    local length = p95 and p95 < limit
      and (" (95%% of the others took at most %.0f)"):format(p95) or ""
    return ("%.0f%% of the responses were cut off at rollout.max_new_tokens = %d%s; try %d"):format(
      100 * share, limit, length, 2 * limit)
  end)
end

local function not_finite(self, m, out)
  local names = {}
  for name, v in pairs(m) do
    if type(v) == "number" and (v ~= v or math.abs(v) == math.huge) then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    out[#out + 1] = self:once("finite " .. name, true, function()
      return name .. " is " .. tostring(m[name]) .. ": not a finite number"
    end)
  end
end

local function entropy(self, m)
  local now = m["actor/entropy"]
  if now then self.first_entropy = self.first_entropy or now end
  local fell = now and self.first_entropy > 1e-3 and now < 0.05 * self.first_entropy
  return self:once("entropy", fell, function()
    return ("the entropy fell from %.3g to %.3g: responses hardly vary any more; a smaller "
      .. "optim.lr, a KL term or loss.entropy_coeff hold it"):format(self.first_entropy, now)
  end)
end

local function failures(self, m)
  local count = m["reward/failed"]
  return self:once("failures", count and count > 0, function()
    return ("%d of the reward's calls failed; rollouts.jsonl holds each error"):format(count)
  end)
end

--- The sampler is not the policy that is trained, and nothing corrects for it.  cfg: of the run.
local function apart(self, m, cfg)
  local gap = m["mismatch/max_abs"]
  local corrected = cfg.loss.rollout_is ~= "none" or cfg.loss.tis_imp_ratio_cap > 0
  return self:once("mismatch", gap and gap > 0.1 and not corrected, function()
    return ("the sampler's log-probs are up to %.3g from the trainer's (mismatch/kl %.3g): "
      .. "loss.rollout_is=token weighs each token by their ratio"):format(gap, m["mismatch/kl"])
  end)
end

--- Demonstrations in most groups: the policy itself solves little.
local function switched(self, m)
  local share = m["group/switched"]
  return self:lasting("switched", share and share > 0.9, function()
    return ("%.0f%% of the groups were trained on their demonstration, for %d steps: the policy "
      .. "solves next to nothing by itself; easier prompts, or algorithm=sft first"):format(
      100 * share, PATIENCE)
  end)
end

--- Updates that were left out, in a row.
local function left_out(self, m)
  local now = m["actor/skipped"]
  local more = now and now > (self.left_out or 0)
  self.left_out = now or self.left_out
  return self:lasting("left out", more, function()
    return ("updates were left out for their gradient in each of %d steps: a smaller optim.lr, or "
      .. "rllava replay on what is in the run's folder skipped/"):format(PATIENCE)
  end)
end

--- The metrics of a training step -> a list of warnings, mostly empty.
function Warnings:step(metrics, cfg)
  local out = {}
  not_finite(self, metrics, out)
  out[#out + 1] = spread(self, metrics)
  silent_parts(self, metrics, out)
  out[#out + 1] = truncated(self, metrics, cfg)
  out[#out + 1] = entropy(self, metrics)
  out[#out + 1] = failures(self, metrics)
  out[#out + 1] = apart(self, metrics, cfg)
  out[#out + 1] = switched(self, metrics)
  out[#out + 1] = left_out(self, metrics)
  return out
end

return warnings
