--- AdamW with moments of 8 bits, against the paper's rule written out; checkpoints of it.
local ffi = require "ffi"
local T = require "check"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local C, check = rl.C, rl.check

local rate, betas, eps, decay = 1e-2, { 0.9, 0.999 }, 1e-8, 0.1

local one = ffi.new "float[1]"
local function f32(x) one[0] = x return one[0] end

--- The codes of arXiv:2110.02861, in order: signs { -1, 1 } or { 1 }.
local function codes(signs)
  local list, cells = { 0, 1 }, 2 / #signs
  for decade = -6, 0 do
    for k = 1, cells do
      for _, sign in ipairs(signs) do
        list[#list + 1] = f32(sign * 10 ^ decade * (0.1 + 0.9 * (k - 0.5) / cells))
      end
    end
    cells = 2 * cells
  end
  table.sort(list)
  return list
end

local signed, unsigned = codes { -1, 1 }, codes { 1 }

--- The nearest code of x (of two as near the one closer to 0), from 1 on.
local function nearest(list, x)
  local best
  for i, v in ipairs(list) do
    local apart = best and math.abs(x - v) - math.abs(x - list[best])
    if not best or apart < 0 or (apart == 0 and math.abs(v) < math.abs(list[best])) then
      best = i
    end
  end
  return best
end

--- A block of moments as its codes give it back.
local function rounded(list, block)
  local most, out = 0, {}
  for i, x in ipairs(block) do most = math.max(most, math.abs(x)) end
  for i, x in ipairs(block) do
    local code = nearest(list, f32(x / (most > 0 and most or 1)))
    if list == unsigned and x > 0 then code = math.max(code, 2) end
    out[i] = f32(list[code] * most)
  end
  return out
end

--- One step of the rule over lists w, g, m, v, each operation rounded to f32.
local function reference(w, g, m, v, step)
  local b1, n1, b2, n2 = f32(betas[1]), f32(1 - betas[1]), f32(betas[2]), f32(1 - betas[2])
  local keep, move = f32(1 - rate * decay), f32(rate / (1 - betas[1] ^ step))
  local root = f32(1 / math.sqrt(1 - betas[2] ^ step))
  for i = 1, #w do
    m[i] = f32(f32(b1 * m[i]) + f32(n1 * g[i]))
    v[i] = f32(f32(b2 * v[i]) + f32(f32(n2 * g[i]) * g[i]))
    local under = f32(f32(f32(math.sqrt(v[i])) * root) + f32(eps))
    w[i] = f32(f32(w[i] * keep) - f32(move * f32(m[i] / under)))
  end
  for from = 1, #w, 256 do
    for list, x in pairs { [signed] = m, [unsigned] = v } do
      local block = {}
      for i = from, math.min(from + 255, #w) do block[#block + 1] = x[i] end
      for i, y in ipairs(rounded(list, block)) do x[from + i - 1] = y end
    end
  end
end

--- A vector parameter of numbers, and an optimizer: a function that steps by gradients.
local function optimizer(values, bits)
  local n = #values
  local w = ffi.gc(C.rl_param_new("w", n, 0), C.rl_param_free)
  check(C.rl_param_train(w, 1))
  check(C.rl_param_set(w, ffi.new("float[?]", n, values)))
  local o = ffi.gc(check(C.rl_adamw_new(ffi.new("rl_tensor *[1]", w), 1, betas[1], betas[2], eps,
    bits)), C.rl_adamw_free)
  return w, o, function(g)
    tensor.scope(function() tensor.tensor(g):mul(w):sum():backward() end)
    check(C.rl_adamw_step(o, rate, ffi.new("double[1]", decay), 1))
  end
end

local function numbers_of(w, n)
  local values, out = ffi.new("float[?]", n), {}
  check(C.rl_param_get(w, values))
  for i = 1, n do out[i] = values[i - 1] end
  return out
end

--- Gradients of a step: of many sizes, some zero, one block of nothing else.
local function gradients(n, step)
  local g = T.numbers({ n }, step)
  for i = 1, n do
    g[i] = f32(g[i] * 10 ^ (-i % 9))
    if i % 7 == step or (i > 512 and i <= 768) then g[i] = 0 end
  end
  return g
end

T.test("AdamW of 8 bits does what the paper says, to the bit, on every path", function()
  local n, best, threads = 4500, ffi.string(C.rl_cpu(nil)), C.rl_threads(0)
  local want, m, v = T.numbers({ n }, 9), {}, {}
  for i = 1, n do want[i], m[i], v[i] = f32(want[i]), 0, 0 end
  local start = { unpack(want, 1, n) }
  for step = 1, 3 do reference(want, gradients(n, step), m, v, step) end
  for _, path in ipairs { "generic", "avx2", "avx512" } do
    for k = 1, C.rl_cpu(path) ~= nil and 3 or 0 do
      C.rl_threads(k)
      local w, _, move = optimizer(start, 8)
      for step = 1, 3 do move(gradients(n, step)) end
      T.equal(numbers_of(w, n), want)
    end
  end
  C.rl_cpu(best)
  C.rl_threads(threads)
end)

T.test("small parameters keep moments of 32 bits, large ones a little over 8", function()
  local _, small = optimizer(T.numbers({ 4095 }, 1), 8)
  local _, large = optimizer(T.numbers({ 4096 }, 1), 8)
  T.equal(C.rl_adamw_words(small, 0), 4095)
  T.equal(C.rl_adamw_words(large, 0), 4096 / 4 + 4096 / 256)
  T.raises("bits: expected 8 or 32, got 16", function() optimizer({ 1 }, 16) end)
end)

T.test("a gradient that stays away moves no weight far, though 8-bit moments fade", function()
  local n = 4096
  local w, _, move = optimizer(T.numbers({ n }, 2), 8)
  local g = {}
  for i = 1, n do g[i] = i % 256 == 0 and 1 or 1e-3 end
  move(g)
  for i = 1, n do if i % 256 ~= 0 then g[i] = 0 end end
  local last = numbers_of(w, n)
  for _ = 1, 50 do
    move(g)
    local now = numbers_of(w, n)
    for i = 1, n do
      if math.abs(now[i] - last[i]) > 20 * rate then
        error(("element %d moved by %g"):format(i, now[i] - last[i]))
      end
    end
    last = now
  end
end)
