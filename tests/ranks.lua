--- Ranks that share an update, for tests: each runs in a coroutine of its own, and waits where it
--- gathers.
local C = require("rllava.ffi").C
local tensor = require "rllava.tensor"

local ranks = {}

--- The gradients of a policy, by parameter; empty where there is none.
function ranks.gradients(policy)
  local out = {}
  for _, name in ipairs(policy.model.names) do
    local w = policy.model.params[name].tensor
    local squares = C.rl_param_grad_squares(w)                -- settles a tied embedding
    out[name] = squares > 0 and tensor.own(C.rl_grad_of(w)):totable() or {}
  end
  return out
end

--- The sum of the gradients of several policies.
function ranks.sum(list)
  local out = {}
  for _, gradients in ipairs(list) do
    for name, g in pairs(gradients) do
      out[name] = out[name] or {}
      for i, v in ipairs(g) do out[name][i] = (out[name][i] or 0) + v end
    end
  end
  return out
end

--- body(ranks, number) once for each of n ranks -> what they return, in their order.
--- All must gather alike.
function ranks.run(n, body)
  local threads, results, given = {}, {}, {}
  for k = 1, n do
    threads[k] = coroutine.create(function()
      return { done = body({ gather = function(v) return coroutine.yield(v), k end }, k) }
    end)
  end
  repeat
    local said, finished = {}, 0
    for k = 1, n do
      local ok, v = coroutine.resume(threads[k], given)
      if not ok then error(("rank %d: %s"):format(k, v), 0) end
      if coroutine.status(threads[k]) == "dead" then results[k], finished = v.done, finished + 1 end
      said[k] = v
    end
    assert(finished == 0 or finished == n, "a rank gathers what others do not")
    given = said
  until finished == n
  return results
end

return ranks
