--- Validation: responses to held-out rows, greedy and as training samples, scored by the same
--- rewards. Its random numbers are its own: validating changes no bit of training.
local Batch = require "rllava.batch"
local metrics = require "rllava.metrics"
local prompt = require "rllava.prompt"
local rl = require "rllava.ffi"

local validate = {}

local CHUNK = 256                           -- rows in flight at once where no plan says fewer
local STREAM = 2 ^ 30                                   -- far from the streams of training

--- Asks for the responses to rows from .. to and waits for them.
local function chunk(trainer, rows, ways, from, to, groups)
  local asked = {}
  for i = from, to do
    local row = rows:get(i)
    local made = prompt.of_row(trainer.policy, row, trainer.prompt_options)
    for w, way in ipairs(prompt.fits(made, row, trainer.cfg.data) and ways or {}) do
      local g = { row = row, prompt = made }
      way.stream, way.seed = STREAM + i, trainer.seed
      asked[trainer.rollout:submit(made, way)] = { g = g, way = w }
      table.insert(groups[w], g)
    end
  end
  local done = trainer.rollout:drain(function(r)
    local one = asked[r.request]
    trainer:hand_out(r, one.g.row, one.way)
  end)
  for number, one in pairs(asked) do
    one.g.responses = done[number]
    prompt.release(one.g.prompt)
  end
end

--- One set under several decodings: ways = { { suffix, n, temperature, ... } } -> list of batches.
function validate.set(trainer, rows, ways)
  local groups, out = {}, {}
  for w in ipairs(ways) do groups[w] = {} end
  local given = trainer.cfg.data.val_batch_size
  local size = trainer.plan and trainer.plan.worst.val_prompts
    or given > 0 and math.min(CHUNK, given) or CHUNK
  for from = 1, rows.n, size do
    chunk(trainer, rows, ways, from, math.min(rows.n, from + size - 1), groups)
  end
  if rows.n > 0 and #groups[1] == 0 then
    rl.raise("data.max_prompt_length: expected a row of validation of at most %d tokens, "
      .. "found none", trainer.cfg.data.max_prompt_length)
  end
  for w in ipairs(ways) do
    out[w] = Batch.new(groups[w])
    trainer:collect(out[w])
  end
  return out
end

--- Every set of the run under every decoding -> metrics, list of { suffix, batch }; nil where there
--- is no set.
function validate.each(trainer)
  if #trainer.val_sets == 0 then return nil end
  local found, list = {}, {}
  for _, set in ipairs(trainer.val_sets) do
    for w, batch in ipairs(validate.set(trainer, set.rows, trainer.val_ways)) do
      local suffix = set.suffix .. trainer.val_ways[w].suffix
      for name, v in pairs(metrics.of_validation(batch, suffix)) do found[name] = v end
      list[#list + 1] = { suffix = suffix, batch = batch }
    end
  end
  return found, list
end

--- The same -> metrics, the plain batch to show; nil where there is no set.
function validate.all(trainer)
  local found, list = validate.each(trainer)
  for _, one in ipairs(list or {}) do
    if one.suffix == "" then return found, one.batch end
  end
  return found
end

return validate
