--- rllava try-reward: responses of the untrained policy beside what the reward makes of each,
--- before any training.
local log = require "rllava.log"

local try_reward = {}

local ZERO = "   <- 0 in every response: does it read the format that the model writes?"

--- Mean of every part, as text; parts that are 0 throughout are pointed out.
local function summary(list)
  local sums, names, failed = {}, {}, 0
  for _, s in ipairs(list) do
    if s.result.error then failed = failed + 1
    else
      for name, v in require("rllava").sorted(s.result.parts) do
        if not sums[name] then sums[name], names[#names + 1] = 0, name end
        sums[name] = sums[name] + v
      end
    end
  end
  local scored, out = #list - failed, {}
  for _, name in ipairs(names) do
    out[#out + 1] = ("%s: mean %.3g%s"):format(name, sums[name] / scored,
      sums[name] == 0 and ZERO or "")
  end
  if failed > 0 then out[#out + 1] = ("%d of %d calls failed"):format(failed, #list) end
  return table.concat(out, "\n")
end

--- Samples n responses (rollout.n of each prompt), scores and prints them.  cfg: a resolved recipe.
function try_reward.run(cfg, n)
  cfg.reward_options.max_failures = 1
  local trainer = require("rllava.train").open(cfg)
  local batch = trainer:sample(math.ceil(n / cfg.rollout.n))
  local results, list = trainer.rewards:finish(), {}
  for _, g in ipairs(batch.groups) do
    for _, r in ipairs(g.responses) do
      if #list < n then
        list[#list + 1] = { prompt = g.prompt.text, text = r.text, answer = g.row.answer,
          result = results[r] }
      end
    end
  end
  trainer:close()
  for i, s in ipairs(list) do print(("response %d\n%s\n"):format(i, log.sample_text(s))) end
  print(summary(list))
  return list
end

return try_reward
