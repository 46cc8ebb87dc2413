--- What stands around the arithmetic: a whole step of the embedded model, its eyes, pictures, texts, the start, memory.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local C, check = rl.C, rl.check

local function config(...) return require("rllava.recipe").load("recipes/grpo_geoqa.lua", { ... }) end

--- A whole step of GRPO on tiny-vl (sampling, rewards, update), and its memory against the plan.
local function step(bench)
  collectgarbage() collectgarbage()
  local before, resident, number = C.rl_bytes_used(), C.rl_memory_now(), 0
  C.rl_bytes_restart()
  local trainer = require("rllava.train").open(config("data.val=null", "data.val_apart=null",
    "data.prompts_per_step=" .. (bench.quick and 2 or 8)))
  local rows = 0
  local times = bench.limits.measure(function()
    number = number + 1
    rows = trainer:step(number)["perf/total_num_tokens"]
  end, 5 * bench.seconds)
  bench.line("GRPO step of tiny-vl", "steps/s", times, 1)
  bench.line("  its tokens, in the last step", "tokens/s", times, rows)
  local taken = C.rl_bytes_peak() - before
  bench.line("memory of the run, counted", "MiB", { 1, 1, 1, 1 }, taken / 2 ^ 20, trainer.plan.counted / 2 ^ 20)
  bench.line("memory of the run, resident", "MiB", { 1, 1, 1, 1 }, (C.rl_memory_now() - resident) / 2 ^ 20,
    trainer.plan.peak.bytes / 2 ^ 20)
  trainer:close()
end

--- The tower of tiny-vl alone: pictures a second.
local function vision(bench)
  local p = require("rllava.policy").load "tiny-vl"
  local replay = ffi.gc(check(C.rl_replay_new(p.model.tape, "vision_merged", 0, 0, C.RL_FLOAT)), C.rl_replay_free)
  local row = require("rllava.data").open("geoqa-tiny@test", {}):get(1)
  local made, batch, n = require("rllava.prompt").of_row(p, row), ffi.gc(C.rl_batch_new(), C.rl_batch_free), 16
  for _ = 1, n do
    local s = check(C.rl_batch_segment(batch, -1, made.ids, made.n, made.positions, nil, 0, 0))
    check(C.rl_batch_media(batch, s, made.media))
  end
  check(C.rl_batch_bind(batch, replay, 1))
  local times = bench.limits.measure(function() check(C.rl_replay_forward(replay)) end, bench.seconds)
  bench.line("vision encoder of tiny-vl, 16 pictures", "images/s", times, n)
end

--- A drawn picture of 1024 x 768 as JPEG -> patches of Qwen-VL.
local function pictures(bench)
  local image, processor = require "rllava.image", require "rllava.processor"
  local width, height = 1024, 768
  local rgb = ffi.new("unsigned char[?]", 3 * width * height)
  for i = 0, 3 * width * height - 1 do rgb[i] = (i * 7 + math.floor(i / 3072) * 13) % 251 end
  local list, bytes = {}, image.jpeg { width = width, height = height, rgb = rgb }
  for i = 1, 4 do list[i] = { bytes = bytes, name = "picture" } end
  local qwen = processor.new { image_processor_type = "Qwen2VLImageProcessor" }
  local times = bench.limits.measure(function()
    local whole, errors = image.decode_all(list)
    if errors[1] then rl.raise(errors[1]) end
    local made = qwen:images(whole)
    for i = 1, #list do image.release(whole[i]) image.release(made[i]) end
  end, bench.seconds)
  bench.line("pictures, 1024 x 768 JPEG to patches", "images/s", times, #list)
end

local function texts(bench)
  local t = require("rllava.policy").load("tiny-vl").tokenizer
  local text = ("What is the area of a triangle with base 12 and height 7? "):rep(bench.quick and 2000 or 20000)
  local times = bench.limits.measure(function() C.rl_tokenizer_encode(t.handle, text, #text, 0, 0) end, bench.seconds)
  bench.line("tokenizer of tiny-vl, encoding", "MB/s", times, #text / 1e6)
end

local function start(bench)
  local program = require("rllava.files").kind "build/rllava" and "build/rllava" or "rllava"
  local times = bench.limits.measure(function() os.execute(program .. " -e 'return 1' >/dev/null") end, bench.seconds)
  bench.line("starts of the program", "1/s", times, 1)
  times = bench.limits.measure(function() require("rllava.policy").load "tiny-vl" end, bench.seconds)
  bench.line("loads of tiny-vl", "1/s", times, 1)
end

return function(bench)
  step(bench)
  vision(bench)
  pictures(bench)
  texts(bench)
  start(bench)
end
