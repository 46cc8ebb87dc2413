--- What stands around the arithmetic: the embedded model's step and memory, vision, pictures,
--- texts, the start, and what a busy machine costs.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local image = require "rllava.image"
local policy = require "rllava.policy"
local shapes = dofile "bench/shapes.lua"
local C, check = rl.C, rl.check

local geoqa = { "recipes/grpo_geoqa.lua", "data.val=null", "data.val_apart=null" }

--- A whole step of GRPO on tiny-vl: sampling, rewards, update.
local function step(bench)
  local cfg = require("rllava.recipe").load(geoqa[1], { geoqa[2], geoqa[3] })
  local trainer, number = require("rllava.train").open(cfg), 0
  local times = bench.limits.measure(function()
    number = number + 1
    trainer:step(number)
  end, 5 * bench.seconds)
  trainer:close()
  bench.line("GRPO step of tiny-vl", "steps/s", times, 1)
end

--- Its memory beside the plan, in a process of its own.
local function memory(bench)
  local told = bench.child(bench.program, "bench/memory.lua", unpack(geoqa))
  bench.value("  its memory beside the plan, counted", "MiB", told.counted / 2 ^ 20,
    told.planned_counted / 2 ^ 20)
  bench.value("  its memory beside the plan, resident", "MiB", told.resident / 2 ^ 20,
    told.planned / 2 ^ 20)
end

--- FLOP of a tower's products for a picture of so many patches.
local function tower_flop(v, patches)
  local d, wide = v.hidden_size, v.hidden_size * v.spatial_merge_size ^ 2
  local inputs = v.in_channels * v.temporal_patch_size * v.patch_size ^ 2
  local each = inputs * d + v.depth * (4 * d * d + 3 * d * v.intermediate_size)
  return 2 * patches * (each + (wide * wide + wide * v.out_hidden_size) / v.spatial_merge_size ^ 2)
end

--- The tower of a 69M Qwen2.5-VL: pictures of 224 x 224 a second, 4 at once.
local function vision(bench)
  local c, n, patches = shapes.vl(), 4, 256
  local p = policy.new(c):init(1)
  local replay = ffi.gc(check(C.rl_replay_new(p.model.tape, "vision_merged", 0, 0, C.RL_FLOAT)),
    C.rl_replay_free)
  local batch, rows, cells = ffi.gc(C.rl_batch_new(), C.rl_batch_free), {}, patches / 4
  for i = 1, cells do rows[i] = i - 1 end
  local pixels = ffi.new("float[?]", patches * 1176, 0.5)
  local media = p.family.media(p.config, { { 1, 16, 16 } }, pixels, rows)
  for i = 0, n - 1 do
    check(C.rl_batch_segment(batch, -1, ffi.new("int[?]", cells), cells, nil, nil, 0, 0))
    check(C.rl_batch_media(batch, i, media))
  end
  check(C.rl_batch_bind(batch, replay, 1))
  local times = bench.limits.measure(function() check(C.rl_replay_forward(replay)) end,
    bench.seconds)
  bench.line("vision encoder, 69M Qwen2.5-VL, 224 x 224", "images/s", times, n,
    bench.machine.float / tower_flop(c.vision_config, patches))
  bench.peer("vision", "f32")
end

--- A photograph laid out like tiles, so that it has the detail of a picture of that size, as JPEG.
local function photograph(width, height)
  local tile = image.load "tests/golden/images/in/photo_coffee.jpg"
  local rgb = ffi.new("unsigned char[?]", 3 * width * height)
  for y = 0, height - 1 do
    for x = 0, width - 1 do
      local from = y % tile.height * tile.width + x % tile.width
      ffi.copy(rgb + 3 * (y * width + x), tile.rgb + 3 * from, 3)
    end
  end
  return image.jpeg { width = width, height = height, rgb = rgb }
end

