--- GGUF files: formats of numbers, keys, and what is refused.
local bit = require "bit"
local ffi = require "ffi"
local T = require "check"
local file = require "gguf_file"
local files = require "rllava.files"
local gguf = require "rllava.gguf"
local rl = require "rllava.ffi"
local C, check = rl.C, rl.check

local scratch = os.tmpname()
os.remove(scratch)
files.make_folder(scratch)
local function path(name) return files.join(scratch, name) end

--- Repeatable random bytes.
local seed = 7
local function byte()
  seed = (seed * 1103515245 + 12345) % 2 ^ 31
  return math.floor(seed / 65536) % 256
end

--- ---- formats: a plain reading of one value after the other ----

local function half(s, at)
  local h = s:byte(at + 1) + 256 * s:byte(at + 2)
  local sign, e, m = h >= 32768 and -1 or 1, math.floor(h / 1024) % 32, h % 1024
  return sign * (e == 0 and m * 2 ^ -24 or (1024 + m) * 2 ^ (e - 25))
end
local function at(s, i) return s:byte(i + 1) end
local function nibble(b, high) return high and bit.rshift(b, 4) or b % 16 end
local function signed(b) return b < 128 and b or b - 256 end

--- Value i of a block of 32.
local function small(has_min, fifth)
  return function(s, i)
    local head = has_min and 4 or 2
    local q = nibble(at(s, head + (fifth and 4 or 0) + i % 16), i >= 16)
    if fifth then q = q + 16 * (bit.rshift(at(s, head + math.floor(i / 8)), i % 8) % 2) end
    return half(s, 0) * (has_min and q or q - (fifth and 16 or 8)) + (has_min and half(s, 2) or 0)
  end
end

--- The 6-bit scale and minimum of sub-block j of 8 in 12 bytes.
local function six(s, from, j)
  if j < 4 then return at(s, from + j) % 64, at(s, from + 4 + j) % 64 end
  local low = at(s, from + 4 + j)
  return low % 16 + 16 * math.floor(at(s, from + j - 4) / 64),
    math.floor(low / 16) + 16 * math.floor(at(s, from + j) / 64)
end

local function medium(fifth)
  return function(s, i)
    local j = math.floor(i / 32)
    local scale, min = six(s, 4, j)
    local q = nibble(at(s, (fifth and 48 or 16) + math.floor(j / 2) * 32 + i % 32), j % 2 == 1)
    if fifth then q = q + 16 * (bit.rshift(at(s, 16 + i % 32), j) % 2) end
    return half(s, 0) * scale * q - half(s, 2) * min
  end
end

--- Two bits of value i, whose bytes begin at from: 32 bytes for each 128 values.
local function pair(s, from, i)
  local byte = at(s, from + math.floor(i / 128) * 32 + i % 32)
  return bit.rshift(byte, 2 * (math.floor(i / 32) % 4)) % 4
end

-- format -> elements and bytes of a block, where its halves stand, value i.
local formats = {
  Q4_0 = { 32, 18, { 0 }, small(false, false) }, Q4_1 = { 32, 20, { 0, 2 }, small(true, false) },
  Q5_0 = { 32, 22, { 0 }, small(false, true) }, Q5_1 = { 32, 24, { 0, 2 }, small(true, true) },
  Q8_0 = { 32, 34, { 0 }, function(s, i) return half(s, 0) * signed(at(s, 2 + i)) end },
  Q4_K = { 256, 144, { 0, 2 }, medium(false) }, Q5_K = { 256, 176, { 0, 2 }, medium(true) },
  Q2_K = { 256, 84, { 80, 82 }, function(s, i)
    local scale = at(s, math.floor(i / 16))
    return half(s, 80) * (scale % 16) * pair(s, 16, i) - half(s, 82) * math.floor(scale / 16)
  end },
  Q3_K = { 256, 110, { 108 }, function(s, i)
    local j = math.floor(i / 16)
    local upper = bit.rshift(at(s, 104 + j % 4), 2 * math.floor(j / 4)) % 4
    local scale = nibble(at(s, 96 + j % 8), j >= 8) + 16 * upper
    local high = bit.rshift(at(s, i % 32), math.floor(i / 32)) % 2
    return half(s, 108) * (scale - 32) * (pair(s, 32, i) + 4 * high - 4)
  end },
  Q6_K = { 256, 210, { 208 }, function(s, i)
    local part, k = math.floor(i / 128), math.floor(i / 32) % 4
    local low = nibble(at(s, part * 64 + k % 2 * 32 + i % 32), k >= 2)
    local high = bit.rshift(at(s, 128 + part * 32 + i % 32), 2 * k) % 4
    return half(s, 208) * signed(at(s, 192 + math.floor(i / 16))) * (low + 16 * high - 32)
  end },
}

