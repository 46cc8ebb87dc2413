--- The command line: rllava [FILE.lua [args] | -e CODE | COMMAND ...]; alone: the console.
local cli = { version = "0.1.0" }

local usage = [[
usage: rllava                          the console: Lua, line by line, with help
       rllava FILE.lua [args]          run a Lua file
       rllava RECIPE.lua [key=value]   train
       rllava -e CODE                  run a line of Lua
       rllava --version]]

--- Every command with what it does: the comments above the functions of commands.lua.
local function help()
  local lines = { usage, "commands:" }
  local text = require("rllava.embedded").read "lua/rllava/commands.lua"
  for comment in text:gmatch "\n%-%-%- (rllava .-)\n%l" do
    lines[#lines + 1] = "  " .. comment:gsub("\n%-%-%-", ""):gsub("^(rllava [^:]*): ", "%1\n      ")
  end
  return table.concat(lines, "\n")
end

--- Runs a Lua file; where it returns a recipe, trains with it.
local function run_file(path, args)
  local recipe = require "rllava.recipe"
  local found = recipe.program(path)(unpack(args))
  if not recipe.is(found) then return found end
  return require("rllava.train").run(recipe.resolve(found, path, args))
end

local function run_line(code)
  if not code then error("-e: expected a line of Lua, found nothing", 0) end
  local chunk, message = loadstring(code, "=command line")
  if not chunk then error(message, 0) end
  chunk()
end

local flags = {
  ["-h"] = function() print(help()) end,
  ["--help"] = function() print(help()) end,
  ["--version"] = function() print("rllava " .. cli.version) end,
  ["-e"] = run_line,
}

--- Refuses what is neither a file nor a command, with the nearest command.
local function check_file(name)
  if require("rllava.files").kind(name) or require("rllava.embedded").read(name) then return end
  local names = {}
  for command in require("rllava").sorted(require "rllava.commands") do
    names[#names + 1] = command
  end
  local nearest = require "rllava.nearest"(name, names)
  error(name .. ": expected a file or a command, found neither; the nearest command is '" .. nearest
    .. "'", 0)
end

--- arg as Lua's own -> exit status.
function cli.main(arg)
  local first, rest = arg[1], {}
  for i = 2, #arg do rest[#rest + 1] = arg[i] end
  if first == nil then return require("rllava.repl").run() end
  if flags[first] then return flags[first](unpack(rest)) or 0 end
  if not first:find "%.lua$" then
    local command = require("rllava.commands")[first]
    if command then return command(unpack(rest)) end
    check_file(first)
  end
  local status = run_file(first, rest)
  return type(status) == "number" and status or 0
end

return cli
