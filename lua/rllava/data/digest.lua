--- A content hash of a row: 16 hex digits of all its columns, in their order.
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"

local function write(value, out)
  local kind = type(value)
  if kind == "string" and #value > 64 then out[#out + 1] = "s" .. files.hash_text(value)
  elseif kind ~= "table" or value == json.null or json.is_number(value) then
    local plain = kind == "string" or kind == "boolean" or kind == "table"
    out[#out + 1] = kind == "number" and ("%.17g"):format(value)
      or kind:sub(1, 1) .. (plain and tostring(value) or "")            -- never an address
  elseif json.is_array(value) then
    out[#out + 1] = "[" .. #value
    for _, v in ipairs(value) do write(v, out) end
  else
    if type(value.rgb) == "cdata" then
      write(ffi.string(value.rgb, value.width * value.height * 3), out)
    end
    for _, k in ipairs(json.keys(value)) do
      out[#out + 1] = "." .. tostring(k)
      write(value[k], out)
    end
    out[#out + 1] = "}"
  end
end

return function(value)
  local out = {}
  write(value, out)
  return files.hash_text(table.concat(out, "\0"))
end
