--- Image processors of model folders: pictures -> the numbers that a vision tower reads.
---   Qwen-VL: { patches = float *, rows, width, grid = { t, h, w }, scale = { x, y } }
---   CLIP, SigLIP, LLaVA: { pixels = float * [3, height, width], height, width, scale = { x, y } }
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local image = require "rllava.image"
local json = require "rllava.json"
local C, check = rl.C, rl.check

local processor = {}

local CLIP_MEAN = { 0.48145466, 0.4578275, 0.40821073 }
local CLIP_STD = { 0.26862954, 0.26130258, 0.27577711 }
local HALF = { 0.5, 0.5, 0.5 }

--- What a config may leave out, by processor.
local KINDS = {
  qwen = {
    patch_size = 14, merge_size = 2, temporal_patch_size = 2, image_mean = CLIP_MEAN,
    image_std = CLIP_STD, size = { shortest_edge = 56 * 56, longest_edge = 28 * 28 * 1280 },
  },
  clip = {
    image_mean = CLIP_MEAN, image_std = CLIP_STD, size = { shortest_edge = 224 },
    do_center_crop = true, crop_size = { height = 224, width = 224 },
  },
  siglip = { image_mean = HALF, image_std = HALF, size = { height = 224, width = 224 } },
}
KINDS.llava = KINDS.clip

--- image_processor_type without its ending Fast or Pil -> processor.
local TYPES = {
  Qwen2VLImageProcessor = "qwen", Qwen2_5_VLImageProcessor = "qwen", CLIPImageProcessor = "clip",
  CLIPFeatureExtractor = "clip", SiglipImageProcessor = "siglip", LlavaImageProcessor = "llava",
}

local Processor = {}
Processor.__index = Processor

local function describe(v) return type(v) == "table" and json.encode(v) or tostring(v) end

--- What a processor's config says, read key by key; a wrong value raises with file and key.
local Reader = {}
Reader.__index = Reader

function Reader:refuse(key, expected, found)
  rl.raise("%s: %s: expected %s, found %s", self.name, key, expected, describe(found))
end

function Reader:get(key, default)
  local v = self.config[key]
  if v == nil or v == json.null then return default end
  return v
end

function Reader:kind()
  local found = tostring(self:get("image_processor_type", self:get "feature_extractor_type"))
  local kind = TYPES[(found:gsub("Fast$", ""):gsub("Pil$", ""))]
  if kind then return kind end
  self:refuse("image_processor_type", "that of Qwen2-VL, CLIP, SigLIP or LLaVA", found)
end

function Reader:number(key, default, least)
  local v = self:get(key, default)
  if type(v) ~= "number" or v ~= v or v < least then
    self:refuse(key, ("a number of at least %g"):format(least), v)
  end
  return v
end

function Reader:whole(key, default, least, most)
  local v = self:number(key, default, least)
  if v ~= math.floor(v) or v > most then
    self:refuse(key, ("a whole number from %d to %d"):format(least, most), v)
  end
  return v
end

function Reader:flag(key, default)
  local v = self:get(key, default)
  if type(v) ~= "boolean" then self:refuse(key, "true or false", v) end
  return v
end

--- Three numbers, or one for all; image_std without 0.
function Reader:triple(key, default)
  local v = self:get(key, default)
  if type(v) == "number" then v = { v, v, v } end
  for i = 1, 3 do
    local e = type(v) == "table" and v[i]
    if type(e) ~= "number" then self:refuse(key, "three numbers", v) end
    if e == 0 and key == "image_std" then self:refuse(key, "three numbers other than 0", v) end
  end
  return v
end

local SIDES = { "shortest_edge", "longest_edge", "height", "width", "min_pixels", "max_pixels" }

