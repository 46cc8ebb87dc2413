--- Picture files, resizing and processors, by hand.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local image = require "rllava.image"
local json = require "rllava.json"
local pictures = require "pictures"
local processor = require "rllava.processor"

local noise, same, refused = pictures.noise, pictures.same, pictures.refused
local folder = "tests/golden/images/in/"
local kinds = { "base.jpg", "progressive.jpg", "cmyk.jpg", "rgba.png", "palette_trans.png",
  "anim.gif", "still.bmp" }

T.test("images: a file cut short is refused", function()
  for _, name in ipairs(kinds) do
    local bytes = T.read(folder .. name)
    for share_of = 0.05, 0.96, 0.1 do
      local cut = bytes:sub(1, math.floor(#bytes * share_of))
      local whole = name == "anim.gif" and share_of > 0.3            -- its later frames are cut
      if not whole then refused("cut", function() return image.decode(cut, "cut") end) end
    end
  end
end)

T.test("images: a truncated JPEG is called truncated", function()
  local bytes = T.read(folder .. "base.jpg")
  local message = refused("a.jpg", function() return image.decode(bytes:sub(1, 3000), "a.jpg") end)
  assert(message:find "truncated", message)
end)

T.test("images: changed bytes give a picture or a clear refusal", function()
  local seed = 7
  local function random(n) seed = seed * 16807 % 2147483647 return seed % n end
  for _, name in ipairs(kinds) do
    local bytes = T.read(folder .. name)
    for _ = 1, 60 do
      local at = 1 + random(random(2) == 0 and 60 or #bytes)
      local changed = bytes:sub(1, at - 1) .. string.char(random(256)) .. bytes:sub(at + 1)
      if not pcall(image.decode, changed, "x") then
        refused("x", function() return image.decode(changed, "x") end)
      end
    end
  end
end)

T.test("images: other formats are refused by their names", function()
  local formats = {
    { "RIFF\1\0\0\0WEBPVP8 ", "WebP" }, { "II*\0\8\0\0\0", "TIFF" }, { "MM\0*\0\0\0\8", "TIFF" },
    { "\0\0\0\24ftypheic", "HEIC" }, { "\0\0\0\24ftypavif", "AVIF" }, { "%PDF-1.7", "PDF" },
    { "<html>", "text" }, { "", "an empty file" }, { "\1\2\3", "another format" },
  }
  for _, f in ipairs(formats) do
    T.raises("expected JPEG, PNG, GIF or BMP, found " .. f[2], function()
      image.decode(f[1], "x")
    end)
  end
end)

--- EXIF with an orientation, put behind the first two bytes of a JPEG; big or little endian.
local function with_exif(jpeg, orientation, big)
  local tiff = big and "MM\0*\0\0\0\8\0\1\1\18\0\3\0\0\0\1\0" .. string.char(orientation) .. "\0\0"
    or "II*\0\8\0\0\0\1\0\18\1\3\0\1\0\0\0" .. string.char(orientation) .. "\0\0\0"
  local block = "Exif\0\0" .. tiff .. "\0\0\0\0"
  return jpeg:sub(1, 2) .. "\255\225" .. string.char(0, #block + 2) .. block .. jpeg:sub(3)
end

T.test("images: the eight EXIF orientations, in both byte orders", function()
  local img = { width = 2, height = 3, rgb = ffi.new("unsigned char[18]"), orientation = 1 }
  for i = 0, 17 do img.rgb[i] = math.floor(i / 3) + 1 end
  local want = { "123456", "214365", "654321", "563412", "135246", "531642", "642531", "246135" }
  local jpeg = image.jpeg(img)
  for o = 1, 8 do
    T.equal(image.decode(with_exif(jpeg, o, o % 2 == 0), "x").orientation, o)
    img.orientation = o
    local turned, digits = image.upright(img), ""
    for i = 0, 5 do digits = digits .. turned.rgb[3 * i] end
    T.equal(digits, want[o])
    T.equal({ turned.width, turned.height }, o < 5 and { 2, 3 } or { 3, 2 })
  end
  T.equal(image.decode(with_exif(jpeg, 9), "x").orientation, 1)
end)

T.test("images: PNG keeps every pixel, JPEG nearly", function()
  local img = image.load(folder .. "shapes.png")
  assert(same(image.decode(image.png(img), "x"), img))
  local again = image.decode(image.jpeg(img, 95), "x")
  local off = 0
  for i = 0, 3 * img.width * img.height - 1 do off = off + math.abs(again.rgb[i] - img.rgb[i]) end
  assert(off / (3 * img.width * img.height) < 4, "mean difference " .. off)
end)

T.test("images: many at once come back in order, with the refusals", function()
  local names = { "base.jpg", "rgba.png", "still.webp", "anim.gif", "cmyk.jpg" }
  local given_files = {}
  for i, name in ipairs(names) do
    given_files[i] = { bytes = T.read(folder .. name), name = name }
  end
  local pictures, errors = image.decode_all(given_files)
  for i, name in ipairs(names) do
    if name == "still.webp" then
      T.equal(pictures[i], false)
      assert(errors[i]:find("still.webp: image: expected", 1, true), errors[i])
    else
      assert(same(pictures[i], image.load(folder .. name)), name)
    end
  end
end)

T.test("images: the same bits with any number of threads and on every path", function()
  local qwen = processor.new { image_processor_type = "Qwen2VLImageProcessor" }
  local img = image.load(folder .. "photo_coffee.jpg")
  local threads, cpu = rl.C.rl_threads(0), ffi.string(rl.C.rl_cpu(nil))
  local want
  for _, path in ipairs { "generic", "avx2", "avx512" } do
    for n = 1, 3 do
      rl.C.rl_threads(n)
      if rl.C.rl_cpu(path) ~= nil then
        for _, x in ipairs(qwen:images { img, img }) do
          local bits = files.hash_text(ffi.string(x.patches, 4 * x.rows * x.width))
          want = want or bits
          T.equal(bits, want)
        end
        T.equal(files.hash_text(ffi.string(qwen:image(img).patches, 4 * 560 * 1176)), want)
      end
    end
  end
  rl.C.rl_threads(threads)
  rl.C.rl_cpu(cpu)
end)

T.test("images: a resize far down and far up keeps a plain colour", function()
  local img = { width = 20000, height = 3, rgb = ffi.new("unsigned char[?]", 3 * 60000, 77) }
  ffi.fill(img.rgb, 3 * 60000, 77)
  for _, size in ipairs { { 1, 1 }, { 7, 40 }, { 20000, 9 }, { 33, 3 } } do
    for _, filter in ipairs { "nearest", "bilinear", "bicubic", "lanczos", "box", "hamming" } do
      local out = image.resize(img, size[1], size[2], filter)
      for i = 0, 3 * size[1] * size[2] - 1 do
        if out.rgb[i] ~= 77 then error(("%s: %d"):format(filter, out.rgb[i]), 0) end
      end
    end
  end
end)

T.test("images: a palette picture is limited by nearest neighbour, others are not", function()
  local coarse = image.load(folder .. "palette.png")
  local small = image.limit(coarse, nil, 500)
  assert(same(small, image.resize(coarse, small.width, small.height, "nearest")))
  local fine = image.load(folder .. "shapes.png")
  small = image.limit(fine, nil, 500)
  assert(same(small, image.resize(fine, small.width, small.height)))
end)

T.test("images: a limit remembers the original size, the scale counts from there", function()
  local qwen = processor.new { image_processor_type = "Qwen2VLImageProcessorFast" }
  local img = image.limit(image.load(folder .. "photo_coffee.jpg"), nil, 20000, 28)
  local x = qwen:image(img)
  T.near(x.scale, { 168 / 400, 112 / 267 }, 1e-9)
  T.equal({ x.grid, x.rows, x.width, qwen:tokens(x) }, { { 1, 8, 12 }, 96, 1176, 24 })
end)

T.test("images: memory given back is used again", function()
  if os.getenv "RLLAVA_TESTS" == "sanitized" then T.skip "a sanitizer holds memory back" end
  local qwen = processor.new { image_processor_type = "Qwen2VLImageProcessor" }
  local bytes = T.read(folder .. "photo_coffee.jpg")
  local function once()
    local img = image.decode(bytes, "x")
    local x = qwen:image(img)
    image.release(img)
    image.release(x)
  end
  for _ = 1, 20 do once() end
  local before = rl.C.rl_memory_now()
  for _ = 1, 60 do once() end
  assert(rl.C.rl_memory_now() - before < 8e6, "memory grows")
  image.release { rgb = ffi.new "unsigned char[3]" }
end)

T.test("processors: the spellings of area limits", function()
  local function limits(config)
    config.image_processor_type = "Qwen2VLImageProcessor"
    local p = processor.new(config)
    return { p.min_pixels, p.max_pixels }
  end
  T.equal(limits {}, { 3136, 1003520 })
  T.equal(limits { min_pixels = 4000, max_pixels = 5000 }, { 4000, 5000 })
  T.equal(limits { size = { shortest_edge = 4000, longest_edge = 5000 } }, { 4000, 5000 })
  T.equal(limits { size = { min_pixels = 4000, max_pixels = 5000 } }, { 4000, 5000 })
  T.equal(limits { max_pixels = 6000, size = { shortest_edge = 4000, longest_edge = 5000 } },
    { 4000, 6000 })
  T.equal(limits { min_pixels = json.null, size = json.null }, { 3136, 1003520 })
end)

T.test("processors: steps that are switched off are left out", function()
  local plain = { image_processor_type = "Qwen2VLImageProcessor", do_normalize = false,
    do_rescale = false, do_resize = false }
  local img = noise(56, 28, 5)
  local x = processor.new(plain):image(img)
  T.equal({ x.patches[0], x.patches[1] }, { img.rgb[0], img.rgb[3] })
  T.raises("expected sides that are multiples of 28, got 50 x 28", function()
    processor.new(plain):image(noise(50, 28, 5))
  end)
end)

T.test("processors: what is wrong in a config is refused with its place", function()
  local function raises(text, config, kind)
    config.image_processor_type = config.image_processor_type or kind or "Qwen2VLImageProcessor"
    T.raises(text, function() processor.new(config, "p.json") end)
  end
  raises("p.json: image_processor_type: expected that of Qwen2-VL, CLIP, SigLIP or LLaVA, "
    .. "found PixtralImageProcessor", { image_processor_type = "PixtralImageProcessor" })
  T.raises("found nil", function() processor.new({}, "p.json") end)
  raises("p.json: patch_size: expected a whole number from 1 to 1024, found 1.5",
    { patch_size = 1.5 })
  raises("p.json: size: longest_edge: expected a number of at least 1, found big",
    { size = { longest_edge = "big" } })
  raises("p.json: image_std: expected three numbers other than 0", { image_std = { 1, 0, 1 } })
  raises("p.json: image_mean: expected three numbers, found [1]", { image_mean = { 1 } })
  raises("p.json: resample: expected a whole number from 0 to 5, found 7", { resample = 7 })
  raises("p.json: do_resize: expected true or false, found yes", { do_resize = "yes" })
  raises("p.json: do_pad: expected false for Qwen-VL, found true", { do_pad = true })
  raises("p.json: size: expected shortest_edge, or height and width",
    { size = { longest_edge = 5 } }, "CLIPImageProcessor")
  raises("p.json: crop_size: expected height and width", { crop_size = { width = 5 } },
    "CLIPImageProcessor")
end)

T.test("processors: one is read from a model folder", function()
  local path = os.tmpname()
  os.remove(path)
  files.make_folder(path)
  local file = files.join(path, "preprocessor_config.json")
  files.write(file, '{"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 16}')
  T.equal(processor.load(path).rule.patch, 16)
  files.write(file, "[1]")
  T.raises("preprocessor_config.json: expected an object, found [1]", function()
    processor.load(path)
  end)
  files.remove(path)
end)
