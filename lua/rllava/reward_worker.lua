--- A worker: one Lua state in a process of its own, which loads rewards and scores what its parent
--- sends.
---
---   from the parent   { rewards = specs, memory }, then
---                     { list = { { response, answer, row } }, batch = boolean }
---   to the parent     { ready = { { name, batch, known } } } or { failed = why };
---                     { at = k } before reward k begins;  { results = { [k] = result of each } }
local ffi = require "ffi"
local rl = require "rllava.ffi"
local pack = require "rllava.pack"
local reward_file = require "rllava.reward_file"
local C, check = rl.C, rl.check

local worker = {}

local function receive()
  local bytes = ffi.new "double[1]"
  local text = C.rl_child_next(bytes)
  if text == nil then return nil end
  return pack.decode(ffi.string(text, bytes[0]))
end

local function send(v)
  local text = pack.encode(v)
  check(C.rl_child_answer(text, #text))
end

local function load_all(specs)
  local rewards, ready = {}, {}
  for k, spec in ipairs(specs) do
    rewards[k] = reward_file.load(spec)
    ready[k] = { name = spec.name, batch = rewards[k].batch ~= nil, known = rewards[k].known }
  end
  return rewards, ready
end

--- A row of its own for each reward: what one writes to it, no other reads.
local function copy(v)
  if type(v) ~= "table" then return v end
  local out = {}
  for k, e in pairs(v) do out[k] = copy(e) end
  return out
end

--- { [k] = results } of the rewards that are called one by one, or, with batch, of the others.
local function score(rewards, request)
  local results = {}
  for k, reward in ipairs(rewards) do
    if (reward.batch ~= nil) == request.batch then
      if #rewards > 1 then send { at = k } end
      if request.batch then results[k] = reward_file.batch(reward, request.list)
      else
        local one = request.list[1]
        local row, answer = copy(one.row), copy(one.answer)
        results[k] = { reward_file.score(reward, one.response, answer, row) }
      end
    end
  end
  return results
end

--- Did a call run out of memory?  The state is full then, and must go.
local function out_of_memory(results, memory)
  local full = false
  for _, list in pairs(results) do
    for _, r in ipairs(list) do
      if r.error and r.error:find "not enough memory" then
        r.error, full = ("took more than %g MiB"):format(memory / 2 ^ 20), true
      end
    end
  end
  return full
end

--- Serves until the parent is gone -> exit status.
function worker.main()
  local setup = receive()
  if not setup then return 0 end
  check(C.rl_child_begin(setup.memory))
  io.stdout:setvbuf "line"
  local ok, rewards, ready = pcall(load_all, setup.rewards)
  send(ok and { ready = ready } or { failed = tostring(rewards) })
  if not ok then return 1 end
  for request in receive do
    local results = score(rewards, request)
    io.stdout:flush()
    local full = out_of_memory(results, setup.memory)
    if full then collectgarbage() end
    send { results = results, last = full }
    if full then return 0 end
  end
  return 0
end

return worker
