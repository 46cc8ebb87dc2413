--- Base64 (RFC 4648) to bytes; data: URIs; the marks by which picture files begin.
local bit = require "bit"
local ffi = require "ffi"

local base64 = {}

local value = ffi.new("uint8_t[256]")
ffi.fill(value, 256, 255)
local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
for i = 1, 64 do value[letters:byte(i)] = i - 1 end
value[("-"):byte()], value[("_"):byte()] = 62, 63                  -- the URL alphabet

--- text -> bytes; nil where it is no base64.  White space is skipped, padding may be absent.
function base64.decode(text)
  text = text:gsub("%s", ""):gsub("=+$", "")
  local n = #text
  if n % 4 == 1 then return nil end
  local from, out, k = ffi.cast("const uint8_t *", text), ffi.new("uint8_t[?]", n + 4), 0
  local bits, held = 0, 0
  for i = 0, n - 1 do
    local v = value[from[i]]
    if v == 255 then return nil end
    bits, held = bit.bor(bit.lshift(bits, 6), v), held + 6
    if held >= 8 then
      held = held - 8
      out[k], k = bit.band(bit.rshift(bits, held), 255), k + 1
    end
  end
  return ffi.string(out, k)
end

--- "data:image/png;base64,..." -> bytes; nil where it is no such URI.
function base64.data_uri(text)
  local head = text:match "^data:[^,]*;base64,"
  return head and base64.decode(text:sub(#head + 1)) or nil
end

--- Do these bytes begin as a picture file does?  PNG, JPEG, GIF, BMP, WebP, TIFF.
function base64.is_picture(bytes)
  return bytes:find "^\137PNG\r\n" or bytes:find "^\255\216\255" or bytes:find "^GIF8"
    or bytes:find "^BM....%z%z%z%z" or bytes:find "^RIFF....WEBP" or bytes:find "^II%*%z"
    or bytes:find "^MM%z%*"
end

return base64
