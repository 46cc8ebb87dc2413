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

-- Lines of a file; the public header and the lists of kernels and keys are long by nature.
local most = { kernels = 400, runtime = 400, lua = 320, recipes = 320, rewards = 320 }
local long = { ["runtime/rllava.h"] = true, ["kernels/kernels.def"] = true,
  ["lua/rllava/key_list.lua"] = true }
T.test("files stay short", function()
  for folder, limit in pairs(most) do
    each(folder, "%.[chl][u]?[a]?$", function(path, text)
      local _, lines = text:gsub("\n", "")
      if lines > limit and not long[path] then error(("%s: %d lines"):format(path, lines)) end
    end)
  end
end)

-- Written before lines ended at column 100: a name goes when its file does too.
local wide = [[
  recipes/data/tiny_vl.lua
  kernels/attention.c kernels/attention.h kernels/attention_grad.c kernels/logprob.c
  kernels/matmul.c kernels/panel.c kernels/panel.h kernels/product.c kernels/product.h
  kernels/tile.h lua/rllava/rollout.lua runtime/draw.c runtime/draw_smooth.c runtime/engine.c
  runtime/engine.h runtime/engine_step.c runtime/engine_stop.c runtime/kvcache.c runtime/plan.c
  runtime/replay.c runtime/replay.h tests/test_rollout.lua
]]
local function check_columns(path, text)
  local number = 0
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    local _, columns = line:gsub("[^\128-\191]", "")
    if columns > 100 then error(("%s:%d: %d columns"):format(path, number, columns)) end
  end
end

T.test("lines end at column 100", function()
  local skipped = { ["runtime/unicode.def"] = true }            -- generated
  for path in wide:gmatch "%S+" do skipped[path] = true end
  for _, folder in ipairs { "kernels", "runtime", "lua", "recipes", "rewards", "tests", "bench" } do
    each(folder, "%.[chlds][uhe]?[af]?$", function(path, text)
      if not skipped[path] then check_columns(path, text) end
    end)
  end
  for _, path in ipairs { "rllava", "CMakeLists.txt" } do check_columns(path, T.read(path)) end
end)

T.test("no function has more than 60 lines", function()
  for _, folder in ipairs { "kernels", "runtime", "lua", "recipes", "rewards" } do
    each(folder, "%.[cl][u]?[a]?$", function(path, text)
      local number, from = 0, nil
      for line in text:gmatch "([^\n]*)\n" do
        number = number + 1
        if line:find "^local function " or line:find "^function " then from = number
        elseif path:find "%.c$" and line:find "^[%a_].*%(" and not line:find ";$" then
          from = number
        elseif from and (line:find "^end" or line:find "^}") then
          if number - from >= 60 then
            error(("%s:%d: a function of %d lines"):format(path, from, number - from + 1))
          end
          from = nil
        end
      end
    end)
  end
end)
