--- The harness: a test is a claim in words and a function that raises when it is false.
local T = { passed = 0, failed = 0, skipped = 0, only = {} }

local function chosen(name)
  if #T.only == 0 then return true end
  for _, pattern in ipairs(T.only) do
    if name:find(pattern, 1, true) or T.file:find(pattern, 1, true) then return true end
  end
end

--- Runs body and counts the outcome.
function T.test(name, body)
  if not chosen(name) then return end
  local ok, message = xpcall(body, function(m) return debug.traceback(tostring(m), 2) end)
  if ok then
    T.passed = T.passed + 1
    if T.verbose then print("ok      " .. name) end
  elseif message:find("^skip:") then
    T.skipped = T.skipped + 1
    print(("skipped %s (%s)"):format(name, message:match "skip: ([^\n]*)"))
  else
    T.failed = T.failed + 1
    print(("not ok  %s: %s\n%s"):format(T.file, name, message))
  end
end

--- Leaves the running test out, saying why (a part that this machine lacks).
function T.skip(why) error("skip: " .. why, 0) end

local function is_tensor(v)
  return type(v) == "cdata" and pcall(function() return v.totable end)
end

local function flatten(v, out)
  if type(v) == "table" then
    if v.totable then v = v:totable() end
    for _, e in ipairs(v) do flatten(e, out) end
  elseif is_tensor(v) then flatten(v:totable(), out)
  else out[#out + 1] = v end
  return out
end

--- Numbers (nested lists or tensors) within tolerance of each other, element by element.
function T.near(got, want, tolerance)
  local g, w, t = flatten(got, {}), flatten(want, {}), tolerance or 0
  if #g ~= #w then error(("expected %d numbers, got %d"):format(#w, #g), 2) end
  for i = 1, #w do
    if not (math.abs(g[i] - w[i]) <= t) then
      error(("element %d: expected %.9g, got %.9g (tolerance %g)"):format(i, w[i], g[i], t), 2)
    end
  end
end

local function same(a, b, path)
  if type(a) ~= "table" or type(b) ~= "table" or getmetatable(a) ~= getmetatable(b) then
    if a ~= b then return ("%s: expected %s, got %s"):format(path, tostring(b), tostring(a)) end
    return
  end
  for k in pairs(b) do
    local why = same(a[k], b[k], path .. "." .. tostring(k))
    if why then return why end
  end
  for k in pairs(a) do
    if b[k] == nil then return ("%s.%s: not expected"):format(path, tostring(k)) end
  end
end

--- Equal values; tables element by element.
function T.equal(got, want)
  local why = same(got, want, "value")
  if why then error(why, 2) end
end

--- body must raise an error whose message holds text.
function T.raises(text, body)
  local ok, message = pcall(body)
  if ok then error(("expected an error with %q, got none"):format(text), 2) end
  if not tostring(message):find(text, 1, true) then
    error(("expected an error with %q, got %q"):format(text, tostring(message)), 2)
  end
end

--- Slopes by finite differences against gradients.  run(inputs, want) -> a flat list of outputs y
--- and, where want, the gradients of sum(y w) towards each input; w(i): weight of output i.
--- inputs: flat lists of numbers.
--- A central difference of fourth order, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, sums in
--- double; each gradient must be within tolerance of the largest one of its input.
function T.slopes(inputs, run, tolerance, h)
  h = h or 0.03
  local function f()
    local sum = 0
    for i, y in ipairs((run(inputs, false))) do sum = sum + y * T.weight(i) end
    return sum
  end
  local _, gradients = run(inputs, true)
  for k, list in ipairs(inputs) do
    local slopes, top = {}, 1e-3
    for i, x in ipairs(list) do
      local at = {}
      for _, step in ipairs { -2, -1, 1, 2 } do
        list[i] = x + step * h
        at[step] = f()
      end
      list[i] = x
      slopes[i] = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)
      top = math.max(top, math.abs(slopes[i]))
    end
    for i, s in ipairs(slopes) do
      local g = gradients[k][i]
      if not (math.abs(g - s) <= (tolerance or 2e-3) * top) then
        error(("input %d, element %d: slope %.6g, gradient %.6g"):format(k, i, s, g), 2)
      end
    end
  end
end

--- Weights between -1 and 1 that differ from output to output.
function T.weight(i) return math.sin(12.9898 * i + 1) end

--- Numbers of a shape between low and high (-1 and 1), the same in every run.
function T.numbers(shape, seed, low, high)
  local n, out, state = 1, {}, seed * 7919 + 17
  for _, d in ipairs(shape) do n = n * d end
  for i = 1, n do
    state = state * 16807 % 2147483647
    out[i] = (low or -1) + state / 2147483647 * ((high or 1) - (low or -1))
  end
  return out
end

-- Names of operations whose gradient a test has compared.
T.proved = {}

--- A test: the gradients of f(tensors) towards inputs of these shapes.  name: of the operation,
--- words may follow.
--- options: low, high (of the numbers), tolerance, h.
function T.gradient(name, shapes, f, options)
  options = options or {}
  T.proved[name:match "^[%w_]+"] = true
  T.test("gradient of " .. name, function()
    local tensor, inputs = require "rllava.tensor", {}
    for k, shape in ipairs(shapes) do inputs[k] = T.numbers(shape, k, options.low, options.high) end
    T.slopes(inputs, function(lists, want)
      local outputs, gradients = nil, {}
      tensor.scope(function()
        local x, weights = {}, {}
        for k, list in ipairs(lists) do
          x[k] = tensor.tensor(list):reshape(unpack(shapes[k]))
          if want then x[k]:require_grad() end
        end
        local y = f(unpack(x))
        outputs = y:totable()
        if not want then return end
        for i = 1, #outputs do weights[i] = T.weight(i) end
        (y:reshape(#outputs) * tensor.tensor(weights)):sum():backward()
        for k in ipairs(x) do gradients[k] = x[k]:grad():totable() end
      end)
      return outputs, gradients
    end, options.tolerance, options.h)
  end)
end

--- The folder of the golden values: RLLAVA_GOLDENS, or tests/golden.
T.goldens = os.getenv "RLLAVA_GOLDENS" or "tests/golden"

--- One golden file: body() gives the largest error as a share of its tolerance (or raises).
function T.golden(path, body)
  T.test("goldens " .. path, function()
    local ok, worst = pcall(body)
    if not ok and tostring(worst):find "^skip:" then error(worst, 0) end
    if not ok then
      print(("not ok %s: %s"):format(path, tostring(worst)))
      error(worst, 0)
    end
    print(("%s %s  error/tolerance %.3g"):format(worst <= 1 and "ok" or "not ok", path, worst))
    if worst > 1 then error("beyond its tolerance", 0) end
  end)
end

--- The whole content of a file.
function T.read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

--- The names in a folder, sorted; an empty list if there is no such folder.
function T.list(path)
  local names, p = {}, io.popen("ls -1 '" .. path .. "' 2>/dev/null")
  for name in p:lines() do names[#names + 1] = name end
  p:close()
  return names
end

return T
