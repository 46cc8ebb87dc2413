--- Operations: gradients against finite differences, refusals, and equal bits on every path.
local ffi = require "ffi"
local T = require "check"
local Case = require "tape_case"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local C = rl.C

--- ---- gradients ----

local unary = {
  neg = {}, exp = {}, sqr = {}, abs = { low = 0.3, high = 1 },
  log = { low = 0.5, high = 2 }, sqrt = { low = 0.5, high = 2 },
  silu = { low = -3, high = 3 }, sigmoid = { low = -3, high = 3 }, tanh = { low = -2, high = 2 },
  gelu = { low = -3, high = 3 }, gelu_tanh = { low = -3, high = 3 },
  gelu_quick = { low = -3, high = 3 },
}
for name, options in require("rllava").sorted(unary) do
  T.gradient("unary " .. name, { { 3, 7 } }, function(x) return x[name](x) end, options)
end
T.gradient("unary abs of negative numbers", { { 9 } }, function(x) return x:abs() end,
  { low = -1, high = -0.3 })
T.gradient("unary clamp inside", { { 9 } }, function(x) return x:clamp(-2, 2) end)
T.gradient("unary clamp outside", { { 9 } }, function(x) return x:clamp(-3, -2) end)
T.gradient("unary affine", { { 9 } }, function(x) return x:affine(-1.5, 0.3) end)
T.gradient("unary pow", { { 9 } }, function(x) return x:pow(1.7) end, { low = 0.5, high = 2 })

local shapes = { { { 3, 4 }, { 3, 4 } }, { { 3, 4 }, { 4 } }, { { 3, 1 }, { 4 } },
  { { 2, 1, 3 }, { 4, 1 } }, { { 5 }, { 1 } }, { {}, { 3, 2 } }, { { 2, 3, 1, 2 }, { 3, 2, 1 } } }
for _, op in ipairs { "add", "sub", "mul" } do
  local function f(a, b) return a[op](a, b) end
  for _, s in ipairs(shapes) do
    local a, b = table.concat(s[1], "x"), table.concat(s[2], "x")
    T.gradient(("binary %s of %s and %s"):format(op, a, b), s, f)
    T.gradient(("binary %s of %s and %s"):format(op, b, a), { s[2], s[1] }, f)
  end
end
for _, s in ipairs(shapes) do
  T.gradient("binary div", s, function(a, b) return a:div(b) end, { low = 0.6, high = 2 })
  -- apart, so that no difference crosses a tie
  T.gradient("binary min", s, function(a, b) return a:min(b + 3):min(b - 3) end)
  T.gradient("binary max", s, function(a, b) return a:max(b + 3):max(b - 3) end)
end
for _, op in ipairs { "lt", "le", "eq" } do
  T.gradient("binary " .. op, { { 4 }, { 4 } }, function(a, b) return a[op](a, b + 3) end)
end
T.gradient("binary mul of a tensor with itself", { { 3, 4 } }, function(x) return x * x end)
T.gradient("binary mul of a tensor with its own view", { { 4 } },
  function(x) return x:reshape(4, 1) * x end)

T.gradient("reshape", { { 3, 4 } }, function(x) return x:reshape(2, 6):sqr() end)
T.gradient("heads", { { 3, 8 } }, function(x) return x:heads(4):sqr() end)
T.gradient("tape_rows", { { 4, 6 } }, function(x) return x:tape_rows("cells", 12):sqr() end)
T.gradient("detach", { { 5 }, { 5 } }, function(x, y) return x:sqr():detach() * 0 + y end)
T.gradient("sum", { { 3, 4, 2 } }, function(x) return x:sqr():sum() end)
for axis = 0, 2 do
  T.gradient("sum over axis " .. axis, { { 3, 4, 2 } }, function(x) return x:sqr():sum(axis) end)
end
local first = function() return tensor.ints { 0, 3, 3, 4, 9 } end
T.gradient("segment_sum", { { 9 } }, function(x) return x:sqr():segment_sum(first()) end)
T.gradient("segment_expand", { { 4 } }, function(x) return x:segment_expand(first()):sqr() end)
T.gradient("linear", { { 5, 7 }, { 19, 7 } }, function(x, w) return x:linear(w) end)
T.gradient("linear with a bias", { { 2, 3, 7 }, { 18, 7 }, { 18 } },
  function(x, w, b) return x:linear(w, b) end)
