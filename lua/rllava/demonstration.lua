--- Responses that were copied from a demonstration, in part or whole, among those that the policy
--- sampled: the field prefix [tokens] is 1 where a token was copied.
local rl = require "rllava.ffi"

local demonstration = {}

--- Numbers of a part of the mini-batch: mask [tokens] of 0 and 1
--- -> { tokens, responses, norm_len }.
local function numbers(mini, mask)
  local out, at = { tokens = 0, responses = 0, norm_len = mini.norm_len }, 0
  for _, n in ipairs(mini.lengths) do
    local own = 0
    for t = at + 1, at + n do own = own + mask[t] end
    out.tokens, out.responses = out.tokens + own, out.responses + (own > 0 and 1 or 0)
    at = at + n
  end
  return out
end

--- Is any token of its response copied? [tokens]
local function of_demonstrations(mini)
  local out, at = {}, 0
  for _, n in ipairs(mini.lengths) do
    local any = 0
    for t = at + 1, at + n do any = math.max(any, mini.prefix[t]) end
    for t = at + 1, at + n do out[t] = any end
    at = at + n
  end
  return out
end

local function without(mask)
  local out = {}
  for t, v in ipairs(mask) do out[t] = 1 - v end
  return out
end

--- The prepare of losses over demonstrations -> fields and totals for b:within of
---   prefix, own       copied tokens; the others
---   demo, free        tokens of responses with any copied one; of the others
--- and u [tokens], uniform numbers.
function demonstration.prepare(mini)
  if not mini.prefix then rl.raise("expected the mask of copied tokens (prefix), found none") end
  local demo = of_demonstrations(mini)
  local fields = { prefix = mini.prefix, own = without(mini.prefix), u = mini.u,
    demo = demo, free = without(demo) }
  local totals = { step = mini.step }
  for _, name in ipairs { "prefix", "own", "demo", "free" } do
    totals[name] = numbers(mini, fields[name])
  end
  return fields, totals
end

-- Shapes of a ratio or probability x with log-prob l; w: weight, e: exponent.
local shapes = {
  no_reshape = function(x) return x end,
  logp = function(_, l, w) return l * w end,
  p_logp = function(x, l, w) return l * w + x end,
  square_root = function(x) return x:sqrt() end,
  pow = function(x, _, _, e) return x:pow(e) end,
}

--- x reshaped as cfg says of a side, "on_policy" or "off_policy": by no_reshape, logp, p_logp,
--- square_root, pow, p_div_p_C: x / (x + C), or, of probabilities, classic_reject_token: 1 for a
--- token that is kept with probability x, else 0.  arXiv:2504.14945, section 3.3
function demonstration.reshape(b, x, cfg, side)
  local kind = cfg[side .. "_reshape"]
  local c = tonumber(kind:match "^p_div_p_([%d.]+)$")
  if c then return x / (x + c) end
  if kind == "classic_reject_token" then
    local p = x:detach()
    return x / p * b.u:lt(p)
  end
  if not shapes[kind] then
    rl.raise("reshape: expected no_reshape, logp, p_logp, square_root, pow, p_div_p_C or "
      .. "classic_reject_token, got %s", tostring(kind))
  end
  return shapes[kind](x, b.logp, cfg[side .. "_reshape_weight"], cfg[side .. "_reshape_pow_exp"])
end

return demonstration
