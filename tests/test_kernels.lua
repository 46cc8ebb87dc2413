--- Products: every element is one chain of fused multiply-adds in order, whatever the path, the
--- cut, the threads.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava"
local nn = require "rllava.nn"
local tensor = require "rllava.tensor"
local tiny = require "tiny"
local update = require "rllava.update"
local C, check = require("rllava.ffi").C, require("rllava.ffi").check
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
    if got[i] ~= want[i] then
      error(("%s: element %d: expected %.9g, got %.9g"):format(what, i, want[i], got[i]), 0)
    end
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

local shapes = { { 1, 1, 1 }, { 1, 16, 70 }, { 2, 17, 5 }, { 3, 31, 16 }, { 4, 33, 7 },
  { 5, 48, 33 }, { 6, 15, 2 }, { 7, 64, 19 }, { 11, 70, 64 }, { 12, 32, 40 }, { 13, 34, 3 },
  { 24, 16, 17 }, { 25, 47, 50 }, { 31, 5, 31 }, { 70, 70, 70 }, { 1, 130, 9 }, { 9, 100, 901 },
  { 900, 47, 38 }, { 40, 820, 30 }, { 500, 90, 61 } }

T.test("forward, towards x and w: the bits of a plain fmaf loop at all borders of tiles", function()
  for _, shape in ipairs(shapes) do
    local rows, n, k = unpack(shape)
    local x, w, dy = random_tensor(rows, k), random_tensor(n, k), random_tensor(rows, n)
    local bias = random_tensor(n)
    local xd, wd, gd, bd = x:data(), w:data(), dy:data(), bias:data()
    local y = chain(rows, n, k,
      function(i, p) return xd[i * k + p] end, function(p, j) return wd[j * k + p] end)
    local sum = ffi.new "float[1]"
    for i = 0, rows * n - 1 do
      sum[0] = y[i] + bd[i % n]
      y[i] = sum[0]
    end
    local dx = chain(rows, k, n,
      function(i, p) return gd[i * n + p] end, function(p, j) return wd[p * k + j] end)
    local dw = chain(n, k, rows,
      function(i, p) return gd[p * n + i] end, function(p, j) return xd[p * k + j] end)
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

--- ---- in a replay, f32 and bf16 ----

local names = { [C.RL_FLOAT] = "f32", [C.RL_HALF] = "bf16" }
local bits = ffi.new "union { float f; unsigned u; }"

--- To the nearest bf16, ties to even.
local function rounded(x)
  bits.f = x
  local low = bits.u % 65536
  local up = low > 32768 or (low == 32768 and bits.u % 131072 >= 65536)
  bits.u = bits.u - low + (up and 65536 or 0)
  return bits.f
end

--- The same chain by pairs: first the odd, then the even element of each.
local function pair_chain(rows, columns, depth, a, b)
  local function at(f, x, y, p) return p < depth and rounded(f(x, y)) or 0 end
  local c = ffi.new("float[?]", rows * columns + 1)
  for i = 0, rows - 1 do
    for j = 0, columns - 1 do
      local sum = 0
      for p = 0, depth - 1, 2 do
        sum = ffi.C.fmaf(at(a, i, p + 1, p + 1), at(b, p + 1, j, p + 1), sum)
        sum = ffi.C.fmaf(at(a, i, p, p), at(b, p, j, p), sum)
      end
      c[i * columns + j] = sum
    end
  end
  return c
end

local function param(m, name, values, rows, cols)
  local w = m:param(name, rows, cols)
  check(C.rl_param_set(w, values))
  return w
end

local function gradient(w, n)
  local g = C.rl_grad_of(w)
  return ffi.cast("float *", check(C.rl_data(g))), g
end

--- y = x w^T with x out of an embedding, so that its gradient can be seen -> y, dx, dw as C arrays.
local function linear(rows, n, k, x, w, dy, dtype)
  local m = nn.model {}
  local ids = ffi.new("int[?]", rows)
  for i = 0, rows - 1 do ids[i] = i end
  local xw = param(m, "x", x, rows, k)
  local ww = param(m, "w", w, n, k)
  m:output("y", m:ints("ids", "tokens"):embedding(xw):linear(ww))
  local r = ffi.gc(check(C.rl_replay_new(m.tape, "y", 1, 0, dtype)), C.rl_replay_free)
  check(C.rl_replay_rows(r, "tokens", rows))
  check(C.rl_replay_bind(r, "ids", ids))
  check(C.rl_replay_forward(r))
  local y = tensor.own(C.rl_replay_output(r, "y"));
  (y * tensor.from(dy, { rows, n })):sum():backward()
  check(C.rl_replay_backward(r))
  return y:data(), (gradient(xw)), (gradient(ww)), { y, m }
end

local function floats(n, value)
  local x = ffi.new("float[?]", n)
  for i = 0, n - 1 do x[i] = value(i) end
  return x
end

T.test("in bf16: rounded operands, pairs odd element first, bits of a plain fmaf loop", function()
  for _, shape in ipairs(shapes) do
    local rows, n, k = unpack(shape)
    local x, w, dy = floats(rows * k, random), floats(n * k, random), floats(rows * n, random)
    local y = pair_chain(rows, n, k,
      function(i, p) return x[i * k + p] end, function(p, j) return w[j * k + p] end)
    local dx = pair_chain(rows, k, n,
      function(i, p) return dy[i * n + p] end, function(p, j) return w[p * k + j] end)
    local dw = pair_chain(n, k, rows,
      function(i, p) return dy[p * n + i] end, function(p, j) return x[p * k + j] end)
    everywhere(function(where)
      rl.scope(function()
        local name = ("%s, %d x %d x %d"):format(where, rows, n, k)
        local gy, gx, gw = linear(rows, n, k, x, w, dy, C.RL_HALF)
        same(name .. ": y", gy, y, rows * n)
        same(name .. ": dx", gx, dx, rows * k)
        same(name .. ": dw", gw, dw, n * k)
      end)
    end)
  end
end)

T.test("the bf16 dot instruction and its widening agree on denormal and huge numbers", function()
  local rows, n, k = 12, 48, 64
  for _, exponents in ipairs { { 0, 3 }, { 55, 70 }, { 60, 66 }, { 180, 192 }, { 1, 250 } } do
    local function number()
      local low, high = unpack(exponents)
      local exponent = math.floor((random() + 0.5) * (high - low) + low)
      bits.u = exponent * 2 ^ 23 + math.floor((random() + 0.5) * 2 ^ 23)
      return random() < 0 and -bits.f or bits.f
    end
    local x, w, dy = floats(rows * k, number), floats(n * k, number), floats(rows * n, number)
    local first
    everywhere(function(where)
      rl.scope(function()
        local got = { linear(rows, n, k, x, w, dy, C.RL_HALF) }
        local seen = { ffi.string(got[1], 4 * rows * n), ffi.string(got[2], 4 * rows * k),
          ffi.string(got[3], 4 * n * k) }
        first = first or seen
        for i, what in ipairs { "y", "dx", "dw" } do
          if seen[i] ~= first[i] then
            error(("%s: %s: not the bits of the first path"):format(where, what), 0)
          end
        end
      end)
    end)
  end
end)

--- ---- attention over a forest ----

-- Segments: parent (0: a root) and length, in this order.
local forest = { { 0, 19 }, { 1, 7 }, { 1, 34 }, { 3, 5 }, { 0, 1 }, { 5, 40 }, { 0, 70 } }
local heads, kv_heads, hd = 6, 2, 24

--- The rows that each row sees, in order.
local function sights()
  local first, rows, seen = {}, 0, {}
  for s, segment in ipairs(forest) do
    first[s] = rows
    for i = 0, segment[2] - 1 do
      local list, path = {}, {}
      local a = segment[1]
      while a > 0 do
        table.insert(path, 1, a)
        a = forest[a][1]
      end
      for _, up in ipairs(path) do
        for r = 0, forest[up][2] - 1 do list[#list + 1] = first[up] + r end
      end
      for r = 0, i do list[#list + 1] = first[s] + r end
      seen[rows + i] = list
    end
    rows = rows + segment[2]
  end
  return seen, rows
end

--- Attention and its gradients in double precision: out, dq, dk, dv as lists from 0.
local function reference(seen, rows, q, k, v, g)
  local out, dq, dk, dv = {}, {}, {}, {}
  for i = 0, rows * heads * hd - 1 do out[i], dq[i] = 0, 0 end
  for i = 0, rows * kv_heads * hd - 1 do dk[i], dv[i] = 0, 0 end
  for r = 0, rows - 1 do
    for h = 0, heads - 1 do
      local at, kv = (r * heads + h) * hd, math.floor(h * kv_heads / heads)
      local p, top, sum, mean = {}, -math.huge, 0, 0
      local function key(j) return (seen[r][j] * kv_heads + kv) * hd end
      local function dot(a, x, b, y)
        local s = 0
        for d = 0, hd - 1 do s = s + a[x + d] * b[y + d] end
        return s
      end
      for j = 1, #seen[r] do p[j] = dot(q, at, k, key(j)) * hd ^ -0.5 top = math.max(top, p[j]) end
      for j = 1, #seen[r] do p[j] = math.exp(p[j] - top) sum = sum + p[j] end
      for j = 1, #seen[r] do
        p[j] = p[j] / sum
        mean = mean + p[j] * dot(g, at, v, key(j))
        for d = 0, hd - 1 do out[at + d] = out[at + d] + p[j] * v[key(j) + d] end
      end
      for j = 1, #seen[r] do
        local ds = p[j] * (dot(g, at, v, key(j)) - mean) * hd ^ -0.5
        for d = 0, hd - 1 do
          dq[at + d] = dq[at + d] + ds * k[key(j) + d]
          dk[key(j) + d] = dk[key(j) + d] + ds * q[at + d]
          dv[key(j) + d] = dv[key(j) + d] + p[j] * g[at + d]
        end
      end
    end
  end
  return out, dq, dk, dv
end

--- The same by the kernels -> { out, dq, dk, dv } as C arrays.
local function attention(rows, q, k, v, g, dtype)
  local m, batch, at = nn.model {}, ffi.gc(C.rl_batch_new(), C.rl_batch_free), 0
  for _, segment in ipairs(forest) do
    local ids = ffi.new("int[?]", segment[2])
    for i = 0, segment[2] - 1 do ids[i] = at + i end
    at = at + segment[2]
    check(C.rl_batch_segment(batch, segment[1] - 1, ids, segment[2], nil, nil, 0, 0))
  end
  local ids, w = m:ints("ids", "tokens"), {}
  m:ints("positions", "tokens")
  m:ints("answers", "answers")
  m:table "pairs"
  for i, x in ipairs { { "q", q, heads }, { "k", k, kv_heads }, { "v", v, kv_heads } } do
    w[i] = param(m, x[1], x[2], rows, x[3] * hd)
  end
  local function split(x) return ids:embedding(x):heads(hd) end
  m:output("y", split(w[1]):attention(split(w[2]), split(w[3]), m:table "segments", hd ^ -0.5))
  local r = ffi.gc(check(C.rl_replay_new(m.tape, "y", 1, 0, dtype)), C.rl_replay_free)
  check(C.rl_batch_bind(batch, r, 1))
  check(C.rl_replay_forward(r))
  local y = tensor.own(C.rl_replay_output(r, "y"));
  (y * tensor.from(g, { rows, heads * hd })):sum():backward()
  check(C.rl_replay_backward(r))
  return { y:data(), (gradient(w[1])), (gradient(w[2])), (gradient(w[3])) }, { y, m }
end

for _, case in ipairs { { C.RL_FLOAT, 3e-6 }, { C.RL_HALF, 1.5e-2 } } do
  local dtype, tolerance = unpack(case)
  T.test("attention and its gradients in " .. names[dtype] .. ": the same bits", function()
    local seen, rows = sights()
    local q, g = floats(rows * heads * hd, random), floats(rows * heads * hd, random)
    local k, v = floats(rows * kv_heads * hd, random), floats(rows * kv_heads * hd, random)
    local wanted, first = { reference(seen, rows, q, k, v, g) }, nil
    local sizes = { rows * heads * hd, rows * heads * hd, rows * kv_heads * hd,
      rows * kv_heads * hd }
    everywhere(function(where)
      rl.scope(function()
        local got, strings = attention(rows, q, k, v, g, dtype), {}
        for i, what in ipairs { "out", "dq", "dk", "dv" } do
          for e = 0, sizes[i] - 1 do
            if not (math.abs(got[i][e] - wanted[i][e]) <= tolerance) then
              error(("%s: %s: element %d: expected %.7g, got %.7g"):format(where, what, e,
                wanted[i][e], got[i][e]), 0)
            end
          end
          strings[i] = ffi.string(got[i], 4 * sizes[i])
          if first and strings[i] ~= first[i] then
            error(("%s: %s: not the bits of the first path"):format(where, what), 0)
          end
        end
        first = first or strings
      end)
    end)
  end)
end

--- ---- the vocabulary head ----

T.test("log-probability, entropy and their gradients are those of double precision", function()
  local vocab, d, temperature, rows = 2703, 24, 0.7, 5
  local first = { 0, 2, 3, 3, 6, 7 }                        -- by row, from 0; row 2 answers nothing
  local labels = { 4, 2702, 0, 7, 7, 2050, 31 }
  local x, w, pairs = floats(rows * d, random), floats(vocab * d, random), #labels
  local gl, ge = floats(pairs, random), floats(pairs, random)
  local batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  -- Row r is a root whose children of one trimmed token ask for its labels.
  for r = 0, rows - 1 do
    local root = check(C.rl_batch_segment(batch, -1, ffi.new("int[1]", r), 1, nil, nil, 0, 0))
    for i = first[r + 1] + 1, first[r + 2] do
      local id, asked = ffi.new("int[1]", labels[i]), ffi.new("unsigned char[1]", 1)
      check(C.rl_batch_segment(batch, root, id, 1, nil, asked, 1, 0))
    end
  end
  local logp, entropy, dx, dw = {}, {}, {}, {}
  for i = 0, rows * d - 1 do dx[i] = 0 end
  for i = 0, vocab * d - 1 do dw[i] = 0 end
  for r = 0, rows - 1 do
    local z, top, sum, h, slope, dh = {}, -math.huge, 0, 0, 0, 0
    for v = 0, vocab - 1 do
      z[v] = 0
      for i = 0, d - 1 do z[v] = z[v] + x[r * d + i] * w[v * d + i] / temperature end
      top = math.max(top, z[v])
    end
    for v = 0, vocab - 1 do sum = sum + math.exp(z[v] - top) end
    for v = 0, vocab - 1 do
      z[v] = z[v] - top - math.log(sum)
      h = h - math.exp(z[v]) * z[v]
    end
    local dz = {}
    for i = first[r + 1] + 1, first[r + 2] do
      logp[i], entropy[i] = z[labels[i]], h
      slope, dh = slope + gl[i - 1], dh + ge[i - 1]
      dz[labels[i]] = (dz[labels[i]] or 0) + gl[i - 1]
    end
    for v = 0, vocab - 1 do
      local g = ((dz[v] or 0) - math.exp(z[v]) * (slope + dh * (z[v] + h))) / temperature
      for i = 0, d - 1 do
        dx[r * d + i] = dx[r * d + i] + g * w[v * d + i]
        dw[v * d + i] = dw[v * d + i] + g * x[r * d + i]
      end
    end
  end
  local bits
  everywhere(function(where)
    rl.scope(function()
      local m = nn.model {}
      local ids, xw = m:ints("ids", "tokens"), param(m, "x", x, rows, d)
      m:ints("positions", "tokens")
      m:table "segments"
      local ww = param(m, "w", w, vocab, d)
      local h = ids:embedding(xw):gather(m:ints("answers", "answers"))
      local out = m:output("logp", h:logprob(ww, m:table "pairs"))
      m:output("entropy", out:entropy_of())
      local r = ffi.gc(check(C.rl_replay_new(m.tape, "logp entropy", 1, 0, C.RL_FLOAT)),
        C.rl_replay_free)
      check(C.rl_batch_bind(batch, r, temperature))
      check(C.rl_replay_forward(r))
      local l = tensor.own(C.rl_replay_output(r, "logp"))
      local e = tensor.own(C.rl_replay_output(r, "entropy"))
      T.near(l, logp, 2e-6)
      T.near(e, entropy, 3e-6);
      ((l * tensor.from(gl, { pairs })):sum() + (e * tensor.from(ge, { pairs })):sum()):backward()
      check(C.rl_replay_backward(r))
      local gx, gw = gradient(xw), gradient(ww)
      for i = 0, rows * d - 1 do
        if math.abs(gx[i] - dx[i]) > 3e-6 then error(where .. ": dx", 0) end
      end
      for i = 0, vocab * d - 1 do
        if math.abs(gw[i] - dw[i]) > 1e-6 then error(where .. ": dw", 0) end
      end
      local text = ffi.string(l:data(), 4 * pairs) .. ffi.string(gx, 4 * rows * d)
        .. ffi.string(gw, 4 * vocab * d)
      bits = bits or text
      if text ~= bits then error(where .. ": not the bits of the first path", 0) end
    end)
  end)
end)

--- ---- a model ----

--- Gradients of every parameter after a loss over groups, cut into replays as `cuts` says; as one
--- text.
local function gradients(p, groups, cuts, dtype)
  local replay = ffi.gc(check(C.rl_replay_new(p.model.tape, "logp", 1, 0, dtype)), C.rl_replay_free)
  local batch, at, parts = ffi.gc(C.rl_batch_new(), C.rl_batch_free), 1, {}
  p:zero_grad()
  for _, n in ipairs(cuts) do
    rl.scope(function()
      local some = {}
      for i = 1, n do some[i] = groups[at + i - 1] end
      at = at + n
      update.pack(batch, some, dtype == C.RL_HALF and 1 or 0)
      check(C.rl_batch_bind(batch, replay, 1))
      check(C.rl_replay_forward(replay))
      local logp = tensor.own(C.rl_replay_output(replay, "logp"));
      (logp * logp):sum():backward()
      check(C.rl_replay_backward(replay))
    end)
  end
  for _, name in ipairs(p.model.names) do
    local shape, n = p.model.params[name].shape, 1
    for _, d in ipairs(shape) do n = n * d end
    rl.scope(function()
      parts[#parts + 1] = ffi.string(gradient(p.model.params[name].tensor), 4 * n)
    end)
  end
  return parts
end

for _, dtype in ipairs { C.RL_FLOAT, C.RL_HALF } do
  T.test("gradients in " .. names[dtype] .. " depend on no cut, thread or path", function()
    local p, pick, groups = tiny.text("qwen3", { head_dim = 16 }), tiny.random(3), {}
    for i, n in ipairs { 9, 20, 33, 1 } do
      groups[i] = { prompt = tiny.prompt(p, pick, n), responses = {} }
      for k = 1, i % 3 + 1 do groups[i].responses[k] = tiny.response(pick, 5 * k + i) end
    end
    local first
    everywhere(function(where)
      for _, cuts in ipairs { { 4 }, { 1, 1, 1, 1 }, { 1, 3 } } do
        local found = gradients(p, groups, cuts, dtype)
        first = first or found
        for i, text in ipairs(found) do
          if text ~= first[i] then
            error(("%s, %d parts: %s"):format(where, #cuts, p.model.names[i]), 0)
          end
        end
      end
    end)
  end)
end

T.test("in bf16 what the engine draws is what the training forward computes, to the bit", function()
  local p, pick = tiny.text(), tiny.random(11)
  tiny.dtype = C.RL_HALF
  local ok, message = pcall(everywhere, function(where)
    for _, tokens in ipairs { 7, 256 } do
      local e, prompts, asked = tiny.engine(p, { tokens = tokens }), {}, {}
      for i, n in ipairs { 1, 15, 17, 32 } do
        prompts[i] = tiny.prompt(p, pick, n)
        asked[i] = tiny.submit(e, prompts[i],
          { samples = i, max_new = 3 + 9 * (i % 3), seed = 5, stream = i })
      end
      local found = tiny.collect(e, 10)
      for i, prompt in ipairs(prompts) do
        local trained = tiny.logp(p, prompt, found[asked[i]], 1, true)
        for k, x in ipairs(found[asked[i]]) do T.equal(x.logp, trained[k].logp) end
      end
      C.rl_engine_free(ffi.gc(e, nil))
    end
  end)
  tiny.dtype = C.RL_FLOAT
  if not ok then error(message, 0) end
end)
