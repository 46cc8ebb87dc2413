--- Pictures: decoding, limits of their size, resizing, PNG and JPEG.
---   { width, height, rgb = unsigned char * [height, width, 3], name, orientation, coarse,
---     original = { width, height } }; rgba instead of rgb where transparency was asked for.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local C, check = rl.C, rl.check

local image = {}

--- PIL's numbers of the filters.
image.filters = { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 }

--- Lua's collector sees a handle, not what hangs on it: each 64 MB it does the work of that much.
local BUDGET, spent = 64 * 1024 ^ 2, 0
local rooms = setmetatable({}, { __mode = "k" })        -- the pointers handed out here
local function owned(pointer, bytes)
  spent = spent + bytes
  if spent > BUDGET then
    collectgarbage("step", spent / 1024)
    spent = 0
  end
  rooms[pointer] = true
  return ffi.gc(pointer, C.rl_image_room_free)
end

--- Room for count elements of a C type ("float", "unsigned char"), freed with its handle.
function image.room(ctype, count)
  local bytes = count * ffi.sizeof(ctype)
  return owned(ffi.cast(ctype .. " *", check(C.rl_image_room(bytes))), bytes)
end

--- Gives the memory of a picture, or of what a processor made of one, back at once; it must not be
--- used any more.  Without this it goes when Lua collects it.
function image.release(x)
  for _, key in ipairs { "rgb", "rgba", "patches", "pixels", "features" } do
    local pointer = x[key]
    if pointer and rooms[pointer] then
      rooms[pointer] = nil
      C.rl_image_room_free(ffi.gc(pointer, nil))
    end
    x[key] = nil
  end
end

--- A copy of img with other pixels: { rgb =, rgba =, width =, height =, ... }.
local function with(img, pixels)
  return {
    width = pixels.width or img.width, height = pixels.height or img.height,
    rgb = pixels.rgb, rgba = pixels.rgba, name = img.name, coarse = img.coarse,
    format = img.format, orientation = pixels.orientation or img.orientation,
    original = pixels.original or img.original,
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

local function alpha_of(alpha)
  if alpha and not ALPHA[alpha] then
    rl.raise("image: alpha: expected white, drop or keep, got %s", tostring(alpha))
  end
  return alpha or "white"
end

local function picture(c, name, alpha)
  local img = {
    width = c.width, height = c.height, name = name, coarse = c.coarse ~= 0,
    format = ffi.string(c.format), orientation = c.orientation,
    original = { c.width, c.height },
  }
  local key = c.channels == 4 and "rgba" or "rgb"
  img[key] = owned(c.pixels, c.width * c.height * c.channels)
  return alpha == "keep" and img or image.opaque(img, alpha)
end

--- bytes of a file -> picture.  alpha, what becomes of transparency: "white" (put on white, as the
--- models' own processors do; the default), "drop" (the plain colours), "keep" (rgba).  The EXIF
--- orientation is told, not applied: see image.upright.
function image.decode(bytes, name, alpha)
  alpha = alpha_of(alpha)
  local c = ffi.new "rl_image"
  check(C.rl_image_decode(bytes, #bytes, name or "image", c))
  return picture(c, name or "image", alpha)
end

--- A picture from a file.
function image.load(path, alpha) return image.decode(files.read(path), path, alpha) end

--- Many at once, shared among the threads: { { bytes =, name = }, ... } -> a list of pictures;
--- false stands for one that is refused, and the second list has its message.
function image.decode_all(list, alpha)
  alpha = alpha_of(alpha)
  local n, out, errors = #list, {}, {}
  local jobs = ffi.new("rl_image_file[?]", n)
  for i, f in ipairs(list) do
    local job = jobs[i - 1]
    job.data, job.size, job.name = f.bytes, #f.bytes, f.name
  end
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

--- img resized to width x height as PIL does it.  filter: a name of image.filters ("bicubic"), or
--- its number.
function image.resize(img, width, height, filter)
  local number = image.filters[filter or "bicubic"] or filter
  if type(number) ~= "number" then
    rl.raise("image: filter: expected nearest, lanczos, bilinear, bicubic, box or hamming, got %s",
      tostring(filter))
  end
  local key, channels = img.rgba and "rgba" or "rgb", img.rgba and 4 or 3
  local out = image.room("unsigned char", channels * width * height)
  check(C.rl_image_resize(img[key], img.width, img.height, channels, out, width, height, number))
  return with(img, { width = width, height = height, [key] = out })
end

--- img as its EXIF orientation says that it is to be seen.
function image.upright(img)
  local o, width, height = img.orientation or 1, img.width, img.height
  if o == 1 then return img end
  if o >= 5 then width, height = height, width end
  local key, channels = img.rgba and "rgba" or "rgb", img.rgba and 4 or 3
  local out = image.room("unsigned char", channels * width * height)
  check(C.rl_image_upright(img[key], img.width, img.height, channels, o, out))
  return with(img, { width = width, height = height, [key] = out, orientation = 1,
    original = { width, height } })
end

local function scaled(width, height, factor)
  return math.max(1, math.floor(width * factor)), math.max(1, math.floor(height * factor))
end

--- Width and height within area limits (nil: none): above max_pixels down, then below min_pixels
--- up, sides truncated.
function image.limit_size(width, height, min_pixels, max_pixels)
  if max_pixels and width * height > max_pixels then
    width, height = scaled(width, height, math.sqrt(max_pixels / (width * height)))
  end
  if min_pixels and width * height < min_pixels then
    width, height = scaled(width, height, math.sqrt(min_pixels / (width * height)))
  end
  return width, height
end

--- img within area limits (nil: none; bicubic, or nearest where it has a palette or one bit), then
--- its smaller side raised to side (nil: as it is; Lanczos).
function image.limit(img, min_pixels, max_pixels, side)
  local function to(width, height, filter)
    if width == img.width and height == img.height then return end
    img = image.resize(img, width, height, filter)
  end
  local filter = img.coarse and "nearest" or "bicubic"
  local width, height = image.limit_size(img.width, img.height, nil, max_pixels)
  to(width, height, filter)
  width, height = image.limit_size(width, height, min_pixels)
  to(width, height, filter)
  local least = math.min(width, height)
  if side and least < side then
    width, height = scaled(width, height, side / least)
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
  return encoded(img, function(i, size)
    return C.rl_image_png(i.rgb, i.width, i.height, size)
  end)
end

--- img as the bytes of a JPEG file; quality 1 to 100 (90).
function image.jpeg(img, quality)
  return encoded(img, function(i, size)
    return C.rl_image_jpeg(i.rgb, i.width, i.height, quality or 90, size)
  end)
end

return image