--- A JPEG of 1024 x 768 to the patches of Qwen2-VL.
local function pictures(bench)
  local list, bytes = {}, photograph(1024, 768)
  local path = os.tmpname()
  files.write(path, bytes)
  for i = 1, 4 do list[i] = { bytes = bytes, name = "photograph" } end
  local qwen = require("rllava.processor").new { image_processor_type = "Qwen2VLImageProcessor" }
  local function run()
    local whole, errors = image.decode_all(list)
    if errors[1] then rl.raise(errors[1]) end
    local made = qwen:images(whole)
    for i = 1, #list do image.release(whole[i]) image.release(made[i]) end
  end
  bench.line("pictures, 1024 x 768 JPEG to patches", "images/s",
    bench.limits.measure(run, bench.seconds), #list)
  bench.peer("pictures", path)
  files.remove(path)
end

--- English-like text of that many bytes: 20000 words, the k-th drawn about 1 / k times as often as
--- the first.
local function english(bytes)
  local state, list, out, n = 1, {}, {}, 0
  local function random(most)
    state = (state * 16807) % 2147483647
    return state % most + 1
  end
  local head = { "th", "s", "r", "st", "b", "c", "d", "pl", "m", "n", "w", "" }
  local tail = { "e", "ing", "an", "o", "er", "ion", "at", "y", "al", "it" }
  for k = 1, 20000 do
    list[k] = ""
    for _ = 1, math.min(4, 1 + math.floor(math.log(k) / 3)) do
      list[k] = list[k] .. head[random(#head)] .. tail[random(#tail)]
    end
  end
  while n < bytes do
    local word, mark = list[math.floor(math.exp(random(1e6) / 1e6 * math.log(#list)))], random(40)
    if random(12) == 1 then word = word:gsub("^%l", string.upper) end
    local number = mark == 4 and " " .. random(2000) .. " "
    out[#out + 1] = word .. (number or mark == 1 and ".\n" or mark < 4 and ", " or " ")
    n = n + #out[#out]
  end
  return table.concat(out)
end

local function texts(bench)
  local path = "tests/golden/tokenizers/qwen_small"
  local t, text = require("rllava.tokenizer").load(path), english(bench.quick and 2e5 or 4e6)
  local times = bench.limits.measure(function()
    C.rl_tokenizer_encode(t.handle, text, #text, 0, 0)
  end, bench.seconds)
  bench.line("tokenizer, English-like text, 1 thread", "MB/s", times, #text / 1e6)
  local file = os.tmpname()
  files.write(file, text)
  bench.peer("tokenizer", file)
  files.remove(file)
end

--- Starts of the program; and the whole of a run of one step of the embedded recipe without
--- validation, its checkpoint included.
local function start(bench)
  local function command(what)
    return function() os.execute(bench.program .. " " .. what .. " >/dev/null") end
  end
  bench.line("starts of the program", "1/s",
    bench.limits.measure(command "-e 'return 1'", bench.seconds, C.rl_clock), 1)
  local folder = os.tmpname()
  os.remove(folder)
  local run = command("recipes/grpo_geoqa.lua trainer.max_steps=1 "
    .. "trainer.val_before_train=false data.val=null data.val_apart=null "
    .. "trainer.logger=none trainer.outputs_dir=" .. folder)
  local times = bench.limits.measure(function()
    run()
    files.remove(folder)
  end, bench.seconds, C.rl_clock)
  bench.value("start to the end of a run of one step", "s", times[1], nil, times[2], times[3])
end

--- Runs body while n loops keep the cores busy.
local function beside(bench, n, body)
  local pids = {}
  for i = 1, n do
    local pipe = io.popen("timeout 120 " .. bench.program
      .. " -e 'while true do end' >/dev/null 2>&1 & echo $!")
    pids[i] = pipe:read "*l"
    pipe:close()
  end
  C.rl_sleep(0.2)
  local found = body()
  os.execute("kill " .. table.concat(pids, " "))
  return found
end

--- How much slower a step of the 0.9M shape is beside as many busy loops as there are threads; fair
--- would be 2.
local function busy(bench)
  local folder = shapes.folder(shapes.tiny())
  local trainer, number = shapes.trainer(folder), 0
  local function times()
    return bench.limits.measure(function()
      number = number + 1
      trainer:step(number)
    end, 2 * bench.seconds, C.rl_clock)
  end
  local free = times()
  local shared = beside(bench, C.rl_threads(0), times)
  trainer:close()
  files.remove(folder)
  bench.value("slow-down beside busy loops, 0.9M step", "x", shared[1] / free[1], 2,
    shared[2] / free[3], shared[3] / free[2])
end

return function(bench)
  step(bench)
  memory(bench)
  vision(bench)
  pictures(bench)
  texts(bench)
  start(bench)
  busy(bench)
end