T.gradient("rmsnorm", { { 3, 21 }, { 21 } },
  function(x, w) return x:rmsnorm(w, 1e-6) end, { tolerance = 5e-3 })
T.gradient("layernorm", { { 3, 21 }, { 21 }, { 21 } },
  function(x, w, b) return x:layernorm(w, b, 1e-5) end, { tolerance = 5e-3 })
T.gradient("swiglu", { { 3, 7 }, { 3, 7 } }, function(x, up) return x:swiglu(up) end)
T.gradient("gather", { { 4, 3 } }, function(x)
  return x:gather(tensor.ints { 2, -1, 0, 2, 3, 2 }):sqr()
end)
T.gradient("place", { { 5, 3 }, { 3, 3 } }, function(x, rows)
  return x:place(rows, tensor.ints { 4, -1, 1 }):sqr()
end)
T.gradient("columns", { { 4, 9 } }, function(x) return x:columns(2, 5):sqr() end)

local function table_of(rows, half)
  local axis, freqs, positions = {}, {}, {}
  for j = 1, half do axis[j], freqs[j] = j % 2, 2 ^ -j end
  for i = 1, 2 * rows do positions[i] = i * 3 % 11 end
  return tensor.ints(positions):reshape(2, rows), tensor.tensor(freqs), tensor.ints(axis)
