--- Rewards in worker processes, beside generation: whatever a reward does, it costs its own call
--- and no other.
---
---   local pool = reward.open({ { "rewards/math.lua", 0.9 }, { "rewards/format.lua", 0.1 } }, cfg)
---   pool:submit(id, response, answer, row, lot)      -- lot: what a batch reward sees at once
---   pool:collect(seconds)  -> list of { id, result }, as they come
---   pool:finish()          -> { [id] = result } of all that was submitted and not collected
---   result = { overall, parts = { name = number }, remark } or { error = text }
---
--- overall = sum of weight * overall.  With several rewards each one's overall is a part under its
--- file's name; parts of a file keep their names, with the file's before them where another has
--- that name.
local rl = require "rllava.ffi"
local key_value = require "rllava.key_value"
local reward_spec = require "rllava.reward_spec"
local Worker = require "rllava.reward_process"
local C = rl.C

local reward = {}
local Pool = {}
Pool.__index = Pool

local function worker_count(options)
  if (options.workers or 0) > 0 then return math.min(64, options.workers) end
  return math.min(8, C.rl_threads(0))
end

--- given: as `reward` in a recipe.  cfg: a resolved recipe (its reward_options and recipe), or
--- reward_options alone.  Starts the workers; refuses rewards that cannot be loaded, with the
--- reason.
function reward.open(given, cfg)
  local options = cfg and (cfg.reward_options or cfg) or {}
  local self = setmetatable({ options = options, jobs = {}, first = 1, last = 0, open = 0,
    submitted = 0, done = {},
    failed = {}, counts = { calls = 0, failures = 0, restarts = 0 }, said = {}, lots = {} }, Pool)
  self.timeout, self.memory = options.timeout or 5, (options.memory or 1024) * 2 ^ 20
  self.specs = reward_spec.list(given, options, cfg and cfg.recipe)
  self.workers = { Worker.start(self.specs, self.memory) }
  local ready = self.workers[1]:loaded(30)
  reward_spec.check_shared(options, ready)
  for k, r in ipairs(ready) do
    self.specs[k].batch = r.batch
    if r.batch then self.has_batch = true else self.has_score = true end
  end
  for i = 2, self.has_score and worker_count(options) or 1 do
    self.workers[i] = Worker.start(self.specs, self.memory)
  end
  return self
end

--- ---- work ----

local LONG = 2 ^ 20                                    -- bytes of a text that no reward reads

--- Rows as rewards see them: pictures and videos only where they are paths.
local function visible(row)
  local out = {}
  for k, v in pairs(row or {}) do
    if k ~= "images" and k ~= "videos" then
      if type(v) ~= "string" or #v < LONG then out[k] = v end
    elseif type(v) == "table" then
      out[k] = {}
      for i, e in ipairs(v) do
        local path = type(e) == "table" and e.path or e
        if type(path) == "string" and #path < 4096 and not path:find "%c" then out[k][i] = path end
      end
    end
  end
  return out
end

