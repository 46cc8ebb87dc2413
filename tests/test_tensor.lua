local T = require "check"
local rl = require "rllava"
local ffi = require "rllava.ffi"
local C = ffi.C

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
  T.raises("its scope is closed", function() return lost:reshape(1, 1) end)
end)
T.test("a value of a tape that is gone is refused, not read", function()
  local tape = C.rl_tape_new()
  local x = C.rl_tape_input(tape, "x", "tokens", 4, C.RL_FLOAT)
  C.rl_tape_free(tape)
  T.raises("tensor [rows, 4]: its scope is closed", function() return ffi.check(C.rl_data(x)) end)
  C.rl_tensor_release(x)
end)
T.test("lists whose numbers stand at different depths are refused", function()
  T.raises("expected numbers on 2 axes as before, got one on 1", function()
    return rl.tensor { { 1, 2 }, 3 }
  end)
  T.raises("axis 1: expected 2 elements as before, got 1", function()
    return rl.tensor { { 1, 2 }, { 3 } }
  end)
  for _, list in ipairs { { 1, { 2 } }, { {}, 3 }, { { { 1 } }, { 2 } } } do
    T.raises("tensor: expected numbers on", function() return rl.tensor(list) end)
  end
end)
T.test("lengths whose product no memory holds are refused", function()
  local most = 2 ^ 31 - 1
  T.raises("tensor: expected at most 2^46 elements", function()
    return rl.zeros(most, most, most, most)
  end)
  T.raises("reshape: expected 4 elements as in [4]", function()
    return rl.zeros(4):reshape(2 ^ 30, 2 ^ 30, 16)
  end)
end)
