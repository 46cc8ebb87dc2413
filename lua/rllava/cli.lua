--- The command line: rllava [FILE.lua [args] | -e CODE | COMMAND ...].
local cli = {}

local usage = [[
usage: rllava RECIPE.lua [key=value ...]   train
       rllava --print-config RECIPE.lua [key=value ...]   every key, its value and who set it
       rllava keys [WORD]                  all keys with their defaults
       rllava try-reward RECIPE.lua [--n N] [key=value ...]   responses and what the reward says
       rllava show RUN STEP [N] [val]         responses that a run has kept
       rllava FILE.lua [args]              run a Lua file
       rllava -e CODE                      run a line of Lua]]

--- Runs a Lua file; where it returns a recipe, trains with it.
local function run_file(path, args)
  local recipe = require "rllava.recipe"
  local found = recipe.program(path)(unpack(args))
  if not recipe.is(found) then return found end
  return require("rllava.train").run(recipe.resolve(found, path, args))
end

--- arg as Lua's own -> exit status.
function cli.main(arg)
  local first = arg[1]
  if first == nil or first == "-h" or first == "--help" then
    print(usage)
    return 0
  end
  if first == "-e" then
    local chunk, message = loadstring(arg[2] or "", "=command line")
    if not chunk then error(message, 0) end
    chunk()
    return 0
  end
  local rest = {}
  for i = 2, #arg do rest[#rest + 1] = arg[i] end
  local command = require("rllava.commands")[first]
  if command then return command(unpack(rest)) end
  local status = run_file(first, rest)
  return type(status) == "number" and status or 0
end

return cli
