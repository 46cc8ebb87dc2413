--- rllava: what `local rl = require "rllava"` gives.  Modules are loaded when first touched.
local tensor = require "rllava.tensor"

local rl = {
  tensor = tensor.tensor, ints = tensor.ints, zeros = tensor.zeros, scope = tensor.scope,
}

--- Keys in an order that is the same in every process: for k, v in rl.sorted(t).
function rl.sorted(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  local i = 0
  return function()
    i = i + 1
    return keys[i], t[keys[i]]
  end
end

return setmetatable(rl, { __index = function(t, name)
  local ok, module = pcall(require, "rllava." .. name)
  if ok then rawset(t, name, module) return module end
  local absent = module:find("no embedded file 'lua/rllava/" .. name .. ".lua'", 1, true)
  if not absent then error(module, 2) end
end })
