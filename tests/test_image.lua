--- Pictures against Pillow and transformers.
local T = require "check"
local ffi = require "ffi"
local files = require "rllava.files"
local image = require "rllava.image"
local json = require "rllava.json"
local processor = require "rllava.processor"
local pictures = require "pictures"
local safetensors = require "safetensors"

local apart, noise, same, refused = pictures.apart, pictures.noise, pictures.same, pictures.refused

local GOLD = T.goldens .. "/images"
local function list(folder) return files.kind(folder) == "folder" and files.list(folder) or {} end

--- A JSON file of the goldens, or nil.
local function golden(name)
  local path = GOLD .. "/" .. name
  return files.kind(path) == "file" and json.decode(T.read(path)) or nil
end
local cases = golden "cases.json" or { cases = {}, configs = {} }

local function shaped(img, t, what)
  if img.height ~= t.shape[1] or img.width ~= t.shape[2] then
    error(("%s: expected %d x %d, got %d x %d"):format(what, t.shape[2], t.shape[1], img.width,
      img.height), 0)
  end
end

--- JPEG decoders may differ by some levels; everything else is exact.
local function levels(name) return name:find "%.jpg$" and 4 or 0 end

local function share(difference, tolerance)
  return tolerance > 0 and difference / tolerance or (difference == 0 and 0 or math.huge)
end

--- The picture that a golden was made from, its pixels as Pillow decoded them.
local function input(name, tensor)
  local file = safetensors(GOLD .. "/out/" .. name .. ".rgb.safetensors")
  local t = file[tensor]                                -- file owns what t points to
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

local function given(v) return v ~= json.null and v or nil end

local function limited(path, case)
  local stored = safetensors(path)
  local alpha = case.config == "area_limit" and "keep" or "white"
  local img = image.load(GOLD .. "/in/" .. case.image, alpha)
  if case.image:find "%.jpg$" then img = input(case.image, "rgb") end
  img = image.limit(img, given(case.min_pixels), given(case.max_pixels), given(case.min_dimension))
  img = image.opaque(img, "drop")
  shaped(img, stored.rgb, case.config)
  return share(apart(img.rgb, stored.rgb.data, stored.rgb.n), 0)
end

local function processor_of(name)
  local config = {}
  for k, v in pairs(cases.configs[name]) do config[k] = v end
  config.image_processor_type = config.processor
  config.image_mean, config.image_std = config.mean, config.std
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
      local limits = case.config == "area_limit" or case.config == "min_dimension"
      return (limits and limited or processed)(path, case)
    end)
  end
end

for _, case in ipairs(cases.cases) do
  if case.error then
    T.golden(GOLD .. "/in/" .. case.image .. " by " .. case.config, function()
      local img = input(case.image, case.input)
      T.raises(case.error.message, function() processor_of(case.config):image(img) end)
      return 0
    end)
  end
end

--- One golden for a table of rows.
local function rows_of(name, check)
  local sizes = golden(name)
  if not sizes then return end
  T.golden(GOLD .. "/" .. name, function()
    for _, row in ipairs(sizes.rows) do check(row) end
    for _, e in ipairs(sizes.errors or {}) do
      T.raises(e.error, function() processor.smart_resize(unpack(e.args)) end)
    end
    return 0
  end)
end

rows_of("smart_resize.json", function(r)
  T.equal({ processor.smart_resize(r[1], r[2], r[3], r[4], r[5]) }, { r[6], r[7] })
end)

rows_of("area_limit.json", function(r)
  T.equal({ image.limit_size(r[1], r[2], given(r[3]), given(r[4])) }, { r[5], r[6] })
end)

--- Which pass a resize does first shows in its rounding.
rows_of("resize_order.json", function(r)
  local h, w, oh, ow, first = unpack(r)
  local img = noise(w, h, h * 100 + w)
  local got = image.resize(img, ow, oh)
  local across = same(got, image.resize(image.resize(img, ow, h), ow, oh))
  local down = same(got, image.resize(image.resize(img, w, oh), ow, oh))
  local found = across and (down and "either" or "horizontal") or down and "vertical" or "neither"
  T.equal(found, first)
end)

for _, case in ipairs(golden "bad/cases.json" or {}) do
  local path = GOLD .. "/bad/" .. case.file
  if files.kind(path) == "file" and not case.pillow:find "^accepted" then
    T.golden(path, function()
      refused(case.file, function() return image.load(path) end)
      return 0
    end)
  end
end
