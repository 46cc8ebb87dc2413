local T = require "check"
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local image = require "rllava.image"
local json = require "rllava.json"
local processor = require "rllava.processor"
local safetensors = require "safetensors"

local GOLD = T.goldens .. "/images"
local function list(folder) return files.kind(folder) == "folder" and files.list(folder) or {} end
local cases = files.kind(GOLD .. "/cases.json") and json.decode(T.read(GOLD .. "/cases.json")) or { cases = {}, configs = {} }

--- ---- against Pillow and transformers ----

--- The largest difference of n bytes or floats.
local function apart(got, want, n)
  local worst = 0
  for i = 0, n - 1 do worst = math.max(worst, math.abs(got[i] - want[i])) end
  return worst
end

local function shaped(img, t, what)
  if img.height ~= t.shape[1] or img.width ~= t.shape[2] then
    error(("%s: expected %d x %d, got %d x %d"):format(what, t.shape[2], t.shape[1], img.width, img.height), 0)
  end
end

--- JPEG decoders may differ by some levels; everything else is exact.
local function levels(name) return name:find "%.jpg$" and 4 or 0 end

local function share(difference, tolerance)
  return tolerance > 0 and difference / tolerance or (difference == 0 and 0 or math.huge)
end

--- The picture that a golden was made from, its pixels as Pillow decoded them.
local function input(name, tensor)
  local file = safetensors(GOLD .. "/out/" .. name .. ".rgb.safetensors")      -- it owns what t points to
  local t = file[tensor]
  local rgb = ffi.new("unsigned char[?]", t.n)
  ffi.copy(rgb, t.data, t.n)
  return { width = t.shape[2], height = t.shape[1], rgb = rgb, name = name, file = file }
end

local function decoded(path, name)
  local want, worst = safetensors(path), 0
  local function compare(img, t, what)
    shaped(img, t, what)
    worst = math.max(worst, share(apart(img.rgb, t.data, t.n), levels(name)))
  end
  local file = GOLD .. "/in/" .. name
  compare(image.load(file, "drop"), want.rgb, "rgb")
  if want.rgb_on_white then compare(image.load(file), want.rgb_on_white, "rgb_on_white") end
  if want.rgb_exif then compare(image.upright(image.load(file)), want.rgb_exif, "rgb_exif") end
  return worst
end

local function limited(path, case)
  local stored = safetensors(path)
  local want = stored.rgb
  local img = image.load(GOLD .. "/in/" .. case.image, case.config == "area_limit" and "keep" or nil)
  if case.image:find "%.jpg$" then img = input(case.image, "rgb") end
  local function given(v) return v ~= json.null and v or nil end
  img = image.opaque(image.limit(img, given(case.min_pixels), given(case.max_pixels), given(case.min_dimension)), "drop")
  shaped(img, want, case.config)
  return share(apart(img.rgb, stored.rgb.data, want.n), 0)
end

local function processor_of(name)
  local config = {}
  for k, v in pairs(cases.configs[name]) do config[k] = v end
  config.image_processor_type, config.image_mean, config.image_std = config.processor, config.mean, config.std
  return processor.new(config, name)
end

--- Numbers to 1e-6 from Pillow's pixels; from our own decoding the levels of JPEG count.
local function processed(path, case)
  local want, p = safetensors(path), processor_of(case.config)
  local images = case.images or { case.image }
  local at, worst, values = 0, 0, want.pixel_values
  for k, name in ipairs(images) do
    for _, img in ipairs { input(name, case.input or "rgb"), image.load(GOLD .. "/in/" .. name) } do
      local x = p:image(img)
      local n = x.grid and x.rows * x.width or 3 * x.height * x.width
      local off = apart(x.patches or x.pixels, values.data + at, n)
      worst = math.max(worst, off / (img.format == "JPEG" and 4 / 255 / 0.25 or 1e-6))
      if x.grid then T.equal(x.grid, { unpack(case.grid_thw[k]) }) end
      if case.image_tokens then T.equal(p:tokens(x), case.image_tokens) end
      if img.format then at = at + n end
    end
  end
  if at ~= values.n then error(("expected %d numbers, got %d"):format(values.n, at), 0) end
  if want.u8 and case.grid_thw then
    local img = image.resize(input(case.image, case.input), want.u8.shape[2], want.u8.shape[1])
    worst = math.max(worst, share(apart(img.rgb, want.u8.data, want.u8.n), 0))
  end
  return worst
