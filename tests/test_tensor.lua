local T = require "check"
local rl = require "rllava"

T.test("rmsnorm gives each row an rms of one, then scales by w", function()
  local y = rl.tensor { { 3, 4 }, { 6, 8 } }:rmsnorm(rl.tensor { 1, 2 }, 1e-9)
  T.near(y, { { 0.8485, 2.2627 }, { 0.8485, 2.2627 } }, 1e-4)
end)
T.test("a wrong shape says what was expected", function()
  T.raises("w: expected [8], the last axis of x [3, 8], got [7]", function()
    return rl.zeros(3, 8):rmsnorm(rl.zeros(7), 1e-6)
  end)
end)
T.test("arithmetic broadcasts as NumPy does", function()
  T.near(rl.tensor { { 1, 2 }, { 3, 4 } } + rl.tensor { 10, 20 }, { 11, 22, 13, 24 })
  T.near(rl.tensor { { 1 }, { 2 } } * rl.tensor { 3, 4 }, { 3, 4, 6, 8 })
  T.near(1 - rl.tensor { 1, 2 } / 2, { 0.5, 0 })
end)
T.test("numbers die with their scope, what it returns stays", function()
  local kept, lost
  kept = rl.scope(function() lost = rl.tensor { 1 } return rl.tensor { 2 } + 1 end)
  T.near(kept, { 3 })
  T.raises("its scope is closed", function() return lost:totable() end)
end)
