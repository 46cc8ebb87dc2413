--- Pictures: decoding, limits of their size, resizing, PNG.
---   { width, height, rgb = unsigned char * [height, width, 3], name, orientation, coarse, original = { w, h } }
---   rgba instead of rgb where transparency was asked for.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local C, check = rl.C, rl.check

local image = {}

--- PIL's numbers of the filters.
image.filters = { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 }

--- Lua's collector sees a handle, not what hangs on it: each 64 MB it does the work of as much garbage.
local BUDGET, spent = 64 * 1024 ^ 2, 0
local function owned(pointer, bytes)
  spent = spent + bytes
  if spent > BUDGET then
    collectgarbage("step", spent / 1024)
    spent = 0
  end
  return ffi.gc(pointer, C.rl_image_room_free)
end

--- Room for count elements of a C type ("float", "unsigned char"), freed with its handle.
function image.room(ctype, count)
  local bytes = count * ffi.sizeof(ctype)
  return owned(ffi.cast(ctype .. " *", check(C.rl_image_room(bytes))), bytes)
end

--- A copy of img with other pixels: { rgb =, rgba =, width =, height = }.
local function with(img, pixels)
  return {
    width = pixels.width or img.width, height = pixels.height or img.height,
    rgb = pixels.rgb, rgba = pixels.rgba, name = img.name, orientation = pixels.orientation or img.orientation,
    coarse = img.coarse, format = img.format, original = pixels.original or img.original,
  }
end

--- The picture without transparency: on white, or ("drop") its plain colours.
function image.opaque(img, how)
  if not img.rgba then return img end
  local count = img.width * img.height
  local rgb = image.room("unsigned char", 3 * count)
  C.rl_image_opaque(img.rgba, count, how == "drop" and 0 or 1, rgb)
  return with(img, { rgb = rgb })
end

local ALPHA = { white = true, drop = true, keep = true }

local function picture(c, name, alpha)
  local count = c.width * c.height
  local pixels = owned(c.pixels, count * c.channels)
  local img = {
    width = c.width, height = c.height, name = name, orientation = c.orientation, coarse = c.coarse ~= 0,
    format = ffi.string(c.format), original = { c.width, c.height },
  }
  img[c.channels == 4 and "rgba" or "rgb"] = pixels
  return alpha == "keep" and img or image.opaque(img, alpha)
end

local function alpha_of(alpha)
  if alpha and not ALPHA[alpha] then
    rl.raise("image: alpha: expected white, drop or keep, got %s", tostring(alpha))
  end
  return alpha or "white"
end

--- bytes of a file -> picture.  alpha: what becomes of transparency: "white" (on white, as the models' own processors
--- do; the default), "drop" (the plain colours), "keep" (rgba).  EXIF orientation is told, not applied: image.upright.
function image.decode(bytes, name, alpha)
  local c = ffi.new "rl_image"
  check(C.rl_image_decode(bytes, #bytes, name or "image", c))
  return picture(c, name or "image", alpha_of(alpha))
end

--- A picture from a file.
function image.load(path, alpha) return image.decode(files.read(path), path, alpha) end

--- Many at once, shared among the threads.  list: { { bytes =, name = }, ... } -> list of pictures; where one is
--- refused, false stands in its place and the second list has the message.
function image.decode_all(list, alpha)
  local n, out, errors = #list, {}, {}
  local jobs = ffi.new("rl_image_file[?]", n)
  for i, f in ipairs(list) do
    jobs[i - 1].data, jobs[i - 1].size, jobs[i - 1].name = f.bytes, #f.bytes, f.name
  end
  alpha = alpha_of(alpha)
  C.rl_images_decode(jobs, n)
  for i, f in ipairs(list) do
    local job = jobs[i - 1]
    if job.error ~= nil then
      out[i], errors[i] = false, ffi.string(job.error)
      C.rl_free(job.error)
    else
      out[i] = picture(job.image, f.name, alpha)
    end
  end
  return out, errors
end

--- img resized to width x height as PIL does it.  filter: a name of image.filters, or its number.
function image.resize(img, width, height, filter)
  local number = image.filters[filter or "bicubic"] or filter
  if type(number) ~= "number" then
    rl.raise("image: filter: expected nearest, lanczos, bilinear, bicubic, box or hamming, got %s", tostring(filter))
  end
  local channels = img.rgba and 4 or 3
  local out = image.room("unsigned char", channels * width * height)
  check(C.rl_image_resize(img.rgba or img.rgb, img.width, img.height, channels, out, width, height, number))
  return with(img, { width = width, height = height, [img.rgba and "rgba" or "rgb"] = out })
end

--- img as its EXIF orientation says it is to be seen.
function image.upright(img)
  local o = img.orientation
  if o == 1 then return img end
  local width, height = img.width, img.height
  if o >= 5 then width, height = height, width end
  local channels = img.rgba and 4 or 3
  local out = image.room("unsigned char", channels * width * height)
  check(C.rl_image_upright(img.rgba or img.rgb, img.width, img.height, channels, o, out))
  return with(img, { width = width, height = height, orientation = 1, original = { width, height },
    [img.rgba and "rgba" or "rgb"] = out })
end

local function scaled(width, height, factor)
  return math.max(1, math.floor(width * factor)), math.max(1, math.floor(height * factor))
end

--- The size that area limits make of another: above max_pixels down, below min_pixels up, sides truncated.
function image.limit_size(width, height, min_pixels, max_pixels)
  if max_pixels and width * height > max_pixels then
    width, height = scaled(width, height, math.sqrt(max_pixels / (width * height)))
  end
  if min_pixels and width * height < min_pixels then
    width, height = scaled(width, height, math.sqrt(min_pixels / (width * height)))
  end
  return width, height
end

--- img within area limits (nil: none; bicubic, or nearest where it has a palette or one bit), then its smaller
--- side raised to side (nil: as it is; Lanczos).
function image.limit(img, min_pixels, max_pixels, side)
  local function to(width, height, filter)
    if width ~= img.width or height ~= img.height then img = image.resize(img, width, height, filter) end
  end
  local w, h = img.width, img.height
  if max_pixels then w, h = image.limit_size(w, h, nil, max_pixels) to(w, h, img.coarse and "nearest") end
  if min_pixels then w, h = image.limit_size(w, h, min_pixels) to(w, h, img.coarse and "nearest") end
  local least = math.min(w, h)
  if side and least < side then
    local width, height = scaled(w, h, side / least)
    to(math.max(side, width), math.max(side, height), "lanczos")
  end
  return img
end

local function encoded(img, encode)
  img = image.opaque(img)
  local size = ffi.new "int[1]"
  local file = check(encode(img, size))
  local bytes = ffi.string(file, size[0])
  C.rl_free(file)
  return bytes
end

--- img as the bytes of a PNG file.
function image.png(img)
  return encoded(img, function(i, size) return C.rl_image_png(i.rgb, i.width, i.height, size) end)
end

--- img as the bytes of a JPEG file; quality 1 to 100 (90).
function image.jpeg(img, quality)
  return encoded(img, function(i, size) return C.rl_image_jpeg(i.rgb, i.width, i.height, quality or 90, size) end)
end

--- Gives the memory of a picture, or of what a processor made of one, back at once; it must not be used any more.
--- Without this it goes when Lua collects it.
function image.release(x)
  for _, key in ipairs { "rgb", "rgba", "patches", "pixels" } do
    if x[key] ~= nil then C.rl_image_room_free(ffi.gc(x[key], nil)) end
    x[key] = nil
  end
end

return image
