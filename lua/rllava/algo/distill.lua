--- On-policy distillation: the student samples, and each token's advantage is how much likelier the
--- teacher finds it.  The gradient is that of the reverse KL, one token ahead.  arXiv:2306.13649
local loss = require "rllava.loss"
local rl = require "rllava.ffi"

--- log q(token) - log p(token) [tokens]; q: the teacher's (key teacher), p: the sampler's.
local function likelier(batch)
  local out = {}
  for _, r in ipairs(batch.responses) do
    if not r.tokens.teacher_logp then
      rl.raise "distill: expected the teacher's log-probs (teacher_logp), found none"
    end
    for t, q in ipairs(r.tokens.teacher_logp) do out[#out + 1] = q - r.tokens.old_logp[t] end
  end
  return out
end

return {
  defaults  = { clip_low = 0.2, clip_high = 0.2, clip_c = 3, agg_mode = "token-mean" },
  needs     = { "teacher" },
  advantage = likelier,
  loss      = loss.vanilla,
}
