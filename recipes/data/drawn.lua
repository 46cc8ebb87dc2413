--- A data set of drawn problems: what the sets of the embedded tasks share.
local random = require "rllava.recipe_file" "data/random.lua"

local drawn = {}

--- task: { size, problem(seed, index, { split }), demonstration(problem[, random, { mixed }]) }, as
--- in geoqa.lua.  o: sizes = { { split, rows }, ... }; clean: demonstrations of careful annotators,
--- which come first; stream: of their random numbers; prompt(problem): the question where left out.
--- -> { splits, rows }: rows(split) -> the number of rows, and the function that draws row i (from
--- 1); nil: no such split.  Rows of @demonstrations have a response, the others a target: the right
--- one.
function drawn.set(task, o)
  local splits, size = {}, {}
  for i, s in ipairs(o.sizes) do splits[i], size[s[1]] = s[1], s[2] end
  local function row(problem, response)
    return { prompt = o.prompt and o.prompt(problem) or problem.question, answer = problem.answer,
      type = problem.type, response = response,
      target = not response and task.demonstration(problem) or nil,
      images = { { rgb = problem.rgb, width = task.size, height = task.size } } }
  end
  local function demonstration(i)
    local problem, r = task.problem(11, i), random.new(o.stream or "demo", i)
    return row(problem, task.demonstration(problem, r, { mixed = i > o.clean }))
  end
  return { splits = splits, rows = function(split)
    if split == "demonstrations" then return size[split], demonstration end
    if not size[split] then return nil end
    return size[split], function(i) return row(task.problem(0, i, { split = split })) end
  end }
end

return drawn