--- Adds a job to its lot, which waits for finish.
function Pool:hold(job, name)
  for _, lot in ipairs(self.lots) do
    if lot.name == name then
      lot[#lot + 1] = job
      return
    end
  end
  self.lots[#self.lots + 1] = { job, name = name }
end

--- Queues a response; id: anything that tells it from others; lot (or nil): batch rewards see the
--- responses of a lot together, and apart from those of other lots.
function Pool:submit(id, response, answer, row, lot)
  self.submitted = self.submitted + 1
  local job = { id = id, row = row, number = self.submitted, results = {},
    call = { response = response, answer = answer, row = visible(row) } }
  self.open = self.open + 1
  if self.has_batch then self:hold(job, lot) end
  if self.has_score then
    self.last = self.last + 1
    self.jobs[self.last] = job
    self:pump(0)
  end
end

--- One result from those of each reward.
local function combine(specs, results)
  local out, taken = { overall = 0, parts = {} }, {}
  for k, spec in ipairs(specs) do
    local r = results[k]
    if r.error then return { error = r.named and r.error or spec.name .. ": " .. r.error } end
    if #specs > 1 then out.parts[spec.name], taken[spec.name] = r.overall, true end
  end
  for k, spec in ipairs(specs) do
    local r = results[k]
    out.overall = out.overall + spec.weight * r.overall
    out.remark = out.remark or r.remark
    for _, name in ipairs(key_value.sorted_keys(r.parts)) do
      local known = name == spec.name and r.parts[name] == r.overall and #specs > 1
      if not known then
        local as = taken[name] and spec.name .. "_" .. name or name
        out.parts[as], taken[as] = r.parts[name], true
      end
    end
  end
  return out
end

--- A job whose rewards have all answered is done.
function Pool:settle(job)
  for k in ipairs(self.specs) do if not job.results[k] then return end end
  local result = combine(self.specs, job.results)
  self.open, self.counts.calls = self.open - 1, self.counts.calls + 1
  if result.error then
    self.counts.failures = self.counts.failures + 1
    table.insert(self.failed, { id = job.id, row = job.row, error = result.error,
      number = job.number })
  end
  table.insert(self.done, { job.id, result, job.number })
end

--- Gives results[k][i] to the jobs of a worker's request; an error goes to every reward that has
--- not answered.
function Pool:take(jobs, is_batch, results, why)
  for i, job in ipairs(jobs) do
    for k, spec in ipairs(self.specs) do
      if spec.batch == is_batch and not job.results[k] then
        job.results[k] = results and results[k] and results[k][i]
          or { error = why or "no result", named = why }
      end
    end
    self:settle(job)
  end
end

function Pool:assign(worker)
  local job = self.jobs[self.first]
  if job then
    self.jobs[self.first], self.first = nil, self.first + 1
    worker:ask({ job }, false, self.timeout)
  elseif self.batch_due and #self.lots > 0 then
    local jobs = table.remove(self.lots, 1)
    worker:ask(jobs, true, self.timeout * #jobs)
  end
end

--- What a reward prints is no result; it is passed on, with the reward's name, once a text.
function Pool:pass_on(worker)
  for line in (worker:said() or ""):gmatch "[^\n]+" do
    if not self.said[line] then
      self.said[line], self.said.n = true, (self.said.n or 0) + 1
      if self.said.n <= 20 then io.stderr:write("reward prints: ", line:sub(1, 200), "\n") end
    end
  end
end

--- Hands out work, waits up to so many seconds for an answer, kills what runs too long or too
--- large.
function Pool:pump(seconds)
  for _, w in ipairs(self.workers) do if w:idle() then self:assign(w) end end
  Worker.wait(self.workers, seconds)
  for i, w in ipairs(self.workers) do
    self:pass_on(w)
    local answer, why = w:poll(self.memory)
    if w.jobs and (answer or why) then
      self:take(w.jobs, w.is_batch, answer, why)
      w.jobs = nil
    end
    if w.dead and not w.ready then rl.raise("%s", w.load_error) end
    if w.dead then
      self.counts.restarts = self.counts.restarts + 1
      w:close()
      self.workers[i] = Worker.start(self.specs, self.memory)
      w = self.workers[i]
    end
    if w:idle() then self:assign(w) end
  end
end

--- What has been scored since the last time: list of { id, result }; waits up to so many seconds
--- for the first.
function Pool:collect(seconds)
  local deadline = C.rl_clock() + (seconds or 0)
  self:pump(0)
  while #self.done == 0 and self.open > 0 do
    local left = deadline - C.rl_clock()
    if left <= 0 then break end
    self:pump(math.min(left, 0.1))
  end
  local done = self.done
  self.done = {}
  return done
end

--- Waits for everything -> { [id] = result }.  Refuses where more than reward_options.max_failures
--- of the calls since the last time failed.
function Pool:finish()
  local out, n, failures, first = {}, 0, 0, nil
  self.batch_due = true
  while self.open > 0 or #self.done > 0 do
    for _, d in ipairs(self:collect(1)) do
      out[d[1]], n = d[2], n + 1
      if d[2].error then
        failures = failures + 1
        if not first or d[3] < first[3] then first = d end
      end
    end
  end
  self.batch_due = false
  local limit = self.options.max_failures or 1
  if failures > limit * n then
    rl.raise("reward: %d of %d calls failed, more than reward_options.max_failures = %g; "
      .. "the first: %s", failures, n, limit, first[2].error)
  end
  return out
end

--- The calls that failed since the last time, in the order of their submission: list of { id, row,
--- error }.
function Pool:take_failures()
  local failed = self.failed
  table.sort(failed, function(a, b) return a.number < b.number end)
  self.failed = {}
  return failed
end

function Pool:close()
  for _, w in ipairs(self.workers) do w:close() end
  self.workers = {}
end

return reward
