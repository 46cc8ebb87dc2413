--- Tensors in Lua: made from nested lists, methods by name from rllava.h, operators, printing.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local C, check = rl.C, rl.check

local methods = {}
local M = { methods = methods }

local function own(x) return ffi.gc(check(x), C.rl_tensor_release) end
M.own = own

-- Every `rl_tensor *rl_NAME(rl_tensor *...)` of the header is the method NAME.
for name in rl.header:gmatch "\nrl_tensor %*rl_([%w_]+)%(rl_tensor %*" do
  local f = C["rl_" .. name]
  methods[name] = function(...) return own(f(...)) end
end

--- ---- making ----

local function flatten(list, out, depth, shape)
  if type(list) ~= "table" then
    out[#out + 1] = list
    shape.numbers = shape.numbers or depth - 1
    if shape.numbers == depth - 1 and not shape[depth] then return end
    rl.raise("tensor: expected numbers on %d axes as before, got one on %d",
      math.max(#shape, shape.numbers), depth - 1)
  end
  if shape[depth] and shape[depth] ~= #list then
    rl.raise("tensor: axis %d: expected %d elements as before, got %d", depth - 1, shape[depth],
      #list)
  end
  shape[depth] = #list
  for _, v in ipairs(list) do flatten(v, out, depth + 1, shape) end
end

local function new(dtype, shape)
  return own(C.rl_tensor_new(dtype, #shape, ffi.new("int[?]", math.max(1, #shape), shape)))
end

local function fill(dtype, kind, list)
  local out, shape = {}, {}
  flatten(list, out, 1, shape)
  local x = new(dtype, shape)
  local data = ffi.cast(kind, C.rl_data(x))
  for i, v in ipairs(out) do data[i - 1] = v end
  return x
end

--- A tensor of f32 numbers from a nested list (or one number), of integers; zeros of a shape.
function M.tensor(list) return fill(C.RL_FLOAT, "float *", list) end
function M.ints(list) return fill(C.RL_INT, "int *", list) end
function M.zeros(...) return new(C.RL_FLOAT, { ... }) end

--- Numbers copied from a C array of floats (or ints where dtype is RL_INT); shape: lengths.
function M.from(data, shape, dtype)
  local x = new(dtype or C.RL_FLOAT, shape)
  ffi.copy(check(C.rl_data(x)), data, 4 * x:numel())
  return x
end

--- ---- reading ----

function methods:shape()
  local shape = {}
  for i = 1, C.rl_ndim(self) do shape[i] = C.rl_dim(self, i - 1) end
  return shape
end

function methods:numel()
  local n = 1
  for i = 1, C.rl_ndim(self) do n = n * C.rl_dim(self, i - 1) end
  return n
end

--- The numbers as a C array: float * or int *.
function methods:data()
  return ffi.cast(C.rl_dtype_of(self) == C.RL_INT and "int *" or "float *", check(C.rl_data(self)))
end

--- All numbers in one flat list.
function methods:totable()
  local data, t = self:data(), {}
  for i = 1, self:numel() do t[i] = data[i - 1] end
  return t
end

--- The number of a tensor with one element.
function methods:item()
  if self:numel() ~= 1 then
    rl.raise("item: expected one element, got %s", ffi.string(C.rl_shape_text(self)))
  end
  return self:data()[0]
end

function methods:needs_grad() return C.rl_needs_grad(self) == 1 end
function methods:require_grad() check(C.rl_require_grad(self)) return self end
function methods:grad() return own(C.rl_grad_of(self)) end
function methods:backward() check(C.rl_backward(self)) end

--- ---- arithmetic ----

for _, op in ipairs { "neg", "exp", "log", "sqrt", "abs", "sqr", "silu", "sigmoid", "tanh", "gelu",
  "gelu_tanh", "gelu_quick" } do
  methods[op] = function(x) return own(C.rl_unary(x, op, 0, 0)) end
end
function methods:clamp(low, high) return own(C.rl_unary(self, "clamp", low, high)) end
function methods:affine(a, b) return own(C.rl_unary(self, "affine", a, b)) end
function methods:pow(p) return own(C.rl_unary(self, "pow", p, 0)) end

local function lift(v) return type(v) == "number" and M.tensor(v) or v end
for _, op in ipairs { "add", "sub", "mul", "div", "min", "max", "lt", "le", "eq" } do
  methods[op] = function(a, b) return own(C.rl_binary(lift(a), lift(b), op)) end
end

--- y = sum of x over axis (from 0), or of everything; the mean likewise.
function methods:sum(axis) return own(C.rl_sum(self, axis or -1)) end
function methods:mean(axis)
  return self:sum(axis):affine(1 / (axis and C.rl_dim(self, axis) or self:numel()), 0)
end
function methods:linear(w, bias) return own(C.rl_linear(self, w, bias)) end
function methods:reshape(...)
  local n = select("#", ...)
  return own(C.rl_reshape(self, n, ffi.new("int[?]", math.max(1, n), { ... })))
end
--- Keeps x when the scope around it closes.
function methods:keep() C.rl_scope_keep(self) return self end

local function line(data, from, n, kind)
  local shown = {}
  for i = 0, math.min(n, 8) - 1 do shown[#shown + 1] = kind:format(data[from + i]) end
  return "[" .. table.concat(shown, ", ") .. (n > 8 and ", ..." or "") .. "]"
end

local function describe(x)
  local text = "tensor " .. ffi.string(C.rl_shape_text(x))
  if C.rl_data(x) == nil then return text .. " (no numbers)" end
  local data, shape = x:data(), x:shape()
  local kind = C.rl_dtype_of(x) == C.RL_INT and "%d" or "%.4g"
  if #shape == 0 then return (kind):format(data[0]) end
  local cols, rows = shape[#shape], x:numel() / math.max(1, shape[#shape])
  local lines = { text }
  for r = 0, math.min(rows, 6) - 1 do
    lines[#lines + 1] = "  " .. line(data, r * cols, cols, kind)
  end
  if rows > 6 then lines[#lines + 1] = ("  ... %d rows"):format(rows) end
  return table.concat(lines, "\n")
end

local operators = {
  __add = function(a, b)
    if type(b) == "number" then return a:affine(1, b) end
    if type(a) == "number" then return b:affine(1, a) end
    return a:add(b)
  end,
  __sub = function(a, b)
    if type(b) == "number" then return a:affine(1, -b) end
    if type(a) == "number" then return b:affine(-1, a) end
    return a:sub(b)
  end,
  __mul = function(a, b)
    if type(b) == "number" then return a:affine(b, 0) end
    if type(a) == "number" then return b:affine(a, 0) end
    return a:mul(b)
  end,
  __div = function(a, b) return type(b) == "number" and a:affine(1 / b, 0) or methods.div(a, b) end,
  __unm = function(a) return methods.neg(a) end,
  __pow = function(a, b) return methods.pow(a, b) end,
}
-- LuaJIT 2.1 records calls of these with stale slots and compiles wrong code: traces end before.
for _, f in pairs(operators) do jit.off(f) end
operators.__index, operators.__tostring = methods, describe
ffi.metatype("rl_tensor", operators)

--- Runs body; tensors made in it die when it ends, but for those that it returns.
function M.scope(body)
  C.rl_scope_open()
  local function close(ok, ...)
    if ok then
      for i = 1, select("#", ...) do
        local v = select(i, ...)
        if ffi.istype("rl_tensor", v) then C.rl_scope_keep(v) end
      end
    end
    C.rl_scope_close()
    if not ok then error((...), 0) end
    return ...
  end
  return close(pcall(body))
end

return M
