--- The laws of the house: arrows between rooms point down, files stay small.
local T = require "check"

local function each(folder, pattern, visit)
  local p = io.popen("find " .. folder .. " -type f 2>/dev/null | sort")
  for path in p:lines() do if path:find(pattern) then visit(path, T.read(path)) end end
  p:close()
end

local function exists(path)
  local f = io.open(path)
  if f then f:close() end
  return f ~= nil
end

T.test("kernels know plain arrays only: they include nothing of another room", function()
  each("kernels", "%.[ch]$", function(path, text)
    for file in text:gmatch '#include "([^"]+)"' do
      if not exists("kernels/" .. file) then error(path .. ": includes " .. file) end
    end
  end)
end)

T.test("the runtime knows kernels, not Lua", function()
  each("runtime", "%.[ch]$", function(path, text)
    for file in text:gmatch '#include "([^"]+)"' do
      if not exists("runtime/" .. file) and file ~= "kernels.h" then
        error(path .. ": includes " .. file)
      end
    end
    if text:find "#include <lua" or text:find "#include <lauxlib" then
      error(path .. ": includes Lua")
    end
  end)
end)

T.test("recipes, data makers and rewards do not call C", function()
  for _, folder in ipairs { "recipes", "rewards" } do
    each(folder, "%.lua$", function(path, text)
      if text:find 'require "ffi"' or text:find 'rllava%.ffi' then error(path .. ": uses ffi") end
    end)
  end
end)

T.test("rewards are pure: no files, clocks, processes or state", function()
  each("rewards", "%.lua$", function(path, text)
    for _, word in ipairs { "io%.", "os%.", "math%.random", "_G", "debug%." } do
      local at = text:find("[^%w_.]" .. word)
      if at then error(path .. ": uses " .. text:sub(at + 1, at + 12)) end
    end
  end)
end)

T.test("Lua of the house requires only modules that exist", function()
  each("lua/rllava", "%.lua$", function(path, text)
    for name in text:gmatch 'require%s*%(?"(rllava[%w_.]*)"' do
      local file = "lua/" .. (name == "rllava" and "rllava/init" or name:gsub("%.", "/")) .. ".lua"
      local built_in = name == "rllava.embedded" or name == "rllava.console" or name:sub(-1) == "."
      if not built_in and not exists(file) then
        error(path .. ": requires " .. name .. ", which is absent")
      end
    end
  end)
end)

-- Lines of a file: C 400, Lua 300; the public header and the lists of keys and kernels are long by
-- nature.
local long = { ["runtime/rllava.h"] = true, ["kernels/kernels.def"] = true }
T.test("files and lines stay short", function()
  for folder, limit in pairs { kernels = 400, runtime = 400, lua = 320, recipes = 320, rewards = 320 } do
    each(folder, "%.[chl][u]?[a]?$", function(path, text)
      local lines = 0
      for line in text:gmatch "([^\n]*)\n" do
        lines = lines + 1
        if #line > 125 then error(("%s:%d: %d columns"):format(path, lines, #line)) end
      end
      if lines > limit and not long[path] then error(("%s: %d lines"):format(path, lines)) end
    end)
  end
end)
