--- The binding: rllava.h goes to ffi.cdef as it is; C refusals become Lua errors.
local ffi = require "ffi"
local embedded = require "rllava.embedded"

local M = { C = ffi.C, header = embedded.read "runtime/rllava.h" }

ffi.cdef((("\n" .. M.header):gsub("\n#[^\n]*", "")))

--- The level of the first line outside lua/rllava: where the user stands;
--- 0 (no place) if there is none.
local function users_level()
  for level = 3, 60 do                        -- counted here; error() counts from its caller
    local info = debug.getinfo(level, "S")
    if not info then return 0 end
    if info.what ~= "C" and not info.source:find("^@lua/rllava/") then return level - 1 end
  end
  return 0
end

--- Raises message at the user's line.
function M.raise(message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  error(message, users_level())
end

--- Gives x back, or raises the runtime's message where x says that a call was refused
--- (NULL or -1).
function M.check(x)
  if x == nil or x == -1 then M.raise(ffi.string(ffi.C.rl_error())) end
  return x
end

return M
