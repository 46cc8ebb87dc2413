--- The executable as a user meets it: -e, files, help, errors, the console through a pipe.
local T = require "check"
local repl = require "rllava.repl"
local help = require "rllava.help"

local program = arg[0]

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

--- What the program prints (both streams) and its exit status; input: lines for it to read.
local function run(args, input)
  local file
  local line = program .. " " .. args
  if input then
    file = os.tmpname()
    local f = assert(io.open(file, "w"))
    f:write(input)
    f:close()
    line = line .. " <" .. quote(file)
  end
  local p = io.popen("{ " .. line .. "; } 2>&1; echo \"=$?\"")
  local text = p:read "*a"
  p:close()
  if file then os.remove(file) end
  local out, status = text:match "^(.*)=(%d+)\n$"
  return out, tonumber(status)
end

--- What the console prints for these lines.
local function console(...) return (run("", table.concat({ ... }, "\n") .. "\n")) end

local function holds(text, part)
  if not text:find(part, 1, true) then error(("expected %q in %q"):format(part, text), 2) end
end

T.test("-e runs a line; an error names its place and ends with status 1", function()
  local out, status = run("-e 'print(1 + 1)'")
  T.equal(out, "2\n")
  T.equal(status, 0)
  out, status = run("-e 'local x = nil + 1'")
  holds(out, "rllava: command line:1: attempt to perform arithmetic")
  T.equal(status, 1)
  holds(run("-e 'x ='"), "command line:1: unexpected symbol")
  holds(run("-e"), "-e: expected a line of Lua, found nothing")
end)

T.test("a Lua file gets its arguments and gives its status", function()
  local path = os.tmpname() .. ".lua"
  local f = assert(io.open(path, "w"))
  f:write "print(select('#', ...), ...)\nif ... == 'bad' then error 'boom' end\nreturn 3\n"
  f:close()
  local out, status = run(quote(path) .. " a 'b c'")
  T.equal(out, "2\ta\tb c\n")
  T.equal(status, 3)
  out, status = run(quote(path) .. " bad")
  holds(out, path .. ":2: boom")
  T.equal(status, 1)
  os.remove(path)
end)

T.test("an unknown word is refused with the nearest command", function()
  local out, status = run "haelth"
  holds(out, "haelth: expected a file or a command, found neither; the nearest command is 'health'")
  T.equal(status, 1)
  holds(run "absent.lua", "absent.lua: expected a Lua file, found nothing")
end)

T.test("--help lists every command with what it does", function()
  local out = run "--help"
  for _, part in ipairs { "usage: rllava", "-e CODE", "keys [WORD]", "health",
    "try-reward RECIPE" } do
    holds(out, part)
  end
  holds(run "--version", "rllava " .. require("rllava.cli").version)
end)

T.test("health says what there is", function()
  local out, status = run "health"
  for _, part in ipairs { "processor ", "kernels ", "memory ", "DuckDB ", "cache " } do
    holds(out, part)
  end
  T.equal(status, 0)
end)

T.test("the console prints results, keeps names, goes on after errors", function()
  local out = console("1 + 1", "local x = 20", "x + 1, nil", "error 'boom'", "nil + 1", ")",
    "'end'")
  holds(out, "2\n21\nnil\n")
  holds(out, "error: line:1: boom")
  holds(out, "error: line:1: attempt to perform arithmetic on a nil value")
  holds(out, "error: line:1: unexpected symbol near ')'")
  T.equal(out:sub(-4), "end\n")
end)

T.test("the console reads on until a statement is whole", function()
  T.equal(console("function f(a)", "  return 2 * a", "end", "f(4)", "= f(5)"), "8\n10\n")
  T.equal(console("t = {", "1,", "2 }", "t"), "{ 1, 2 }\n")
end)

T.test("the console prints tables, tensors and policies readably", function()
  T.equal(console "{ b = { 1, 'x' }, a = true, 3 }", '{ 3, a = true, b = { 1, "x" } }\n')
  T.equal(console "rl.tensor { { 1, 2 }, { 3, 4 } }", "tensor [2, 2]\n  [1, 2]\n  [3, 4]\n")
  local out = console("t = {}", "t.t = t", "t")
  holds(out, "as above")
end)

T.test("lines are expressions, statements, unfinished or wrong", function()
  local env = {}
  T.equal(repl.compile("1 + 1", env)(), 2)
  repl.compile("local a, b = 1, 2", env)()
  T.equal({ env.a, env.b }, { 1, 2 })
  local chunk, message, more = repl.compile("for i = 1, 2 do", env)
  T.equal({ chunk == nil, more }, { true, true })
  chunk, message, more = repl.compile("for for", env)
  T.equal({ chunk == nil, more, message:find "^line:1: " ~= nil }, { true, false, true })
end)

T.test("names are completed: globals, modules, methods of tensors", function()
  local env = setmetatable({ rl = require "rllava", xy = require("rllava").tensor { 1 } },
    { __index = _G })
  T.equal(repl.complete("strin", env), { "string" })
  T.equal(repl.complete("string.gsu", env), { "string.gsub" })
  T.equal(repl.complete("rl.policy.loa", env), { "rl.policy.load" })
  T.equal(repl.complete("rl.tokeniz", env), { "rl.tokenizer" })
  T.equal(repl.complete("xy:rmsn", env), { "xy:rmsnorm" })
  T.equal(repl.complete("nothing.here.x", env), {})
end)

T.test("help finds C functions, methods, modules and Lua functions", function()
  holds(help.about "rmsnorm", "rl_tensor *rl_rmsnorm(")
  holds(help.about "rl_rmsnorm", "arXiv:1910.07467")
  holds(help.about "policy.load", "rllava.policy: policy.load(")
  holds(help.about "rl.json.decode", "text -> value")
  holds(help.about "grpo", "rllava.algo.grpo")
  holds(help.about "Policy:grad_norm", "The 2-norm of all gradients")
  holds(help.of(require("rllava.json").encode), "value -> text")
  holds(help.of(require "rllava.json"), "rllava.json\n")
  T.equal(help.about "nosuchname", nil)
  holds(help.overview(), "jinja")
end)

T.test("every module of the house opens with a sentence", function()
  for _, path in ipairs(require("rllava.embedded").names()) do
    if path:find "^lua/.*%.lua$" and not help.opening(path) then
      error(path .. ": no opening comment")
    end
  end
end)

T.test("a model by hand: log-probabilities, a loss, its gradient", function()
  local probe, tiny = require "rllava.probe", require "tiny"
  local p = tiny.text "qwen2"
  local prompt = tiny.prompt(p, tiny.random(3), 9)
  local s = probe.score(p, prompt, { 5, 7, 11 })
  T.equal(s.logp:shape(), { 3 })
  local name, h = "model.norm.weight", 1e-2
  s:backward(-s.logp:mean())
  local g = probe.gradient(p, name):totable()[1]
  local numbers = probe.numbers(p, name)
  local function loss_at(step)
    numbers:data()[0] = numbers:data()[0] + step
    local w = p.model.params[name].tensor
    require("rllava.ffi").check(require("rllava.ffi").C.rl_param_set(w, numbers:data()))
    return -probe.score(p, prompt, { 5, 7, 11 }).logp:mean():item()
  end
  local high, low = loss_at(h), loss_at(-2 * h)
  T.near(g, (high - low) / (2 * h), 1e-3)
  T.raises("one backward pass", function() s:backward(s.logp:mean()) end)
  T.raises("the nearest is 'model.norm.weight'", function() probe.numbers(p, "model.norm.wait") end)
  holds(tostring(p), "model.layers.{0..1}.mlp.down_proj.weight")
end)
