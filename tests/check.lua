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

local function flatten(v, out)
  if type(v) == "table" then
    if v.totable then v = v:totable() end
    for _, e in ipairs(v) do flatten(e, out) end
  elseif type(v) == "cdata" and pcall(function() return v.totable end) then flatten(v:totable(), out)
  else out[#out + 1] = v end
  return out
end

--- Numbers (nested lists or tensors) within tolerance of each other, element by element.
function T.near(got, want, tolerance)
  local g, w = flatten(got, {}), flatten(want, {})
  if #g ~= #w then error(("expected %d numbers, got %d"):format(#w, #g), 2) end
  for i = 1, #w do
    if not (math.abs(g[i] - w[i]) <= (tolerance or 0)) then
      error(("element %d: expected %.9g, got %.9g (tolerance %g)"):format(i, w[i], g[i], tolerance or 0), 2)
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

--- The folder of the golden values: RLLAVA_GOLDENS, or tests/golden.
T.goldens = os.getenv "RLLAVA_GOLDENS" or "tests/golden"

--- One golden file: body() gives the largest error as a share of its tolerance (or raises).
function T.golden(path, body)
  T.test("goldens " .. path, function()
    local ok, worst = pcall(body)
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