--- A block of random bytes whose halves are finite.
local function block(f)
  local b = {}
  for i = 1, f[2] do b[i] = byte() end
  for _, h in ipairs(f[3]) do
    b[h + 2] = 0x28 + b[h + 2] % 16 + 128 * (b[h + 2] >= 128 and 1 or 0)
  end
  return string.char(unpack(b))
end

for name, f in require("rllava").sorted(formats) do
  T.test("GGUF: numbers of " .. name .. " read as its definition says", function()
    local blocks, n = {}, f[1]
    for k = 1, 6 do blocks[k] = block(f) end
    local p = file.write(path(name .. ".gguf"), {},
      { { "x", { 2 * n, 3 }, name, table.concat(blocks) } })
    local g = check(C.rl_gguf_open(p))
    local stored, out = C.rl_gguf_at(g, C.rl_gguf_find(g, "x")), ffi.new("float[?]", 6 * n)
    T.equal({ ffi.string(stored.dtype), stored.dim[0], stored.dim[1] }, { name, 3, 2 * n })
    check(C.rl_stored_read(stored, 0, 6 * n, out))
    for k = 1, 6 do
      for i = 0, n - 1 do
        local want, got = f[4](blocks[k], i), out[(k - 1) * n + i]
        local size = math.abs(want) + math.abs(half(blocks[k], f[3][#f[3]])) * 64
        if not (math.abs(got - want) <= 2e-6 * size) then
          error(("block %d, value %d: expected %.9g, got %.9g"):format(k, i, want, got))
        end
      end
    end
    check(C.rl_stored_read(stored, 2 * n, n, out))
    T.near({ out[1] }, { f[4](blocks[3], 1) }, 1e-4 * math.abs(f[4](blocks[3], 1)))
    T.raises(("expected multiples of %d elements (%s), got 3 from 0"):format(n, name), function()
      check(C.rl_stored_read(stored, 0, 3, out))
    end)
    C.rl_gguf_close(g)
  end)
end

T.test("GGUF: plain formats, several tensors, versions 2 and 3, an alignment of its own", function()
  local halves = "\0\60\0\192"
  for _, options in ipairs { { version = 2 }, { version = 3 }, { alignment = 64 } } do
    local keys = { { "general.alignment", "u32", options.alignment or 32 } }
    local p = file.write(path "plain.gguf", keys, { { "h", { 2 }, "F16", halves },
      { "b", { 1, 2 }, "BF16", "\128\63\0\192" }, { "d", {}, "F64", file.number("f64", 2.5) },
      { "none", { 0 }, "F32", "" }, { "i", { 3 }, "I8", "\1\255\127" } }, options)
    local g = check(C.rl_gguf_open(p))
    local function read(name)
      local s = C.rl_gguf_at(g, C.rl_gguf_find(g, name))
      local out, list = ffi.new("float[?]", 8), {}
      check(C.rl_stored_read(s, 0, s.count, out))
      for i = 1, s.count do list[i] = out[i - 1] end
      return list
    end
    T.equal({ read "h", read "b", read "d", read "none", read "i" },
      { { 1, -2 }, { 1, -2 }, { 2.5 }, {}, { 1, -1, 127 } })
    T.equal({ C.rl_gguf_count(g), C.rl_gguf_find(g, "x") }, { 5, -1 })
    C.rl_gguf_close(g)
  end
end)

--- ---- keys ----

local base = { { "general.architecture", "text", "llama" } }
local function with(...)
  local list = { base[1] }
  for _, k in ipairs { ... } do list[#list + 1] = k end
  return list
end

T.test("GGUF: keys of every type and lists of them", function()
  local g = gguf.open(file.write(path "keys.gguf", with({ "a", "u8", 200 }, { "b", "i8", -3 },
    { "c", "u16", 60000 }, { "d", "i16", -300 }, { "e", "i32", -70000 }, { "f", "f32", 0.5 },
    { "g", "bool", true }, { "h", "u64", 2 ^ 40 }, { "i", "i64", -2 ^ 40 }, { "j", "f64", 0.1 },
    { "k", "text", "a\0b" }, { "l", "text list", { "", "xy" } },
    { "m", "bool list", { true, false } }, { "n", "i16 list", { -1, 2 } },
    { "o", "u32 list", {} }), {}))
  local found = {}
  for _, name in ipairs { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n",
    "o" } do
    found[#found + 1] = g:value(name)
  end
  T.equal(found, { 200, -3, 60000, -300, -70000, 0.5, true, 2 ^ 40, -2 ^ 40, 0.1, "a\0b",
    { "", "xy" }, { true, false }, { -1, 2 }, {} })
  T.equal({ g:value "absent", g:value("n", "list of numbers")[1] }, { nil, -1 })
  T.raises("key 'a': expected a text, found a number", function() g:value("a", "text") end)
  T.raises("key 'l': expected a number, found a list of texts", function()
    g:value("l", "number")
  end)
  T.raises("key 'z': expected a number, found none", function() g:expect("z", "number") end)
  g:close()
end)

--- ---- what is refused ----

local ok = { "x", { 4 }, "F32", ("\0"):rep(16) }
local function u64(n) return file.number("u64", n) end
local function header(tensors, keys)
  return "GGUF" .. file.number("u32", 3) .. u64(tensors) .. u64(keys)
end
local function u32(n) return file.number("u32", n) end

local bad = {
  { "another format", "GGML" .. ("\0"):rep(40), "byte 0: expected GGUF, found 0x4c4d4747" },
  { "an empty file", "", "header: expected 4 bytes at byte 0, but the file ends at byte 0" },
  { "version 1", "GGUF" .. u32(1) .. ("\0"):rep(16),
    "version: expected 2 or 3, little endian, found 1" },
  { "big endian", "GGUF\0\0\0\3" .. ("\0"):rep(16), "little endian, found 50331648" },
  { "too many keys", header(0, 2 ^ 50),
    "header: number of keys: expected what the file has room for" },
  { "too many tensors", header(2 ^ 62, 0),
    "header: number of tensors: expected what the file has room for" },
  { "a key without a name", header(0, 1) .. u64(0) .. ("\0"):rep(16),
    "key 0: length of the name: expected 1 to 65535" },
  { "a name beyond the end", header(0, 1) .. u64(9999) .. ("a"):rep(16),
    "key 0: expected 9999 bytes at byte 32" },
  { "a zero in a name", header(0, 1) .. file.text "a\0b" .. u32(4) .. u32(1), "no zeros in it" },
  { "an unknown type", header(0, 1) .. file.text "a" .. u32(13) .. u32(1),
    "key 'a': type: expected 0 to 12" },
  { "a list of lists", header(0, 1) .. file.text "a" .. u32(9) .. u32(9) .. u64(1) .. u64(0),
    "key 'a': type of the items" },
  { "a long list", header(0, 1) .. file.text "a" .. u32(9) .. u32(4) .. u64(2 ^ 60),
    "key 'a': length of the list: expected at most 2^28" },
  { "a list beyond the end", header(0, 1) .. file.text "a" .. u32(9) .. u32(4) .. u64(100),
    "key 'a': expected 400 bytes" },
  { "texts beyond the end", header(0, 1) .. file.text "a" .. u32(9) .. u32(8) .. u64(1) .. u64(50),
    "key 'a': expected 50 bytes" },
  { "a bool of 2", header(0, 1) .. file.text "a" .. u32(7) .. "\2",
    "key 'a': bool: expected 0 or 1, found 2" },
  { "a key twice", file.bytes({ { "a", "u8", 1 }, { "b", "u8", 1 }, { "a", "u8", 2 } }, {}),
    "key 'a': expected once, found twice" },
  { "an alignment of 24", file.bytes(with { "general.alignment", "u32", 24 }, { ok }),
    "'general.alignment': expected a power of two" },
  { "an alignment in words", file.bytes(with { "general.alignment", "text", "32" }, { ok }),
    "'general.alignment': expected a power of two" },
  { "five axes", file.bytes(base, { { "x", { 1, 1, 1, 1, 1 }, "F32", "\0\0\0\0" } }),
    "tensor 'x': shape: expected at most 4 axes, found 5" },
  { "a long axis", file.bytes(base, { { "x", { 2 ^ 50 }, "F32", "" } }),
    "tensor 'x': shape: expected at most 2^46" },
  { "a huge product", file.bytes(base, { { "x", { 2 ^ 40, 2 ^ 40 }, "F32", "" } }),
    "expected at most 2^46 elements" },
  { "an unknown format", file.bytes(base, { { "x", { 4 }, 16, "" } }),
    "tensor 'x': format: expected F32, F16" },
  { "rows that cut blocks", file.bytes(base, { { "x", { 33 }, "Q8_0", ("\0"):rep(64) } }),
    "expected rows of a multiple of 32" },
  { "an odd offset", file.bytes(base, { ok }, { offsets = { 8 } }),
    "tensor 'x': offset: expected a multiple of 32, found 8" },
  { "an offset beyond the end", file.bytes(base, { ok }, { offsets = { 2 ^ 40 } }),
    "tensor 'x': expected 16 bytes at byte 1099511627776 of the data" },
  { "numbers cut off", file.bytes(base, { { "x", { 16 }, "F32", ("\0"):rep(60) } }):sub(1, -5),
    "tensor 'x': expected 64 bytes" },
  { "tensors over each other", file.bytes(base, { { "x", { 16 }, "F32", ("\0"):rep(64) },
    { "y", { 4 }, "F32", ("\0"):rep(16) } }, { offsets = { 0, 32 } }),
    "tensor 'y': overlaps 'x'" },
  { "a tensor twice", file.bytes(base, { ok, ok }), "tensor 'x': expected once, found twice" },
}
for _, case in ipairs(bad) do
  T.test("GGUF refuses " .. case[1], function()
    files.write(path "bad.gguf", case[2])
    T.raises(case[3], function() gguf.open(path "bad.gguf") end)
    T.raises("bad.gguf: ", function() gguf.open(path "bad.gguf") end)
  end)
end

T.test("GGUF: a file cut anywhere is refused or whole, a changed byte never crashes", function()
  local whole = file.bytes(with({ "l", "text list", { "one", "two" } }, { "n", "f32", 1 }),
    { ok, { "y", { 32 }, "Q8_0", ("\1"):rep(34) } })
  local opened = 0
  local function try(text)
    files.write(path "cut.gguf", text)
    local g = C.rl_gguf_open(path "cut.gguf")
    if g == nil then return end
    opened = opened + 1
    local out, size = ffi.new("float[?]", 64), ffi.new "int[1]"
    for i = 0, C.rl_gguf_count(g) - 1 do
      local t = C.rl_gguf_at(g, i)
      if t.count <= 64 then C.rl_stored_read(t, 0, t.count, out) end
    end
    for k = 0, C.rl_gguf_keys(g) - 1 do
      for i = 0, math.max(1, C.rl_gguf_length(g, k)) do
        C.rl_gguf_number(g, k, i)
        local text = C.rl_gguf_text(g, k, i, size)
        if text ~= nil then ffi.string(text, size[0]) end
      end
    end
    C.rl_gguf_close(g)
  end
  for n = 0, #whole - 31, 3 do try(whole:sub(1, n)) end
  T.equal(opened, 0)
  for i = 1, #whole do
    try(whole:sub(1, i - 1) .. string.char(byte()) .. whole:sub(i + 1))
  end
  assert(opened > 0 and opened < #whole)
end)
