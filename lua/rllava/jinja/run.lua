--- Walks a template's tree and writes its text.
local V = require "rllava.jinja.value"
local show = require "rllava.jinja.show"
local ops = require "rllava.jinja.ops"
local get = require "rllava.jinja.get"
local call = require "rllava.jinja.call"
local unicode = require "rllava.unicode"

local Run = {}
Run.__index = Run

local deepest = 900                        -- nested steps, with the calls of macros and loops

-- A scope is a table of names whose metatable leads to the scope around it.
local function inner(scope) return setmetatable({}, { __index = scope }) end

local eval = {}                            -- expression kind -> function(run, node, scope)
local exec = {}                            -- statement kind -> the same; may give "break"

function Run:eval(node, scope)
  local line, depth = self.position.line, self.depth
  if depth >= deepest then V.fail("expected at most %d nested steps, found more", deepest) end
  V.spend(1)
  self.position.line, self.depth = node.line, depth + 1
  local v = eval[node.kind](self, node, scope)
  self.position.line, self.depth = line, depth
  return v
end

function Run:exec(body, scope)
  local depth = self.depth
  if depth >= deepest then V.fail("expected at most %d nested steps, found more", deepest) end
  self.depth = depth + 1
  local stop
  for i = 1, #body do
    local node = body[i]
    V.spend(1)
    self.position.line = node.line
    stop = exec[node.kind](self, node, scope)
    if stop then break end
  end
  self.depth = depth
  return stop
end

