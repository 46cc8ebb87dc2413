--- Writes GGUF files for tests: keys { name, type, value },
--- tensors { name, dims (fastest first), format, bytes }.
local ffi = require "ffi"
local files = require "rllava.files"

local M = {}

local kinds = { u8 = { 0, "uint8_t" }, i8 = { 1, "int8_t" }, u16 = { 2, "uint16_t" },
  i16 = { 3, "int16_t" }, u32 = { 4, "uint32_t" }, i32 = { 5, "int32_t" }, f32 = { 6, "float" },
  bool = { 7, "uint8_t" }, text = { 8 }, list = { 9 }, u64 = { 10, "uint64_t" },
  i64 = { 11, "int64_t" }, f64 = { 12, "double" } }
M.formats = { F32 = 0, F16 = 1, BF16 = 30, F64 = 28, I8 = 24, I16 = 25, I32 = 26, I64 = 27,
  Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13,
  Q6_K = 14 }

function M.number(kind, n)
  local c = kinds[kind][2]
  if kind == "bool" and type(n) == "boolean" then n = n and 1 or 0 end
  return ffi.string(ffi.new(c .. "[1]", n), ffi.sizeof(c))
end

function M.text(s) return M.number("u64", #s) .. s end

local function value(kind, v) return kind == "text" and M.text(v) or M.number(kind, v) end

--- kind "u32 list": type 9, the items' type, how many, the items.
local function key(k)
  local name, kind, v = k[1], k[2], k[3]
  local of = kind:match "^(%w+) list$"
  local out = { M.text(name), M.number("u32", kinds[of and "list" or kind][1]) }
  if of then
    out[3] = M.number("u32", kinds[of][1]) .. M.number("u64", #v)
    for i, item in ipairs(v) do out[3 + i] = value(of, item) end
  else
    out[3] = value(kind, v)
  end
  return table.concat(out)
end

local function align(s, n) return s .. ("\0"):rep(-#s % n) end

--- options: version (3), alignment (32), offsets (by number of the tensor, not the right ones).
function M.bytes(keys, tensors, options)
  options = options or {}
  local version, alignment, data = options.version or 3, options.alignment or 32, {}
  local out = { "GGUF", M.number("u32", version), M.number("u64", #tensors),
    M.number("u64", #keys) }
  for _, k in ipairs(keys) do out[#out + 1] = key(k) end
  local at = 0
  for i, t in ipairs(tensors) do
    out[#out + 1] = M.text(t[1]) .. M.number("u32", #t[2])
    for _, d in ipairs(t[2]) do out[#out + 1] = M.number("u64", d) end
    out[#out + 1] = M.number("u32", M.formats[t[3]] or t[3])
      .. M.number("u64", options.offsets and options.offsets[i] or at)
    data[i] = align(t[4], alignment)
    at = at + #data[i]
  end
  return align(table.concat(out), alignment) .. table.concat(data)
end

function M.write(path, keys, tensors, options)
  files.write(path, M.bytes(keys, tensors, options))
  return path
end

return M
