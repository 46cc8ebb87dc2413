--- The for loop: its filter, its `loop` variable, recursion.
local V = require "rllava.jinja.value"
local ops = require "rllava.jinja.ops"
local show = require "rllava.jinja.show"

local loop = {}

--- The elements that satisfy the loop's condition, one by one.
local function filtered(run, node, over, scope)
  local next = V.iterate(over)
  if not node.test then return next end
  return function()
    while true do
      local e = next()
      if e == nil then return nil end
      V.spend(1)
      local own = run.inner(scope)
      run:assign(node.target, e, own)
      if V.truth(run:eval(node.test, own)) then return e end
    end
  end
end

local State = {}
State.__index = State

--- The next element without taking it, or nil.
function State:peek()
  if self.ahead == nil then self.ahead = self.source() end
  return self.ahead
end

function State:take()
  local e = self:peek()
  if e == nil then return false end
  self.ahead = nil
  self.index, self.before, self.current = self.index + 1, self.current, e
  return true
end

--- How many elements there are in all: the rest is read into a list.
function State:length()
  if not self.total then
    local rest, source, at = { self.ahead }, self.source, 0
    for e in source do
      V.spend(1)
      rest[#rest + 1] = e
    end
    self.total, self.ahead = self.index + #rest, nil
    self.source = function()
      at = at + 1
      return rest[at]
    end
  end
  return self.total
end

local attributes = {
  index = function(s) return s.index end,
  index0 = function(s) return s.index - 1 end,
  first = function(s) return s.index == 1 end,
  last = function(s) return s:peek() == nil end,
  length = function(s) return s:length() end,
  revindex = function(s) return s:length() - s.index + 1 end,
  revindex0 = function(s) return s:length() - s.index end,
  depth = function(s) return s.depth end,
  depth0 = function(s) return s.depth - 1 end,
  previtem = function(s)
    if s.before == nil then return V.undefined "there is no previous item" end
    return s.before
  end,
  nextitem = function(s)
    local e = s:peek()
    if e == nil then return V.undefined "there is no next item" end
    return e
  end,
}

--- loop.cycle(a, b) and loop.changed(x).
local function methods(s)
  return {
    cycle = V.object("method", { call = function(args)
      if #args == 0 then V.fail "loop.cycle: expected values to choose from, found none" end
      return args[(s.index - 1) % #args + 1]
    end }),
    changed = V.object("method", { call = function(args)
      local now = V.tuple(args)
      local same = s.last_value and ops.equal(s.last_value, now)
      s.last_value = now
      return not same
    end }),
  }
end

local function variable(s, again)
  local calls = methods(s)
  return V.object("LoopContext", {
    attr = function(name)
      if attributes[name] then return attributes[name](s) end
      return calls[name]
    end,
    length = function() return s:length() end,
    call = again,
    show = function() return ("<LoopContext %d/%d>"):format(s.index, s:length()) end,
  })
end

--- Runs a loop over a value.  -> nil: a break ends here.
function loop.run(run, node, over, scope, depth)
  local s = setmetatable({ source = filtered(run, node, over, scope), index = 0, depth = depth },
    State)
  local function again(args)
    if not node.recursive then V.fail "expected a recursive loop to call, found a plain one" end
    local outer = run.out
    run.out = { n = 0 }
    loop.run(run, node, args[1] or V.undefined "loop() was called without a value", scope,
      depth + 1)
    local text = table.concat(run.out)
    run.out = outer
    return text
  end
  local this = variable(s, again)
  while s:take() do
    V.spend(1)
    local own = run.inner(scope)
    own.loop = this
    run:assign(node.target, s.current, own)
    if run:exec(node.body, own) == "break" then return end
  end
  if s.index == 0 and node.other then return run:exec(node.other, run.inner(scope)) end
end

return loop
