--- TensorBoard's event files: records with a masked CRC-32C around hand-made protocol buffers.
local ffi = require "ffi"
local bit = require "bit"
local rl = require "rllava.ffi"
local C = rl.C

local events = {}
local Events = {}
Events.__index = Events

local function varint(n)
  local out = {}
  while n > 127 do
    out[#out + 1] = string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  return table.concat(out) .. string.char(n)
end

-- Fields by number: integers, fixed 8 and 4 bytes, and text or messages.
local function int_field(number, n) return varint(number * 8) .. varint(n) end
local function bytes_field(number, s) return varint(number * 8 + 2) .. varint(#s) .. s end
local function double_field(number, x)
  return varint(number * 8 + 1) .. ffi.string(ffi.new("double[1]", x), 8)
end
local function float_field(number, x)
  return varint(number * 8 + 5) .. ffi.string(ffi.new("float[1]", x), 4)
end

local function u32(n) return ffi.string(ffi.new("uint32_t[1]", n), 4) end

--- ((crc >> 15 | crc << 17) + 0xa282ead8) mod 2^32, as bytes.
local function masked_crc(s)
  local crc = bit.tobit(C.rl_crc32c(s, #s))
  return u32((bit.ror(crc, 15) % 2 ^ 32 + 0xa282ead8) % 2 ^ 32)
end

function Events:record(message)
  local length = u32(#message) .. "\0\0\0\0"
  local ok, why = self.file:write(length, masked_crc(length), message, masked_crc(message))
  if not ok then error(why, 0) end
end

--- Event: wall_time 1, step 2, file_version 3, summary 5, session_log 7.
function Events:event(step, fields)
  self:record(double_field(1, C.rl_time()) .. int_field(2, step) .. fields)
end

--- folder -> a new file there.
function events.open(folder)
  local path = ("%s/events.out.tfevents.%010d.%d.rllava"):format(folder, C.rl_time(),
    math.floor(C.rl_clock() * 1e3) % 1e6)
  local file, why = io.open(path, "wb")
  if not file then error(why, 0) end
  local self = setmetatable({ file = file, path = path }, Events)
  self:record(double_field(1, C.rl_time()) .. bytes_field(3, "brain.Event:2"))
  return self
end

--- A number of a step.
function Events:scalar(tag, value, step)
  self:event(step, bytes_field(5, bytes_field(1, bytes_field(1, tag) .. float_field(2, value))))
end

--- A text of a step (Markdown): a string tensor (dtype 7) with the text plugin's name beside it.
function Events:text(tag, text, step)
  local tensor = int_field(1, 7) .. bytes_field(8, text)
  local plugin = bytes_field(1, bytes_field(1, "text"))
  self:event(step, bytes_field(5, bytes_field(1,
    bytes_field(1, tag) .. bytes_field(9, plugin) .. bytes_field(8, tensor))))
end

--- A run goes on: what earlier files hold from this step on no longer counts.
function Events:restart(step) self:event(step, bytes_field(7, int_field(1, 1))) end

function Events:flush()
  local ok, why = self.file:flush()
  if not ok then error(why, 0) end
end

function Events:close() self.file:close() end

return events