--- Writes to the innermost output.
function Run:write(text)
  local out = self.out
  V.spend_text(#text)
  out.n = out.n + 1
  out[out.n] = text
end

--- What body writes, as text.
function Run:capture(body, scope)
  local outer = self.out
  self.out = { n = 0 }
  self:exec(body, scope)
  local text = table.concat(self.out)
  self.out = outer
  V.spend_text(#text)
  return text
end

function eval.const(_, node) return node.value end

function eval.name(run, node, scope)
  local v = scope[node.name]
  if v ~= nil then return v end
  return V.undefined("'%s' is not defined", node.name)
end

function eval.list(run, node, scope)
  local items = {}
  for i, item in ipairs(node.items) do items[i] = run:eval(item, scope) end
  return V.list(items)
end

function eval.tuple(run, node, scope)
  local items = {}
  for i, item in ipairs(node.items) do items[i] = run:eval(item, scope) end
  return V.tuple(items)
end

function eval.dict(run, node, scope)
  local keys, values = {}, {}
  for i, key in ipairs(node.keys) do
    keys[i] = run:eval(key, scope)
    values[i] = run:eval(node.values[i], scope)
  end
  return V.dict(keys, values)
end

function eval.cond(run, node, scope)
  if V.truth(run:eval(node.test, scope)) then return run:eval(node.yes, scope) end
  if node.no then return run:eval(node.no, scope) end
  return V.undefined "the condition is false and has no 'else'"
end

eval["or"] = function(run, node, scope)
  local a = run:eval(node.a, scope)
  if V.truth(a) then return a end
  return run:eval(node.b, scope)
end

eval["and"] = function(run, node, scope)
  local a = run:eval(node.a, scope)
  if not V.truth(a) then return a end
  return run:eval(node.b, scope)
end

eval["not"] = function(run, node, scope) return not V.truth(run:eval(node.a, scope)) end

local compare = {
  ["=="] = ops.equal,
  ["!="] = function(a, b) return not ops.equal(a, b) end,
  ["<"] = ops.less,
  [">"] = function(a, b) return ops.less(b, a) end,
  ["<="] = function(a, b) return ops.less(a, b) or ops.equal(a, b) end,
  [">="] = function(a, b) return ops.less(b, a) or ops.equal(a, b) end,
  ["in"] = ops.contains,
  ["not in"] = function(a, b) return not ops.contains(a, b) end,
}

function eval.compare(run, node, scope)
  local a = run:eval(node.first, scope)
  for _, step in ipairs(node.rest) do
    local b = run:eval(step.value, scope)
    if not compare[step.op](a, b) then return false end
    a = b
  end
  return true
end

function eval.binary(run, node, scope)
  local a = run:eval(node.a, scope)
  return ops.binary(node.op, a, run:eval(node.b, scope))
end

function eval.negative(run, node, scope) return ops.negative(run:eval(node.a, scope)) end
function eval.positive(run, node, scope) return ops.binary("+", 0, run:eval(node.a, scope)) end

function eval.concat(run, node, scope)
  local parts = {}
  for i, part in ipairs(node.parts) do
    parts[i] = show.str(run:eval(part, scope))
    V.spend_text(#parts[i])
  end
  return table.concat(parts)
end

function eval.attr(run, node, scope) return get.attr(run:eval(node.of, scope), node.name) end

function eval.item(run, node, scope)
  local of = run:eval(node.of, scope)
  return get.item(of, run:eval(node.key, scope))
end

function eval.slice(run, node, scope)
  local of, at = run:eval(node.of, scope), {}
  for _, name in ipairs { "start", "stop", "step" } do
    at[name] = node[name] and run:eval(node[name], scope) or V.none
  end
  return ops.slice(of, at.start, at.stop, at.step ~= V.none and at.step or 1)
end

--- Arguments as a list and a dict of named ones (nil if there are none).
function Run:arguments(nodes, scope)
  local args, kwargs = {}, nil
  for _, node in ipairs(nodes) do
    if node.spread then
      for _, v in ipairs(V.items(self:eval(node.spread, scope))) do args[#args + 1] = v end
    elseif node.spread_dict then
      local d = self:eval(node.spread_dict, scope)
      if not V.is_dict(d) then V.fail("**: expected a dict, found %s", V.type(d)) end
      kwargs = kwargs or V.dict()
      for _, key in ipairs(V.keys(d)) do V.put(kwargs, key, V.get(d, key)) end
    elseif node.name then
      kwargs = kwargs or V.dict()
      V.put(kwargs, node.name, self:eval(node.value, scope))
    else args[#args + 1] = self:eval(node.value, scope) end
  end
  return args, kwargs
end

function eval.call(run, node, scope)
  local f = run:eval(node.f, scope)
  local args, kwargs = run:arguments(node.args, scope)
  run.position.line = node.line
  return call.value(f, args, kwargs)
end

function eval.filter(run, node, scope)
  return run:filter(node, run:eval(node.of, scope), scope)
end

--- v through a filter node, and first through those before it in the chain.
function Run:filter(node, v, scope)
  local f = self.known.filters[node.name]
  if not f then V.fail("expected a filter that is known, found '%s'", node.name) end
  local args, kwargs = self:arguments(node.args, scope)
  return f(v, args, kwargs, self)
end

--- Text through the filters of a block: {% set x | upper %}.
function Run:filter_block(node, text, scope)
  if not node then return text end
  if node.of then text = self:filter_block(node.of, text, scope) end
  return self:filter(node, text, scope)
end

function eval.test(run, node, scope)
  local f = run.known.tests[node.name]
  local v = run:eval(node.of, scope)
  if not f then V.fail("expected a test that is known, found '%s'", node.name) end
  local args, kwargs = run:arguments(node.args, scope)
  return f(v, args, kwargs, run)
end

--- Binds a target to a value.
function Run:assign(target, v, scope)
  if target.kind == "name" then scope[target.name] = v
  elseif target.kind == "namespace" then
    local ns = scope[target.name]
    if ns == nil or not V.is_object(ns) or not ns.put then
      V.fail("set: expected %s to be a namespace", target.name)
    end
    ns.put(target.attr, v)
  else
    local items = V.items(v)
    if #items ~= #target.items then
      V.fail("expected %d values to unpack, found %d", #target.items, #items)
    end
    for i, part in ipairs(target.items) do self:assign(part, items[i], scope) end
  end
end

function exec.data(run, node) run:write(node.text) end

function exec.output(run, node, scope) run:write(show.str(run:eval(node.value, scope))) end

function exec.print(run, node, scope)
  for _, value in ipairs(node.values) do run:write(show.str(run:eval(value, scope))) end
end

exec["if"] = function(run, node, scope)
  for _, branch in ipairs(node.branches) do
    if V.truth(run:eval(branch.test, scope)) then return run:exec(branch.body, scope) end
  end
  if node.other then return run:exec(node.other, scope) end
end

function exec.set(run, node, scope)
  if node.value then return run:assign(node.target, run:eval(node.value, scope), scope) end
  local text = run:capture(node.body, inner(scope))
  run:assign(node.target, run:filter_block(node.filter, text, scope), scope)
end

function exec.with(run, node, scope)
  local values, own = {}, inner(scope)
  for i, value in ipairs(node.values) do values[i] = run:eval(value, scope) end
  for i, target in ipairs(node.targets) do run:assign(target, values[i], own) end
  return run:exec(node.body, own)
end

function exec.filter(run, node, scope)
  run:write(show.str(run:filter_block(node.filter, run:capture(node.body, inner(scope)), scope)))
end

function exec.block(run, node) run:exec(node.body, inner(run.top)) end

exec["break"] = function() return "break" end
exec["continue"] = function() return "continue" end

--- The text of an answer that is trained on: where it stands is kept, in characters of the output.
function exec.generation(run, node, scope)
  local text = run:capture(node.body, inner(scope))
  local from = unicode.len(table.concat(run.root))
  run.spans[#run.spans + 1] = { from, from + unicode.len(text) }
  run:write(text)
end

exec["for"] = function(run, node, scope)
  return require("rllava.jinja.loop").run(run, node, run:eval(node.over, scope), scope, 1)
end

function exec.macro(run, node, scope)
  scope[node.name] = require("rllava.jinja.macro").new(run, node, scope)
end

function exec.call(run, node, scope)
  local f = run:eval(node.call.f, scope)
  local args, kwargs = run:arguments(node.call.args, scope)
  kwargs = kwargs or V.dict()
  V.put(kwargs, "caller", require("rllava.jinja.macro").new(run, node, scope))
  run:write(show.str(call.value(f, args, kwargs)))
end

Run.inner = inner
return Run
