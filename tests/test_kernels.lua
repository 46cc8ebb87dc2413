--- Products: every element is one chain of fused multiply-adds in order, whatever the path, the cut, the threads.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava"
local C = require("rllava.ffi").C
ffi.cdef "float fmaf(float, float, float);"

local best = ffi.string(C.rl_cpu(nil))
local function paths()
  local list = {}
  for _, name in ipairs { "generic", "avx2", "avx512" } do
    if C.rl_cpu(name) ~= nil then list[#list + 1] = name end
  end
  C.rl_cpu(best)
  return list
end

--- Runs body on every path and for one, two and three threads; afterwards all is as it was.
local function everywhere(body)
  local threads = C.rl_threads(0)
  for _, path in ipairs(paths()) do
    C.rl_cpu(path)
    for n = 1, 3 do
      C.rl_threads(n)
      body(path .. ", " .. n .. " threads")
    end
  end
  C.rl_cpu(best)
  C.rl_threads(threads)
end

local seed = 1
local function random()
  seed = (seed * 16807) % 2147483647
  return seed / 2147483647 - 0.5
end
local function random_tensor(...)
  local x = rl.zeros(...)
  local data = x:data()
  for i = 0, x:numel() - 1 do data[i] = random() end
  return x
end

--- The same bits, element by element.
local function same(what, got, want, n)
  for i = 0, n - 1 do
    if got[i] ~= want[i] then error(("%s: element %d: expected %.9g, got %.9g"):format(what, i, want[i], got[i]), 0) end
  end
end

--- c[i, j] = sum over p of a(i, p) b(p, j) as a chain.
local function chain(rows, columns, depth, a, b)
  local c = ffi.new("float[?]", rows * columns + 1)
  for i = 0, rows - 1 do
    for j = 0, columns - 1 do
      local sum = 0
      for p = 0, depth - 1 do sum = ffi.C.fmaf(a(i, p), b(p, j), sum) end
      c[i * columns + j] = sum
    end
  end
  return c
end

local shapes = { { 1, 1, 1 }, { 1, 16, 70 }, { 2, 17, 5 }, { 3, 31, 16 }, { 4, 33, 7 }, { 5, 48, 33 }, { 6, 15, 2 }, { 7, 64, 19 },
  { 11, 70, 64 }, { 12, 32, 40 }, { 13, 34, 3 }, { 24, 16, 17 }, { 25, 47, 50 }, { 31, 5, 31 }, { 70, 70, 70 }, { 1, 130, 9 },
  { 9, 100, 901 }, { 900, 47, 38 }, { 40, 820, 30 }, { 500, 90, 61 } }

T.test("forward, towards x and towards w: the bits of a plain fmaf loop at every border of tiles and panels", function()
  for _, shape in ipairs(shapes) do
    local rows, n, k = unpack(shape)
    local x, w, dy = random_tensor(rows, k), random_tensor(n, k), random_tensor(rows, n)
    local bias = random_tensor(n)
    local xd, wd, gd, bd = x:data(), w:data(), dy:data(), bias:data()
    local y = chain(rows, n, k, function(i, p) return xd[i * k + p] end, function(p, j) return wd[j * k + p] end)
    local sum = ffi.new "float[1]"
    for i = 0, rows * n - 1 do
      sum[0] = y[i] + bd[i % n]
      y[i] = sum[0]
    end
    local dx = chain(rows, k, n, function(i, p) return gd[i * n + p] end, function(p, j) return wd[p * k + j] end)
    local dw = chain(n, k, rows, function(i, p) return gd[p * n + i] end, function(p, j) return xd[p * k + j] end)
    everywhere(function(where)
      rl.scope(function()
        local name = ("%s, %d x %d x %d"):format(where, rows, n, k)
        local x, w = rl.zeros(rows, k), rl.zeros(n, k)
        ffi.copy(x:data(), xd, 4 * rows * k)
        ffi.copy(w:data(), wd, 4 * n * k)
        local out = x:require_grad():linear(w:require_grad(), bias)
        same(name .. ": y", out:data(), y, rows * n);
        (out * dy):sum():backward()
        same(name .. ": dx", x:grad():data(), dx, rows * k)
        same(name .. ": dw", w:grad():data(), dw, n * k)
      end)
    end)
  end
end)