--- size or crop_size: its named sides; one number means shortest_edge or both sides.
function Reader:sides(key, default)
  local v = self:get(key, default)
  if type(v) == "number" then
    v = default.shortest_edge and { shortest_edge = v } or { height = v, width = v }
  end
  if type(v) ~= "table" then self:refuse(key, "an object of sides", v) end
  local reader, out = setmetatable({ config = v, name = self.name .. ": " .. key }, Reader), {}
  for _, side in ipairs(SIDES) do
    if reader:get(side) then out[side] = reader:number(side, nil, 1) end
  end
  return out
end

--- A Qwen-VL processor's patches and area limits; min_pixels and max_pixels win over size.
local function patches(self, read, defaults)
  local size, usual = read:sides("size", defaults.size), defaults.size
  local least = size.shortest_edge or size.min_pixels or usual.shortest_edge
  local most = size.longest_edge or size.max_pixels or usual.longest_edge
  self.min_pixels = read:number("min_pixels", least, 1)
  self.max_pixels = read:number("max_pixels", most, 1)
  for _, key in ipairs { "do_center_crop", "do_pad" } do
    if read:flag(key, false) then read:refuse(key, "false for Qwen-VL", true) end
  end
  self.rule.patch = read:whole("patch_size", defaults.patch_size, 1, 1024)
  self.rule.merge = read:whole("merge_size", defaults.merge_size, 1, 64)
  self.rule.times = read:whole("temporal_patch_size", defaults.temporal_patch_size, 1, 64)
end

--- Whole frames of one size: CLIP, SigLIP, LLaVA.
local function frames(self, read, defaults)
  local size = read:sides("size", defaults.size)
  if not (size.shortest_edge and not size.longest_edge) and not (size.height and size.width) then
    read:refuse("size", "shortest_edge, or height and width", read:get "size")
  end
  self.size = size
  if read:flag("do_center_crop", defaults.do_center_crop or false) then
    self.crop = read:sides("crop_size", defaults.crop_size or defaults.size)
    if not (self.crop.height and self.crop.width) then
      read:refuse("crop_size", "height and width", read:get "crop_size")
    end
  end
  self.pad = read:flag("do_pad", false)
  if self.pad and self.kind ~= "llava" then read:refuse("do_pad", "false but for LLaVA", true) end
end

--- A processor from the table of a preprocessor_config.json; name: for messages.  do_convert_rgb
--- changes nothing: pictures are RGB here.
function processor.new(config, name)
  local read = setmetatable({ config = config, name = name or "processor" }, Reader)
  local rule = ffi.new "rl_image_rule"
  local self = setmetatable({ name = read.name, kind = read:kind(), rule = rule }, Processor)
  local defaults = KINDS[self.kind]
  rule.filter = read:whole("resample", 3, 0, 5)
  self.resize = read:flag("do_resize", true)
  local factor = read:number("rescale_factor", 1 / 255, 0)
  rule.scale = read:flag("do_rescale", true) and factor or 1
  self.mean = read:triple("image_mean", defaults.image_mean)
  local std = read:triple("image_std", defaults.image_std)
  local normalize = read:flag("do_normalize", true)
  for i = 1, 3 do
    rule.mean[i - 1] = normalize and self.mean[i] or 0
    rule.std[i - 1] = normalize and std[i] or 1
  end
  read:flag("do_convert_rgb", true)
  local more = self.kind == "qwen" and patches or frames
  more(self, read, defaults)
  return self
end

--- The processor of a model folder: its preprocessor_config.json.
function processor.load(folder)
  local path = files.join(folder, "preprocessor_config.json")
  local config = json.decode(files.read(path), path)
  if type(config) ~= "table" or json.is_array(config) or config == json.null then
    rl.raise("%s: expected an object, found %s", path, describe(config))
  end
  return processor.new(config, path)
end

--- To the nearest whole number, halves to the even one.
local function nearest(x)
  local low = math.floor(x)
  local rest = x - low
  return (rest > 0.5 or (rest == 0.5 and low % 2 == 1)) and low + 1 or low
end

