--- Reward files as functions, for tests.
local rewards = {}

--- rewards.open(name, options) -> f(response, answer, row), or f(list) for a batch; its options are
--- filled in.
function rewards.open(name, options)
  local file = dofile("rewards/" .. name .. ".lua")
  if type(file) == "function" then return file end
  local all = {}
  for k, v in pairs(file.defaults or {}) do all[k] = v end
  for k, v in pairs(options or {}) do
    assert(file.defaults[k] ~= nil, "unknown option " .. k)
    all[k] = v
  end
  if file.batch then
    return function(list) return file.batch(list, all) end
  end
  return function(response, answer, row) return file.score(response, answer, row, all) end
end

return rewards
