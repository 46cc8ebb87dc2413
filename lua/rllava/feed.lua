--- What training is fed with: rows in an endless order, each with its prompt.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local data = require "rllava.data"
local guide = require "rllava.guide"
local prompt = require "rllava.prompt"

local Feed = {}
Feed.__index = Feed

--- trainer: policy, data, cfg, prompt_options.  consumed: rows taken so far, the whole state.
function Feed.new(trainer)
  return setmetatable({ trainer = trainer, cfg = trainer.cfg.data, consumed = 0, given = {} }, Feed)
end

--- Gives the pictures of all prompts since the last release back.
function Feed:release()
  for _, p in ipairs(self.given) do prompt.release(p) end
  self.given = {}
end

--- Row number `consumed` of the order: a pure function of seed, epoch and that number -> the row,
--- its index among the rows.
function Feed:next_row()
  local rows, cfg = self.trainer.data, self.cfg
  local epoch = math.floor(self.consumed / rows.n)
  if self.epoch ~= epoch then
    self.order = data.order(cfg.seed, cfg.reshuffle and epoch or 0, rows.n, cfg.shuffle)
    self.epoch = epoch
  end
  local index = self.order[self.consumed % rows.n + 1]
  self.consumed = self.consumed + 1
  return rows:get(index), index
end

--- The next count groups { row, index, prompt, number }; rows that are too long are left out and
--- counted, never cut.
function Feed:groups(count)
  local groups, tries = {}, 0
  while #groups < count do
    local row, index = self:next_row()
    local made = prompt.of_row(self.trainer.policy, row, self.trainer.prompt_options)
    self.given[#self.given + 1] = made
    if prompt.fits(made, row, self.cfg) then
      groups[#groups + 1] = { row = row, index = index, prompt = made, number = self.consumed }
    else
      tries = tries + 1
      if tries >= self.trainer.data.n then
        rl.raise("data.max_prompt_length: expected a row of at most %d tokens, found none",
          self.cfg.max_prompt_length)
      end
    end
  end
  return groups
end

--- A response that stands in the row (data.target_key, or response).
local function demonstration(policy, row, key)
  local ids = guide.target(policy, row, key)
  return { ids = ffi.new("int[?]", #ids, ids), n = #ids, sample = 0, tokens = {}, finish = "stop",
    text = row[key] or row.response }
end

--- The next count groups with the responses that stand in their rows.
function Feed:demonstrations(count)
  local groups = self:groups(count)
  for _, g in ipairs(groups) do
    g.responses = { demonstration(self.trainer.policy, g.row, self.cfg.target_key) }
  end
  return groups
end

return Feed