--- Height and width, in multiples of factor, that a Qwen-VL processor gives a picture.  Refuses
--- sides of more than 200 to 1.
function processor.smart_resize(height, width, factor, min_pixels, max_pixels, name)
  local ratio = math.max(height, width) / math.min(height, width)
  if ratio > 200 then
    local text = json.encode(ratio)
    rl.raise("%s: absolute aspect ratio must be smaller than 200, got %s", name or "image",
      text:find "[.e]" and text or text .. ".0")
  end
  local h, w = nearest(height / factor) * factor, nearest(width / factor) * factor
  if h * w > max_pixels then
    local beta = math.sqrt(height * width / max_pixels)
    h = math.max(factor, math.floor(height / beta / factor) * factor)
    w = math.max(factor, math.floor(width / beta / factor) * factor)
  elseif h * w < min_pixels then
    local beta = math.sqrt(min_pixels / (height * width))
    h, w = math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
  end
  return h, w
end

--- img in the middle of a square of the mean colour.
local function square(img, mean)
  local side = math.max(img.width, img.height)
  if img.width == img.height then return img end
  local rgb, colour = image.room("unsigned char", 3 * side * side), 0
  for c = 1, 3 do colour = colour * 256 + math.floor(mean[c] * 255) end
  C.rl_draw_fill(rgb, side, side, colour)
  local left, top = math.floor((side - img.width) / 2), math.floor((side - img.height) / 2)
  for y = 0, img.height - 1 do
    ffi.copy(rgb + 3 * ((top + y) * side + left), img.rgb + 3 * y * img.width, 3 * img.width)
  end
  return { width = side, height = side, rgb = rgb, name = img.name, original = { side, side } }
end

--- Height and width that img is resized to.
function Processor:target(img)
  local rule, size = self.rule, self.size
  if not self.resize then return img.height, img.width end
  if self.kind == "qwen" then
    return processor.smart_resize(img.height, img.width, rule.patch * rule.merge, self.min_pixels,
      self.max_pixels, img.name)
  elseif size.shortest_edge then
    local short, long = math.min(img.height, img.width), math.max(img.height, img.width)
    local other = math.floor(size.shortest_edge * long / short)
    if img.height <= img.width then return size.shortest_edge, other end
    return other, size.shortest_edge
  end
  return size.height, size.width
end

--- The task of one picture and the result that it fills.
local function plan(self, img, task)
  if img.rgba then img = image.opaque(img) end
  if self.pad then img = square(img, self.mean) end
  local rule = self.rule
  local h, w = self:target(img)
  local original = img.original or { img.width, img.height }
  task.rgb, task.width, task.height = img.rgb, img.width, img.height
  task.out_width, task.out_height = w, h
  local x = { scale = { w / original[1], h / original[2] }, source = img.rgb }
  if self.kind == "qwen" then
    x.grid = { 1, math.floor(h / rule.patch), math.floor(w / rule.patch) }
    x.rows, x.width = x.grid[2] * x.grid[3], 3 * rule.times * rule.patch ^ 2
    x.patches = image.room("float", x.rows * x.width)
  else
    x.height, x.width = self.crop and self.crop.height or h, self.crop and self.crop.width or w
    task.crop_height, task.crop_width = x.height, x.width
    x.pixels = image.room("float", 3 * x.height * x.width)
  end
  task.out = x.patches or x.pixels
  return x
end

--- Many pictures at once, shared among the threads: list of img -> list of results.
function Processor:images(list)
  local tasks, out = ffi.new("rl_image_task[?]", math.max(1, #list)), {}
  for i, img in ipairs(list) do out[i] = plan(self, img, tasks[i - 1]) end
  check(C.rl_images_prepare(tasks, #list, self.rule))
  for _, x in ipairs(out) do x.source = nil end
  return out
end

--- One picture.
function Processor:image(img) return self:images({ img })[1] end

--- Placeholders that a picture takes in a prompt: t h w / merge^2.
function Processor:tokens(x)
  if not x.grid then rl.raise("%s: tokens: expected a picture with a grid, got none", self.name) end
  return x.grid[1] * x.grid[2] * x.grid[3] / self.rule.merge ^ 2
end

return processor
