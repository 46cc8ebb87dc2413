--- How far a transfer is: one line on a terminal, renewed twice a second; else a line for each
--- large file.
local env = require "rllava.hub.env"
local rl = require "rllava.ffi"

local progress = {}

local LARGE = 16e6                                 -- bytes

local function amount(bytes)
  if bytes >= 1e9 then return ("%.2f GB"):format(bytes / 1e9) end
  if bytes >= 1e6 then return ("%.1f MB"):format(bytes / 1e6) end
  return ("%.0f kB"):format(bytes / 1e3)
end

--- "name  1.20 of 4.90 GB, 35.1 MB/s, 1:45 left"
local function line(what, bytes, size, speed)
  local text = what .. "  " .. amount(bytes)
  if size then text = text .. " of " .. amount(size) end
  if speed <= 0 then return text end
  text = text .. ", " .. amount(speed) .. "/s"
  if not size then return text end
  local left = math.ceil(math.max(0, size - bytes) / speed)
  return text .. (", %d:%02d left"):format(left / 60, left % 60)
end

--- what: the file; from: bytes that are there; size: of the whole, or nil -> show(bytes, size),
--- finish().
function progress.start(what, from, size)
  local columns = rl.C.rl_terminal_columns(2)
  local begun, last = rl.C.rl_clock(), 0
  if env.quiet() then return function() end, function() end end
  if columns <= 0 then
    if (size or 0) >= LARGE then
      io.stderr:write(("rllava: fetching %s (%s)\n"):format(what, amount(size)))
    end
    return function() end, function() end
  end
  return function(bytes)
    local now = rl.C.rl_clock()
    if now - last < 0.5 or now - begun < 0.5 then return end
    last = now
    local text = line(what, bytes, size, (bytes - from) / (now - begun))
    io.stderr:write("\r", text:sub(math.max(1, #text - columns + 2)), "\27[K")
  end, function()
    if last > 0 then io.stderr:write "\r\27[K" end
  end
end

return progress
