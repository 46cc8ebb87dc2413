--- A plain reader of safetensors for tests: name -> { shape, dtype, data = cdata pointer, n }.
local ffi = require "ffi"
local json = require "rllava.json"

return function(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  local bytes = ffi.cast("const uint8_t *", text)
  local n = tonumber(ffi.cast("const uint64_t *", bytes)[0])
  local header, out = json.decode(text:sub(9, 8 + n), path), { text = text }
  local kinds = { F32 = "const float *", I32 = "const int32_t *", I64 = "const int64_t *",
    U8 = "const uint8_t *", BF16 = "const uint16_t *", F16 = "const uint16_t *" }
  for name, t in pairs(header) do
    if name ~= "__metadata__" then
      local count = 1
      for _, d in ipairs(t.shape) do count = count * d end
      out[name] = { shape = t.shape, dtype = t.dtype, n = count,
        data = ffi.cast(kinds[t.dtype], bytes + 8 + n + t.data_offsets[1]) }
    end
  end
  return out
end
