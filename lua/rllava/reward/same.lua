--- Are two formulas equal?  Exactly where that can be decided, else by values at a few points.
local exact = require "rllava.reward.exact"
local numeric = require "rllava.reward.numeric"

--- Two trees -> true or false.  What is undefined (1/0) equals nothing.
return function(a, b)
  for _, p in ipairs(exact.primes) do
    local x, y = exact.element(a, p), exact.element(b, p)
    if not x or not y then return numeric.same(a, b) end
    if not exact.same(x, y) then return false end
  end
  return true
end
