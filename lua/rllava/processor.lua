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
  qwen = { patch_size = 14, merge_size = 2, temporal_patch_size = 2, image_mean = CLIP_MEAN, image_std = CLIP_STD,
    size = { shortest_edge = 56 * 56, longest_edge = 28 * 28 * 1280 } },
  clip = { image_mean = CLIP_MEAN, image_std = CLIP_STD, size = { shortest_edge = 224 }, do_center_crop = true,
    crop_size = { height = 224, width = 224 } },
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

local function kind_of(config, name)
  local found = config.image_processor_type or config.feature_extractor_type
  local kind = TYPES[(tostring(found):gsub("Fast$", ""):gsub("Pil$", ""))]
  if not kind then
    rl.raise("%s: image_processor_type: expected that of Qwen2-VL, CLIP, SigLIP or LLaVA, found %s", name, tostring(found))
  end
  return kind
end

local function describe(v) return type(v) == "table" and json.encode(v) or tostring(v) end

--- A checked number of the config, or its default.
local function number(self, config, key, default, least)
  local v = config[key]
  if v == nil or v == json.null then v = default end
  if type(v) ~= "number" or v ~= v or v < least then
    rl.raise("%s: %s: expected a number of at least %g, found %s", self.name, key, least, describe(v))
  end
  return v
end

local function count(self, config, key, default)
  local v = number(self, config, key, default, 1)
  if v ~= math.floor(v) or v > 4096 then
    rl.raise("%s: %s: expected a whole number from 1 to 4096, found %s", self.name, key, describe(v))
  end
  return v
end

local function flag(self, config, key, default)
  local v = config[key]
  if v == nil or v == json.null then return default or false end
  if type(v) ~= "boolean" then
    rl.raise("%s: %s: expected true or false, found %s", self.name, key, describe(v))
  end
  return v
end

local function triple(self, config, key, default)
  local v = config[key]
  if v == nil or v == json.null then v = default end
  if type(v) == "number" then v = { v, v, v } end
  for i = 1, 3 do
    if type(v) ~= "table" or type(v[i]) ~= "number" or (key == "image_std" and v[i] == 0) then
      rl.raise("%s: %s: expected three numbers%s, found %s", self.name, key, key == "image_std" and " other than 0" or "",
        describe(v))
    end
  end
  return v
end

--- size or crop_size: a table of the named sides, or one number for shortest_edge or both sides.
local function sides(self, config, key, default)
  local v = config[key]
  if v == nil or v == json.null then v = default end
  if type(v) == "number" then v = default.shortest_edge and { shortest_edge = v } or { height = v, width = v } end
  if type(v) ~= "table" then rl.raise("%s: %s: expected sides, found %s", self.name, key, describe(v)) end
  local out = {}
  for _, side in ipairs { "shortest_edge", "longest_edge", "height", "width", "min_pixels", "max_pixels" } do
    if v[side] ~= nil and v[side] ~= json.null then out[side] = number(self, v, side, nil, 1) end
  end
  return out
end

--- Area limits of a Qwen-VL processor: min_pixels and max_pixels win over size and its two spellings.
local function areas(self, config, defaults)
  local size = sides(self, config, "size", defaults.size)
  self.min_pixels = number(self, config, "min_pixels", size.shortest_edge or size.min_pixels or defaults.size.shortest_edge, 1)
  self.max_pixels = number(self, config, "max_pixels", size.longest_edge or size.max_pixels or defaults.size.longest_edge, 1)
  for _, key in ipairs { "do_center_crop", "do_pad" } do
    if flag(self, config, key) then rl.raise("%s: %s: expected false for Qwen-VL, found true", self.name, key) end
  end
end

local function frames(self, config, defaults)
  self.size = sides(self, config, "size", defaults.size)
  local s = self.size
  if not (s.shortest_edge and not s.longest_edge) and not (s.height and s.width) then
    rl.raise("%s: size: expected shortest_edge, or height and width, found %s", self.name, describe(config.size))
  end
  self.center_crop = flag(self, config, "do_center_crop", defaults.do_center_crop)
  self.crop = self.center_crop and sides(self, config, "crop_size", defaults.crop_size)
  if self.crop and not (self.crop.height and self.crop.width) then
    rl.raise("%s: crop_size: expected height and width, found %s", self.name, describe(config.crop_size))
  end
  self.pad = flag(self, config, "do_pad", false)
  if self.pad and self.kind ~= "llava" then rl.raise("%s: do_pad: expected false but for LLaVA, found true", self.name) end
end

--- A processor from the table of a preprocessor_config.json; name: for messages.  do_convert_rgb has no say: pictures
--- are RGB here.
function processor.new(config, name)
  local self = setmetatable({ name = name or "processor" }, Processor)
  self.kind = kind_of(config, self.name)
  local defaults = KINDS[self.kind]
  local rule = ffi.new "rl_image_rule"
  local resample = number(self, config, "resample", 3, 0)
  if resample > 5 or resample ~= math.floor(resample) then
    rl.raise("%s: resample: expected a filter of PIL, 0 to 5, found %s", self.name, describe(resample))
  end
  rule.filter = resample
  self.resize = flag(self, config, "do_resize", true)
  rule.scale = flag(self, config, "do_rescale", true) and number(self, config, "rescale_factor", 1 / 255, 0) or 1
  local normalize = flag(self, config, "do_normalize", true)
  self.mean = triple(self, config, "image_mean", defaults.image_mean)
  local std = triple(self, config, "image_std", defaults.image_std)
  for i = 1, 3 do rule.mean[i - 1], rule.std[i - 1] = normalize and self.mean[i] or 0, normalize and std[i] or 1 end
  flag(self, config, "do_convert_rgb", true)
  if self.kind == "qwen" then
    rule.patch = count(self, config, "patch_size", defaults.patch_size)
    rule.merge = count(self, config, "merge_size", defaults.merge_size)
    rule.times = count(self, config, "temporal_patch_size", defaults.temporal_patch_size)
    areas(self, config, defaults)
  else
    frames(self, config, defaults)
  end
  self.rule = rule
  return self
end

--- The processor of a model folder: its preprocessor_config.json.
function processor.load(folder)
  local path = files.join(folder, "preprocessor_config.json")
  local config = json.decode(files.read(path), path)
  if type(config) ~= "table" then rl.raise("%s: expected an object, found %s", path, describe(config)) end
  return processor.new(config, path)
end

--- To the nearest whole number, halves to the even one.
local function nearest(x)
  local low = math.floor(x)
  local rest = x - low
  return (rest > 0.5 or (rest == 0.5 and low % 2 == 1)) and low + 1 or low
end

--- The size, in multiples of factor, that a Qwen-VL processor gives a picture.  Refuses sides of more than 200 to 1.
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
    return processor.smart_resize(img.height, img.width, rule.patch * rule.merge, self.min_pixels, self.max_pixels, img.name)
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
  task.rgb, task.width, task.height, task.out_width, task.out_height = img.rgb, img.width, img.height, w, h
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
  if not x.grid then rl.raise("%s: tokens: expected a picture of Qwen-VL, got one without a grid", self.name) end
  return x.grid[1] * x.grid[2] * x.grid[3] / self.rule.merge ^ 2
end

return processor
