--- Seconds by the parts of a step, under verl's names timing_s/...
local C = require("rllava.ffi").C

local stopwatch = {}
local Stopwatch = {}
Stopwatch.__index = Stopwatch

function stopwatch.new() return setmetatable({ laps = {}, began = 0, last = 0 }, Stopwatch) end

--- Forgets what was measured and starts anew.
function Stopwatch:start()
  self.laps, self.began = {}, C.rl_clock()
  self.last = self.began
end

--- What went by since the last lap belongs to name.
function Stopwatch:lap(name)
  local now = C.rl_clock()
  self.laps[name] = (self.laps[name] or 0) + now - self.last
  self.last = now
end

--- Seconds since start.
function Stopwatch:total() return self.last - self.began end

return stopwatch
