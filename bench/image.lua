--- rllava bench/image.lua [FILE.jpg]: pictures a second, from the bytes of a 1024 x 768 JPEG to the
--- patches of Qwen2-VL, on the threads of the pool.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local image = require "rllava.image"
local processor = require "rllava.processor"

local WIDTH, HEIGHT, BATCH, SECONDS = 1024, 768, 4, 5

--- A photograph laid out like tiles, so that it has the detail of a picture of that size.
local function photograph()
  local tile = image.load "tests/golden/images/in/photo_coffee.jpg"
  local rgb = ffi.new("unsigned char[?]", 3 * WIDTH * HEIGHT)
  for y = 0, HEIGHT - 1 do
    for x = 0, WIDTH - 1 do
      local from = y % tile.height * tile.width + x % tile.width
      ffi.copy(rgb + 3 * (y * WIDTH + x), tile.rgb + 3 * from, 3)
    end
  end
  return image.jpeg { width = WIDTH, height = HEIGHT, rgb = rgb }
end

local path = ...
local bytes = path and files.read(path) or photograph()
local qwen = processor.new { image_processor_type = "Qwen2VLImageProcessor" }
local list = {}
for i = 1, BATCH do list[i] = { bytes = bytes, name = path or "photograph" } end

local function batch()
  local pictures, errors = image.decode_all(list)
  if errors[1] then rl.raise(errors[1]) end
  local rows = qwen:images(pictures)
  for i = 1, BATCH do image.release(pictures[i]) image.release(rows[i]) end
end

batch()
local first, worked, done, best = rl.C.rl_clock(), os.clock(), 0, 0
repeat
  local start = rl.C.rl_clock()
  batch()
  done = done + BATCH
  best = math.max(best, BATCH / (rl.C.rl_clock() - start))
until rl.C.rl_clock() - first > SECONDS
print(("image: %.0f images/s (best batch %.0f; %.0f a second of work), JPEG of %d kB to patches, "
  .. "%d threads, %s"):format(done / (rl.C.rl_clock() - first), best, done / (os.clock() - worked),
  #bytes / 1000, rl.C.rl_threads(0), ffi.string(rl.C.rl_cpu(nil))))
