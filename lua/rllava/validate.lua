--- Validation: responses to held-out rows, greedy and as training samples, scored by the same rewards.
--- Its random numbers are its own: validating changes no bit of training.
local Batch = require "rllava.batch"
local metrics = require "rllava.metrics"
local prompt = require "rllava.prompt"

local validate = {}

local CHUNK = 256                                       -- rows whose pictures are in memory at once
local STREAM = 2 ^ 30                                   -- far from the streams of training

--- One set under several decodings: ways = { { suffix, n, temperature, ... } } -> { [suffix] = Batch }.
function validate.set(trainer, rows, ways)
  local groups = {}
  for w in ipairs(ways) do groups[w] = {} end
  for from = 1, rows.n, CHUNK do
    local asked = {}
    for i = from, math.min(rows.n, from + CHUNK - 1) do
      local row = rows:get(i)
      local made = prompt.of_row(trainer.policy, row, trainer.prompt_options)
      for w, way in ipairs(ways) do
        local g = { row = row, prompt = made }
        way.stream, way.seed = STREAM + i, trainer.seed
        asked[trainer.rollout:submit(made, way)] = g
        table.insert(groups[w], g)
      end
    end
    local done = trainer.rollout:drain(function(r) trainer:hand_out(r, asked[r.request].row) end)
    for number, g in pairs(asked) do g.responses, g.prompt = done[number], { n = g.prompt.n, text = g.prompt.text } end
  end
  local out = {}
  for w, way in ipairs(ways) do
    out[way.suffix] = Batch.new(groups[w])
    trainer:collect(out[way.suffix])
  end
  return out
end

--- Every set of the run under every decoding -> metrics, the plain batch to show; nil where there is no set.
function validate.all(trainer)
  local found, shown = {}, nil
  for _, set in ipairs(trainer.val_sets) do
    for suffix, batch in pairs(validate.set(trainer, set.rows, trainer.val_ways)) do
      for name, v in pairs(metrics.of_validation(batch, set.suffix .. suffix)) do found[name] = v end
      if set.suffix .. suffix == "" then shown = batch end
    end
  end
  if #trainer.val_sets == 0 then return nil end
  return found, shown
end

return validate
