--- A worker of the rewards as its parent sees it: a process that loads, answers, or is killed.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local pack = require "rllava.pack"
local C, check = rl.C, rl.check

local Worker = {}
Worker.__index = Worker

local LOADING = 30                                    -- seconds in which the rewards must be loaded

--- Starts a worker for these rewards; it loads them by itself.
function Worker.start(specs, memory)
  local self = setmetatable({ specs = specs, at = 1, deadline = C.rl_clock() + LOADING }, Worker)
  self.process = check(C.rl_process_start "--reward-worker")
  self:send { rewards = specs, memory = memory }
  return self
end

function Worker:send(v)
  local text = pack.encode(v)
  check(C.rl_process_send(self.process, text, #text))
end

--- Waits up to so many seconds for any of the workers.
function Worker.wait(workers, seconds)
  local list = ffi.new("rl_process *[?]", #workers)
  for i, w in ipairs(workers) do list[i - 1] = w.process end
  check(C.rl_process_wait(list, #workers, seconds))
end

function Worker:next()
  local bytes = ffi.new "double[1]"
  local text = C.rl_process_next(self.process, bytes)
  return text ~= nil and pack.decode(ffi.string(text, bytes[0])) or nil
end

--- Waits until the rewards are loaded -> what they are; refuses with the reason why they are not.
function Worker:loaded(seconds)
  local deadline = C.rl_clock() + seconds
  while not self.ready do
    Worker.wait({ self }, 0.1)
    self:poll(math.huge)
    if self.load_error then rl.raise("%s", self.load_error) end
    if C.rl_clock() > deadline then rl.raise("reward: not loaded within %d s", seconds) end
  end
  return self.ready
end

--- Free for a request?
function Worker:idle() return self.ready ~= nil and not self.jobs and not self.dead end

--- Asks for the results of jobs (with a .call each); seconds: for each reward.
function Worker:ask(jobs, is_batch, seconds)
  local list = {}
  for i, job in ipairs(jobs) do list[i] = job.call end
  self.jobs, self.is_batch, self.seconds, self.at = jobs, is_batch, seconds, nil
  self.deadline = C.rl_clock() + seconds
  self:send { list = list, batch = is_batch }
end

--- What it has printed since the last call, or nil.
function Worker:said()
  local bytes = ffi.new "double[1]"
  local text = C.rl_process_said(self.process, bytes)
  return text ~= nil and ffi.string(text, bytes[0]) or nil
end

--- The reward that runs, for messages.
function Worker:where()
  local spec = self.at and self.specs[self.at] or #self.specs == 1 and self.specs[1]
  return spec and spec.name or "reward"
end

function Worker:kill(why)
  self.dead = true
  if not self.ready then self.load_error = why end
  return nil, why
end

local function message(self, m)
  if m.ready then self.ready = m.ready
  elseif m.failed then return self:kill(m.failed)
  elseif m.at then self.at, self.deadline = m.at, C.rl_clock() + self.seconds
  elseif m.results then
    self.dead = self.dead or m.last
    return m.results
  end
end

--- Results of the request among the messages that have come; or nil and why there are none.
function Worker:read()
  while true do
    local m = self:next()
    if not m then return nil end
    local results, why = message(self, m)
    if results or why then return results, why end
  end
end

--- What has come: results of the request; or nil and why there are none (it is dead then); or
--- neither.
function Worker:poll(memory)
  local ended = C.rl_process_ended(self.process, 0)       -- asked first: then all it sent has come
  local results, why = self:read()
  if results or why then return results, why end
  if ended ~= nil then
    return self:kill(("%s: its worker %s"):format(self:where(), ffi.string(ended)))
  end
  if not self.jobs and self.ready then return nil end
  if C.rl_clock() > self.deadline then
    return self:kill(("%s: no result within %g s; its worker was killed"):format(self:where(),
      self.seconds or LOADING))
  end
  if C.rl_process_memory(self.process) > 1.5 * memory + 2 ^ 28 then
    return self:kill(("%s: took more than %g MiB; its worker was killed"):format(self:where(),
      memory / 2 ^ 20))
  end
end

function Worker:close()
  if self.process then C.rl_process_free(self.process) end
  self.process, self.dead = nil, true
end

return Worker
