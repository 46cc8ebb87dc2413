--- Learning rates over a run: warm-up, then constant, cosine, linear or wsd.
local schedule = {}

-- Shape after warm-up: progress p from 0, 1 at the last step, options
-- -> share of the learning rate.
local shapes = {
  constant = function() return 1 end,
  cosine = function(p, o)
    local low = o.min_lr_ratio
    return math.max(low,
      0.5 * (1 - low) * math.cos(2 * math.pi * o.num_cycles * p) + 0.5 * (1 + low))
  end,
  linear = function(p, o) return 1 - (1 - o.min_lr_ratio) * math.min(1, p) end,
}

--- optim: lr, warmup_steps or warmup_ratio, schedule, min_lr_ratio, num_cycles, decay_ratio
--- -> function(step, last): the learning rate of a step from 1, in a run of last steps.
---   warm-up over W steps: lr step / W
---   wsd: constant, then linear over the last decay_ratio of all steps
function schedule.of(optim)
  return function(step, last)
    local warmup = optim.warmup_steps or math.floor(optim.warmup_ratio * last)
    if step < warmup then return optim.lr * step / warmup end
    local from, shape = warmup, optim.schedule
    if shape == "wsd" then
      from, shape = math.max(warmup, last - math.floor(optim.decay_ratio * last)), "linear"
    end
    local p = math.max(0, (step - from) / math.max(1, last - from))
    return optim.lr * shapes[shape](p, optim)
  end
end

return schedule