end
T.gradient("rope", { { 3, 2, 8 } }, function(x)
  local p, f, a = table_of(3, 4)
  local cs = {}
  for r = 0, 2 do
    for part = 0, 1 do
      for j = 0, 3 do
        local angle = p:data()[a:data()[j] * 3 + r] * f:data()[j]
        cs[#cs + 1] = part == 0 and math.cos(angle) or math.sin(angle)
      end
    end
  end
  return x:rope(tensor.tensor(cs):reshape(3, 8))
end)

--- An operation of a tape: gradients of its outputs towards the parameters.
local function tape_gradient(name, case, outputs, options)
  options = options or {}
  for word in name:gmatch "[%w_]+" do T.proved[word] = true end
  T.test("gradient of " .. name, function()
    local c, inputs = case(), {}
    for k, param in ipairs(c.names) do
      inputs[k] = T.numbers(c.shapes[param], k, options.low, options.high)
    end
    local function run(lists, want) return c:run(outputs, lists, want) end
    T.slopes(inputs, run, options.tolerance or 5e-3, options.h)
  end)
end

tape_gradient("embedding", function()
  local forest = { { parent = -1, n = 3 }, { parent = -1, n = 3, labels = { 8, 1, 1 } } }
  return Case.new({ "w" }, { w = { 9, 5 } }, forest, function(c, x)
    c.model:output("y", x.w:sqr())
  end)
end, "y")

-- Two trees; in the first a prompt of 3 with responses of 2 and 1, below the second of these one
-- of 2 more.
local forest = { { parent = -1, n = 3 }, { parent = 0, n = 2 }, { parent = 0, n = 1 },
  { parent = 2, n = 2 }, { parent = -1, n = 4 } }

tape_gradient("attention", function()
  local shapes = { q = { 12, 8 }, k = { 12, 4 }, v = { 12, 4 } }
  return Case.new({ "q", "k", "v" }, shapes, forest, function(c, x)
    c.model:output("y", x.q:heads(4):attention(x.k:heads(4), x.v:heads(4), c.segments, 0.5))
  end)
end, "y")

tape_gradient("logprob and entropy_of", function()
  local forest = { { parent = -1, n = 3, asked = { 0, 1, 1 } },
    { parent = 0, n = 3, asked = { 1, 1, 1 }, labels = { 20, 4, 9 }, trim = true },
    { parent = 0, n = 2, asked = { 1, 1 }, labels = { 7, 7 }, trim = true } }
  local c = Case.new({ "x", "w" }, { x = { 24, 6 }, w = { 24, 6 } }, forest, function(c, x)
    local logp = x.x:gather(c.answers):logprob(c.params.w, c.pairs)
    c.model:output("logp", logp)
    c.model:output("entropy", logp:entropy_of())
  end)
  c.temperature = 0.7
  return c
end, "logp entropy")

-- Not operations, or with nothing to differentiate by.
local exempt = { grad_of = true, rope_table = true }
T.test("every operation of the header has a gradient test", function()
  for name in rl.header:gmatch "\nrl_tensor %*rl_([%w_]+)%(rl_tensor %*" do
    if not T.proved[name] and not exempt[name] then error(name .. " has none") end
  end
end)

--- ---- what is detached gets nothing ----

T.test("a detached operand of swiglu passes no gradient on", function()
  local x, up = tensor.tensor { 1, 2 }:require_grad(), tensor.tensor { 3, 4 }:require_grad()
  x:swiglu(up:detach()):sum():backward()
  T.near(up:grad(), { 0, 0 })
end)

T.test("detached keys of attention pass no gradient on", function()
  local shapes = { q = { 4, 4 }, k = { 4, 4 }, v = { 4, 4 } }
  local c = Case.new({ "q", "k", "v" }, shapes, { { parent = -1, n = 4 } }, function(c, x)
    local k = x.k:heads(4):detach()
    c.model:output("y", x.q:heads(4):attention(k, x.v:heads(4), c.segments, 0.5))
  end)
  local inputs = {}
  for k = 1, 3 do inputs[k] = T.numbers({ 4, 4 }, k) end
  local _, g = c:run("y", inputs, true)
  local zeros = {}
  for i = 1, 16 do zeros[i] = 0 end
  T.equal(g[2], zeros)
  if g[1][1] == 0 and g[1][5] == 0 then error("no gradient at all") end
end)

--- ---- refusals ----

local function refuses(text, f) T.test("refused: " .. text, function() T.raises(text, f) end) end
local zeros, ints = tensor.zeros, tensor.ints
refuses("unary: op: expected one of neg exp",
  function() return tensor.own(C.rl_unary(zeros(2), "sine", 0, 0)) end)
refuses("clamp: bounds: expected the lower first, got 1, 0",
  function() return zeros(2):clamp(1, 0) end)
refuses("exp: x: expected f32, got integers [2]", function() return ints { 1, 2 }:exp() end)
refuses("add: b: expected a shape that goes with [2, 3], got [2]",
  function() return zeros(2, 3):add(zeros(2)) end)
refuses("mul: b: expected f32, got integers [2]", function() return zeros(2):mul(ints { 1, 2 }) end)
refuses("sum: axis: expected -1 to 1, got 2", function() return zeros(2, 3):sum(2) end)
refuses("reshape: expected 6 elements as in [2, 3], got 8",
  function() return zeros(2, 3):reshape(2, 4) end)
refuses("reshape: axis 0: expected a length, got -2",
  function() return zeros(2, 3):reshape(-2, -3) end)
refuses("heads: head_dim: expected a divisor of the last axis of x [2, 6], got 4",
  function() return zeros(2, 6):heads(4) end)
refuses("heads: x: expected [rows, d], got [6]", function() return zeros(6):heads(3) end)
refuses("tape_rows: cols: expected a divisor of 6, the elements of x [2, 3], got 4", function()
  return zeros(2, 3):tape_rows("cells", 4)
end)
refuses("segment_sum: first: expected [3] integers, got [3]",
  function() return zeros(3):segment_sum(zeros(3)) end)
refuses("segment_sum: first: expected [1] integers, got [0]",
  function() return zeros(3):segment_sum(ints {}) end)
refuses("segment_sum: first: expected 0 to 3, got 0 to 2",
  function() return zeros(3):segment_sum(ints { 0, 2 }) end)
refuses("segment_sum: first: expected rising numbers, got 1 after 2",
  function() return zeros(3):segment_sum(ints { 0, 2, 1, 3 }) end)
refuses("segment_expand: first: expected [3] integers, got [2]",
  function() return zeros(2):segment_expand(ints { 0, 2 }) end)
refuses("linear: w: expected [n, 3], the last axis of x [2, 3], got [4, 5]",
  function() return zeros(2, 3):linear(zeros(4, 5)) end)
refuses("linear: bias: expected f32, got integers [4]",
  function() return zeros(2, 3):linear(zeros(4, 3), ints { 1, 2, 3, 4 }) end)
refuses("linear: bias: expected [4] as w [4, 3], got [3]",
  function() return zeros(2, 3):linear(zeros(4, 3), zeros(3)) end)
refuses("rmsnorm: w: expected [8], the last axis of x [3, 8], got [7]",
  function() return zeros(3, 8):rmsnorm(zeros(7), 1e-6) end)
refuses("rmsnorm: eps: expected a number above 0, got 0",
  function() return zeros(3, 8):rmsnorm(zeros(8), 0) end)
refuses("layernorm: b: expected [8]",
  function() return zeros(3, 8):layernorm(zeros(8), zeros(3), 1e-6) end)
refuses("swiglu: up: expected [2, 3] as x, got [3, 2]",
  function() return zeros(2, 3):swiglu(zeros(3, 2)) end)
refuses("embedding: w: expected a parameter [vocab, d], got [4, 2]",
  function() return ints { 1 }:embedding(zeros(4, 2)) end)
refuses("gather: index 1: expected below 4, got 4",
  function() return zeros(4, 2):gather(ints { 0, 4 }) end)
refuses("gather: index: expected [rows] integers, got [2]",
  function() return zeros(4, 2):gather(zeros(2)) end)
refuses("place: index 0: expected below 4, got 9",
  function() return zeros(4, 2):place(zeros(1, 2), ints { 9 }) end)
refuses("place: rows: expected one for each index [1], got [2, 2]",
  function() return zeros(4, 2):place(zeros(2, 2), ints { 1 }) end)
refuses("place: rows: expected rows as of x [4, 2], got [1, 3]",
  function() return zeros(4, 2):place(zeros(1, 3), ints { 1 }) end)
refuses("columns: expected a range within the last axis of x [2, 6], got 4 to 7",
  function() return zeros(2, 6):columns(4, 3) end)
refuses("columns: expected a range within the last axis of x [2, 6], got 2147483647 to 2147483648",
  function() return zeros(2, 6):columns(2 ^ 31 - 1, 1) end)
refuses("rope: x: expected [rows, heads, 4] with the rows of the table [3, 4], got [2, 1, 4]",
  function() return zeros(2, 1, 4):rope(zeros(3, 4)) end)
refuses("rope_table: axis: expected one of the 2 that positions have, got 2",
  function() return ints { { 1, 1 } }:rope_table(zeros(3), ints { 0, 1, 2 }) end)
refuses("rope_table: inv_freq: expected f32, got integers [3]",
  function() return ints { { 1, 1 } }:rope_table(ints { 1, 1, 1 }, ints { 0, 1, 1 }) end)
refuses("attention: expected q [rows, heads, d], k and v [rows, kv_heads, d], "
  .. "got [2, 2, 4], [2, 0, 4], [2, 0, 4]", function()
  return zeros(2, 2, 4):attention(zeros(2, 0, 4), zeros(2, 0, 4), zeros(1), 1)
end)
refuses("attention: expected q [rows, heads, d], k and v [rows, kv_heads, d], "
  .. "got [2, 3, 4], [2, 2, 4], [2, 2, 4]", function()
  return zeros(2, 3, 4):attention(zeros(2, 2, 4), zeros(2, 2, 4), zeros(1), 1)
end)
refuses("attention: table: expected a table of segments, got numbers", function()
  return zeros(2, 2, 4):attention(zeros(2, 2, 4), zeros(2, 2, 4), zeros(1), 1)
end)
refuses("logprob: w: expected a parameter [vocab, 3] as x [2, 3], got [4, 3]", function()
  return zeros(2, 3):logprob(zeros(4, 3), zeros(1))
end)
refuses("backward: loss: expected one element, got [2]",
  function() return zeros(2):require_grad():backward() end)
refuses("backward: loss: nothing in it needs a gradient", function() return zeros(1):backward() end)

T.test("what an operation refused passes on: the first message stands", function()
  local x = C.rl_unary(nil, "exp", 0, 0)
  if x ~= nil then error "expected NULL" end
end)

--- ---- equal bits ----

local best = ffi.string(C.rl_cpu(nil))

local function same_bits(got, want, where)
  for i, v in ipairs(want) do
    if got[i] ~= v and (v == v or got[i] == got[i]) then
      error(("%s: element %d: expected %.9g, got %.9g"):format(where, i, v, got[i]), 0)
    end
  end
end

--- body() -> a list of numbers: the same bits on each path of this machine, with 1, 2, 3 threads.
local function everywhere(body)
  local threads, want = C.rl_threads(0), nil
  local ok, message = pcall(function()
    for _, path in ipairs { "generic", "avx2", "avx512" } do
      for n = 1, C.rl_cpu(path) ~= nil and 3 or 0 do
        C.rl_threads(n)
        local got = body()
        want = want or got
        same_bits(got, want, ("%s, %d threads"):format(path, n))
      end
    end
  end)
  C.rl_cpu(best)
  C.rl_threads(threads)
  if not ok then error(message, 0) end
end

--- Outputs and gradients of f over inputs large enough for several threads.
local function bits(name, sizes, f, low, high)
  T.test(name .. ": the same bits on every path and any number of threads", function()
    everywhere(function()
      return tensor.scope(function()
        local x, all = {}, {}
        for k, shape in ipairs(sizes) do
          x[k] = tensor.tensor(T.numbers(shape, k, low, high)):reshape(unpack(shape)):require_grad()
        end
        local y = f(unpack(x))
        for _, v in ipairs(y:totable()) do all[#all + 1] = v end
        (y * y):sum():backward()
        for k in ipairs(x) do for _, v in ipairs(x[k]:grad():totable()) do all[#all + 1] = v end end
        return all
      end)
    end)
  end)
end

for name, options in require("rllava").sorted(unary) do
  local wide = options.low and options.low > 0
  bits("unary " .. name, { { 317, 71 } }, function(x) return x[name](x) end, wide and 1e-3 or -9, 9)
end
bits("unary clamp, affine, pow", { { 317, 71 } },
  function(x) return x:clamp(0.1, 3):affine(2, 1):pow(0.3) end, -9, 9)
for _, op in ipairs { "add", "sub", "mul", "div", "min", "max", "lt", "le", "eq" } do
  local function f(a, b) return a[op](a, b) end
  bits("binary " .. op, { { 317, 71 }, { 317, 71 } }, f)
  bits("binary " .. op .. ", broadcast over rows", { { 317, 71 }, { 71 } }, f)
  bits("binary " .. op .. ", broadcast over columns", { { 317, 1 }, { 317, 71 } }, f)
end
bits("sum", { { 40, 31, 29 } }, function(x) return x:sum(1) end)
bits("sum of everything", { { 40, 31, 29 } }, function(x) return x:sum() end)
bits("segments", { { 30000 } }, function(x)
  local at = ints { 0, 1, 700, 700, 29999, 30000 }
  return x:segment_sum(at):segment_expand(at)
end)
bits("linear", { { 61, 83 }, { 77, 83 }, { 77 } }, function(x, w, b) return x:linear(w, b) end)
bits("rmsnorm", { { 301, 77 }, { 77 } }, function(x, w) return x:rmsnorm(w, 1e-6) end)
bits("layernorm", { { 301, 77 }, { 77 }, { 77 } },
  function(x, w, b) return x:layernorm(w, b, 1e-6) end)
bits("swiglu", { { 317, 71 }, { 317, 71 } }, function(x, up) return x:swiglu(up) end, -9, 9)
local some = {}
for i = 1, 400 do some[i] = i * 37 % 211 - 1 end
bits("gather", { { 210, 71 } }, function(x) return x:gather(ints(some)) end)
bits("place and columns", { { 421, 71 }, { 210, 71 } }, function(x, rows)
  local at = {}
  for i = 1, 210 do at[i] = i % 7 == 0 and -1 or i * 2 - 2 end
  return x:place(rows, ints(at)):columns(5, 60)
end)
bits("rope", { { 90, 8, 32 }, { 90, 32 } }, function(x, cs) return x:rope(cs:detach()) end)

T.test("attention, embedding and the head: the same bits on every path and any threads", function()
  local trees = { { parent = -1, n = 70 }, { parent = 0, n = 90 }, { parent = 0, n = 33 },
    { parent = 2, n = 5, asked = { 1, 1, 1, 1, 1 } },
    { parent = -1, n = 20,
      asked = { 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } } }
  local sizes = { q = { 218, 48 }, k = { 218, 24 }, v = { 218, 24 }, w = { 218, 48 } }
  local c = Case.new({ "q", "k", "v", "w" }, sizes, trees, function(c, x)
    local y = x.q:heads(12):attention(x.k:heads(12), x.v:heads(12), c.segments, 0.5)
    local logp = (y + x.w):gather(c.answers):logprob(c.params.w, c.pairs)
    c.model:output("y", y)
    c.model:output("logp", logp)
    c.model:output("entropy", logp:entropy_of())
  end)
  local inputs = {}
  for k, name in ipairs(c.names) do inputs[k] = T.numbers(sizes[name], k, -2, 2) end
  everywhere(function()
    local all, gradients = c:run("y logp entropy", inputs, true)
    for _, g in ipairs(gradients) do for _, v in ipairs(g) do all[#all + 1] = v end end
    return all
  end)
end)

T.test("the rotary table: the same bits on every path, exact at large positions", function()
  local function turn()
    local c = Case.new({ "x" }, { x = { 40, 8 } }, { { parent = -1, n = 40 } }, function(c)
      local freqs, axis = tensor.tensor { 1, 0.1, 0.01, 3 }, ints { 0, 0, 0, 0 }
      c.model:output("y", c.positions:rope_table(c.model:constant(freqs), c.model:constant(axis)))
    end)
    return (c:run("y", { T.numbers({ 40, 8 }, 1) }, false))
  end
  everywhere(turn)
  local y = turn()
  for r = 0, 39 do
    local got = { y[r * 8 + 1], y[r * 8 + 5], y[r * 8 + 4] }
    T.near(got, { math.cos(r), math.sin(r), math.cos(3 * r) }, 1e-6)
  end
end)

T.test("parameters, their normal numbers and AdamW: the same bits on every path", function()
  everywhere(function()
    local w = ffi.gc(C.rl_param_new("w", 131, 257), C.rl_param_free)
    local n = 131 * 257
    C.rl_param_train(w, 1)
    C.rl_param_normal(w, 3, 0, 0.5)
    local params = ffi.new("rl_tensor *[1]", w)
    local o = ffi.gc(C.rl_adamw_new(params, 1, 0.9, 0.95, 1e-8, 32), C.rl_adamw_free)
    local all = {}
    for _ = 1, 3 do
      tensor.scope(function()
        tensor.tensor(T.numbers({ 5, 257 }, 7)):reshape(5, 257):linear(w):sqr():sum():backward()
      end)
      all[#all + 1] = C.rl_param_grad_squares(w)
      C.rl_adamw_step(o, 1e-2, ffi.new("double[1]", 0.1), 0.5)
    end
    local values = ffi.new("float[?]", n)
    C.rl_param_get(w, values)
    for i = 0, n - 1 do all[#all + 1] = values[i] end
    return all
  end)
end)

T.test("normal numbers have the mean and deviation that were asked for", function()
  local w, n, sum, squares = ffi.gc(C.rl_param_new("w", 400, 250), C.rl_param_free), 1e5, 0, 0
  C.rl_param_normal(w, 11, 2, 3)
  local values = ffi.new("float[?]", n)
  C.rl_param_get(w, values)
  for i = 0, n - 1 do sum = sum + values[i] end
  for i = 0, n - 1 do squares = squares + (values[i] - sum / n) ^ 2 end
  T.near({ sum / n, math.sqrt(squares / n) }, { 2, 3 }, 0.05)
end)