end

local by_file = {}
for _, case in ipairs(cases.cases) do
  if case.file then by_file[case.file] = case end
end

--- 16-bit grey is clipped by Pillow where the high byte is meant, WebP is not read here.
local function left_out(name) return name:find "^gray16%.png" or name:find "^still%.webp" end

for _, name in ipairs(list(GOLD .. "/out")) do
  local path, case = GOLD .. "/out/" .. name, by_file[name]
  local of = name:match "^(.*)%.rgb%.safetensors$"
  if not left_out(name) then
    T.golden(path, function()
      if of then return decoded(path, of) end
      if not case then error("no case of this file in cases.json", 0) end
      if case.config == "area_limit" or case.config == "min_dimension" then return limited(path, case) end
      return processed(path, case)
    end)
  end
end

for _, case in ipairs(cases.cases) do
  if case.error then
    T.test("images: " .. case.image .. " is refused by " .. case.config, function()
      T.raises(case.error.message, function() return processor_of(case.config):image(input(case.image, case.input)) end)
    end)
  end
end

local function table_of(name) return GOLD .. "/" .. name, json.decode(T.read(GOLD .. "/" .. name)) end

if files.kind(GOLD .. "/smart_resize.json") then
  local path, sizes = table_of "smart_resize.json"
  T.golden(path, function()
    for _, r in ipairs(sizes.rows) do
      T.equal({ processor.smart_resize(r[1], r[2], r[3], r[4], r[5]) }, { r[6], r[7] })
    end
    for _, e in ipairs(sizes.errors) do
      T.raises(e.error, function() processor.smart_resize(unpack(e.args)) end)
    end
    return 0
  end)
end

if files.kind(GOLD .. "/area_limit.json") then
  local path, sizes = table_of "area_limit.json"
  T.golden(path, function()
    for _, r in ipairs(sizes.rows) do
      local function given(v) return v ~= json.null and v or nil end
      T.equal({ image.limit_size(r[1], r[2], given(r[3]), given(r[4])) }, { r[5], r[6] })
    end
    return 0
  end)
end

--- Which pass a resize does first shows in its rounding: a picture of random bytes tells.
if files.kind(GOLD .. "/resize_order.json") then
  local path, sizes = table_of "resize_order.json"
  T.golden(path, function()
    local seed = 1
    for _, r in ipairs(sizes.rows) do
      local h, w, oh, ow, first = unpack(r)
      local rgb = ffi.new("unsigned char[?]", 3 * h * w)
      for i = 0, 3 * h * w - 1 do seed = (seed * 16807) % 2147483647 rgb[i] = seed % 2 * 255 end
      local img = { width = w, height = h, rgb = rgb, name = "random" }
      local got = image.resize(img, ow, oh)
      local horizontal = image.resize(image.resize(img, ow, h), ow, oh)
      local vertical = image.resize(image.resize(img, w, oh), ow, oh)
      local n = 3 * oh * ow
      local as_h, as_v = apart(got.rgb, horizontal.rgb, n) == 0, apart(got.rgb, vertical.rgb, n) == 0
      local found = as_h and (as_v and "either" or "horizontal") or as_v and "vertical" or "neither"
      if found ~= first then error(("%d x %d to %d x %d: expected %s, got %s"):format(w, h, ow, oh, first, found), 0) end
    end
    return 0
  end)
end

if files.kind(GOLD .. "/bad/cases.json") then
  local _, bad = table_of "bad/cases.json"
  local why = {}
  for _, case in ipairs(bad) do why[case.file] = case end
  for _, name in ipairs(list(GOLD .. "/bad")) do
    local case = why[name]
    if case and not case.pillow:find "^accepted" then
      T.test("images: bad/" .. name .. " is refused with its name, what was expected and what was found", function()
        local ok, message = pcall(image.load, GOLD .. "/bad/" .. name)
        if ok then error("expected an error, got a picture", 0) end
        for _, part in ipairs { name .. ": image: ", "expected ", "found " } do
          if not message:find(part, 1, true) then error(("expected %q in %q"):format(part, message), 0) end
        end
      end)
    end
  end
end
