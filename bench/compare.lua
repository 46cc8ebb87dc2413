--- rllava bench/compare.lua A.json B.json: results of bench/bench.lua side by side, B as a share of
--- A.  A star marks lines whose runs do not overlap.
local files, json = require "rllava.files", require "rllava.json"

local first, second = ...
if not second then error("compare: expected two files of bench/bench.lua --json", 0) end
local function read(path) return json.decode(files.read(path), path) end
local a, b = read(first), read(second)
local by = {}
for _, l in ipairs(b.lines) do by[l.name] = l end

for _, key in ipairs { "cpu", "threads", "quick", "work" } do
  if a[key] ~= b[key] then print(("%s: %s, %s"):format(key, tostring(a[key]), tostring(b[key]))) end
end
print(("%-46s %-9s %11s %11s %8s"):format("", "", "A", "B", "B / A"))
for _, l in ipairs(a.lines) do
  local o = by[l.name]
  by[l.name] = nil
  if o then
    local apart = o.low > l.high or o.high < l.low
    print(("%-46s %-9s %11.4g %11.4g %8.3f%s"):format(l.name, l.unit, l.value, o.value,
      o.value / l.value, apart and " *" or ""))
  else
    print(("%-46s %-9s %11.4g %11s"):format(l.name, l.unit, l.value, "absent"))
  end
end
for _, l in ipairs(b.lines) do
  if by[l.name] then print(("%-46s %-9s %11s %11.4g"):format(l.name, l.unit, "absent", l.value)) end
end
