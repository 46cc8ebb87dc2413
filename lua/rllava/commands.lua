--- Commands about recipes and runs: each takes its arguments as texts and gives an exit status.
local commands = {}

--- rllava keys [WORD]: all keys, or those that have to do with a word.
function commands.keys(word)
  print(require("rllava.keys").describe(word))
  return 0
end

--- rllava --print-config RECIPE [key=value ...]: what a run would be given.
commands["--print-config"] = function(path, ...)
  if not path then error("--print-config: expected a recipe's file", 0) end
  local cfg = require("rllava.recipe").load(path, { ... })
  print(require("rllava.keys").print(cfg, cfg.recipe.set))
  return 0
end

--- rllava plan RECIPE [key=value ...]: the memory of a run by class and phase, before anything is
--- read; memory=24G: against that limit, with what to change.
function commands.plan(path, ...)
  if not path then error("plan: expected a recipe's file", 0) end
  local plan, text = require "rllava.plan", require "rllava.plan.text"
  local cfg = require("rllava.recipe").load(path, { ... })
  local p, limit, source = plan.fit(cfg)
  print(text.table(p, limit, source))
  if p.peak.bytes <= limit then return 0 end
  print("it does not fit; " .. text.advice(p, limit))
  return 1
end

--- rllava profile RECIPE [steps=N] [out=FILE] [key=value ...]: where the time of N steps (2) goes,
--- by phase, operation and layer; FILE (profile.json) is a trace for chrome://tracing.
function commands.profile(path, ...)
  if not path then error("profile: expected a recipe's file", 0) end
  local steps, out, overrides = 2, "profile.json", {}
  for _, a in ipairs { ... } do
    local count, file = a:match "^steps=(%d+)$", a:match "^out=(.+)$"
    steps, out = tonumber(count) or steps, file or out
    if not count and not file then overrides[#overrides + 1] = a end
  end
  if steps < 1 then error("profile: steps: expected at least 1", 0) end
  require("rllava.profile").run(require("rllava.recipe").load(path, overrides), steps, out)
  return 0
end

--- rllava show RUN [STEP [N] [train|val]]: responses of a step.
function commands.show(folder, step, n, kind)
  if n == "val" or n == "train" then n, kind = nil, n end
  require("rllava.show").run(folder, step, n, kind)
  return 0
end

--- rllava try-reward RECIPE [--n N] [key=value ...]: some responses of the policy and what the
--- reward makes of them.
commands["try-reward"] = function(path, ...)
  if not path then error("try-reward: expected a recipe's file", 0) end
  local n, overrides, args = 8, {}, { ... }
  for i, a in ipairs(args) do
    if a == "--n" then n = tonumber(args[i + 1]) or error("--n: expected a number", 0)
    elseif args[i - 1] ~= "--n" then overrides[#overrides + 1] = a end
  end
  require("rllava.try_reward").run(require("rllava.recipe").load(path, overrides), n)
  return 0
end

--- rllava health: what this machine offers, and how to get what is missing.
function commands.health()
  print(require("rllava.health").report())
  return 0
end

--- rllava eval RECIPE [key=value ...]: validate without training; every answer and a summary with
--- 95% intervals go to a folder.
function commands.eval(path, ...)
  if not path then error("eval: expected a recipe's file", 0) end
  require("rllava.eval").show(require("rllava.recipe").load(path, { ... }))
  return 0
end

--- rllava replay RUN/skipped/step_... [key=value ...]: loss and gradients of an update that was
--- left out, with its weights and its mini-batch.
function commands.replay(path, ...)
  if not path then error("replay: expected RUN/skipped/step_...", 0) end
  require("rllava.skipped").replay(path, { ... })
  return 0
end

--- A worker of the rewards, started by a run.
commands["--reward-worker"] = function() return require("rllava.reward_worker").main() end

return commands
