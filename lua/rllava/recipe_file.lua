--- recipe_file "data/geoqa.lua": runs a Lua file beside the recipes once -> what it returns.
local embedded = require "rllava.embedded"
local loaded = {}

return function(name)
  if loaded[name] == nil then
    local path = "recipes/" .. name
    local text = embedded.read(path)
    if not text then error(path .. ": expected a file of the house, found none", 2) end
    loaded[name] = assert(loadstring(text, "@" .. path))()
  end
  return loaded[name]
end
