local T = require "check"
local ffi = require "ffi"
local C = require("rllava.ffi").C
local files = require "rllava.files"
local keys = require "rllava.keys"
local pack = require "rllava.pack"
local recipe = require "rllava.recipe"
local reward = require "rllava.reward"

local scratch = os.tmpname()
os.remove(scratch)
files.make_folder(scratch)

local slow = os.getenv "RLLAVA_TESTS" == "sanitized" and 4 or 1

--- A pool over files given as text: { name = code } in the order of names.
local function pool(codes, options, weights)
  local list = {}
  for i, code in ipairs(codes) do
    files.write(("%s/r%d.lua"):format(scratch, i), code)
    list[i] = { ("%s/r%d.lua"):format(scratch, i), weights and weights[i] or 1 }
  end
  local o = keys.resolve({ reward_options = options }).reward_options
  o.workers = o.workers > 0 and o.workers or 2
  o.max_failures = options and options.max_failures or 1
  o.timeout = options and options.timeout and options.timeout * slow or 20
  return reward.open(list, o)
end

--- Results of calls { response, answer, row }, in order.
local function score(p, calls)
  for i, c in ipairs(calls) do p:submit(i, c[1], c[2], c[3]) end
  return p:finish()
end

T.test("pack: values come back as they were, to the bit", function()
  local v = { 1, 0.1 + 0.2, -0.0, "a\0\255\n", true, false, { x = { y = {} }, [7] = 1 / 3 } }
  T.equal(pack.decode(pack.encode(v)), v)
  T.equal(1 / pack.decode(pack.encode(-0.0)), -math.huge)
  T.equal(pack.decode(pack.encode { a = print, [print] = 2, [{}] = 3, b = 1 }), { b = 1 })
  local deep = {}
  deep.deep = deep
  T.raises("at most 100 deep", function() pack.encode(deep) end)
end)

T.test("rewards see response, answer and row, and give a number or scores by name", function()
  local p = pool { [[return function(response, answer, row)
    if response == "plain" then return 0.25, "fine" end
    return { overall = row.weight * #response, right = response == answer and 1 or 0 }
  end]] }
  local r = score(p, { { "plain", "x", {} }, { "abc", "abc", { weight = 2 } } })
  T.equal(r[1], { overall = 0.25, parts = {}, remark = "fine" })
  T.equal(r[2], { overall = 6, parts = { right = 1 } })
  p:close()
end)

T.test("several rewards: a weighted sum, parts under their own names and their files'", function()
  local p = pool({ "return function() return { overall = 0.5, accuracy = 1, r2 = 0.125 } end",
    "return function() return { overall = 1, r2 = 1, accuracy = 0.75 } end" }, nil, { 0.9, 0.1 })
  local r = score(p, { { "", "" } })[1]
  T.near(r.overall, 0.55, 1e-12)
  T.equal(r.parts, { r1 = 0.5, r2 = 1, accuracy = 1, r1_r2 = 0.125, r2_accuracy = 0.75 })
  p:close()
end)

T.test("what a reward writes to its row or answer, no other reads", function()
  local p = pool({ [[return function(_, answer, row)
    row.list[1], row.new, answer.x = 9, 1, 9
    return 1 end]],
    "return function(_, answer, row) return { overall = row.list[1], x = answer.x, "
      .. "new = row.new or 0 } end" }, nil, { 1, 1 })
  local r = score(p, { { "", { x = 2 }, { list = { 3 } } }, { "", { x = 4 }, { list = { 5 } } } })
  T.equal({ r[1].overall, r[1].parts.x, r[1].parts.new, r[2].overall }, { 4, 2, 0, 6 })
  p:close()
end)

T.test("options: defaults, then the recipe's, checked by name", function()
  local code = [[return { defaults = { scale = 2, compat = false }, score = function(_, _, _, o)
    return { overall = o.scale, compat = o.compat and 1 or 0 } end }]]
  files.write(scratch .. "/o.lua", code)
  local function open(entry, options)
    options.workers = 1
    return reward.open(entry, options)
  end
  for _, case in ipairs { { { scratch .. "/o.lua" }, {}, 2, 0 },
    { { scratch .. "/o.lua", 1, scale = 3 }, {}, 3, 0 },
    { scratch .. "/o.lua", { args = { scale = 4 }, compat = true }, 4, 1 } } do
    local p = open(case[1], case[2])
    local r = score(p, { { "", "" } })[1]
    T.equal({ r.overall, r.parts.compat }, { case[3], case[4] })
    p:close()
  end
  T.raises("reward o: unknown option scal; the nearest is scale", function()
    open({ scratch .. "/o.lua", 1, scal = 3 }, {})
  end)
  T.raises("reward_options.args: no reward knows the option scal; the nearest is scale", function()
    open(scratch .. "/o.lua", { args = { scal = 1 } })
  end)
end)

T.test("a child that closes its prints does not wake its parent over and over", function()
  local code = [[ffi = require "ffi" ffi.cdef "int close(int);" ffi.C.close(1)
    require("rllava.ffi").C.rl_sleep(60)]]
  local p = ffi.gc(C.rl_process_start("-e\n" .. code:gsub("\n", " ")), C.rl_process_free)
  local list, woken, from = ffi.new("rl_process *[1]", p), 0, C.rl_clock()
  repeat
    C.rl_process_wait(list, 1, 0.2)
    woken = woken + 1
  until C.rl_clock() > from + 1
  if woken > 20 then error(woken .. " times in a second") end
end)

local bad = {
  { "raises", "error('no way')", "r1.lua:2: no way" },
  { "returns nothing", "return", "expected a number or a table with overall, got nothing" },
  { "returns a text", "return '1'", 'expected a number or a table with overall, got the text "1"' },
  { "returns NaN", "return 0 / 0", "overall: expected a finite number, got NaN" },
  { "returns infinity", "return { overall = 1, x = math.huge }",
    "x: expected a finite number, got inf" },
  { "returns a table without overall", "return { accuracy = 1 }",
    "overall: expected a finite number, got nothing" },
  { "names a field that the row lacks", "return row.anser.x",
    "the row has no field anser; the nearest is answer_text" },
  { "ends its process", "os.exit(3)", "its worker ended with status 3" },
}
for _, case in ipairs(bad) do
  T.test("a reward that " .. case[1] .. " costs its own call alone", function()
    local p = pool { "return function(response, answer, row)\nif response == 'bad' then " .. case[2]
      .. " end\nreturn #response end" }
    local r = score(p, { { "good" }, { "bad", "", { answer_text = "a" } }, { "fine!" }, { "x" } })
    T.equal({ r[1].overall, r[3].overall, r[4].overall }, { 4, 5, 1 })
    assert(r[2].error and not r[2].overall and r[2].error:find(case[3], 1, true), r[2].error)
    local failed = p:take_failures()
    T.equal({ #failed, failed[1].id, p.counts.calls, p.counts.failures }, { 1, 2, 4, 1 })
    T.equal(#p:take_failures(), 0)
    p:close()
  end)
end

T.test("a reward that loops for ever is killed and replaced, also inside string.find", function()
  for _, loop in ipairs { "while true do end",
    "local s = ('a'):rep(3e6) return s:find(('a*'):rep(20) .. 'b')" } do
    local code = "return function(response) if response == 'bad' then %s end return 1 end"
    local p = pool({ code:format(loop) }, { timeout = 0.3 })
    local r = score(p, { { "bad" }, { "a" }, { "b" }, { "bad" }, { "c" } })
    T.equal({ r[2].overall, r[3].overall, r[5].overall }, { 1, 1, 1 })
    for _, i in ipairs { 1, 4 } do
      assert(r[i].error:find "r1: no result within .* its worker was killed", r[i].error)
    end
    T.equal(p.counts.restarts, 2)
    p:close()
  end
end)

T.test("with several rewards the one that hangs is named", function()
  local p = pool({ "return function() return 1 end", "return function() while true do end end" },
    { timeout = 0.3, workers = 1 })
  local r = score(p, { { "x" } })[1]
  assert(r.error:find "r2: no result within", r.error)
  p:close()
end)

T.test("a reward that allocates without end is stopped at reward_options.memory", function()
  local p = pool({ [[return function(response)
    local t = {}
    while response == "bad" do t[#t + 1] = ("x"):rep(2 ^ 20) .. #t end
    return 1 end]] }, { memory = 64, workers = 1 })
  local r = score(p, { { "bad" }, { "good" } })
  T.equal(r[2].overall, 1)
  assert(r[1].error:find "took more than 64 MiB" or r[1].error:find "its worker", r[1].error)
  p:close()
end)

T.test("what a reward prints is no result and disturbs none", function()
  local p = pool { "return function(response) print('{}') io.write('x') return 1 end" }
  local said = {}
  p.pass_on = function(_, w) said[#said + 1] = w:said() end
  for _, r in ipairs(score(p, { { "a" }, { "b" }, { "c" } })) do T.equal(r.overall, 1) end
  assert(table.concat(said):find "{}\nx", table.concat(said))
  p:close()
end)

T.test("a run stops above reward_options.max_failures, and goes on below", function()
  local code = "return function(response) return response ~= 'bad' and 1 or error 'broken' end"
  local p = pool({ code }, { max_failures = 0.25 })
  T.equal(score(p, { { "bad" }, { "a" }, { "b" }, { "c" } })[2].overall, 1)
  for i = 1, 3 do p:submit(i, i > 1 and "bad" or "a") end
  T.raises("2 of 3 calls failed, more than reward_options.max_failures = 0.25; the first: r1: ",
    function() p:finish() end)
  p:close()
end)

T.test("a batch reward sees all responses of a step at once", function()
  local code = [[return { defaults = { unit = 1 }, batch = function(list, o)
    if list[1].response == "short" then return { 1 } end
    local out = {}
    for i, call in ipairs(list) do
      out[i] = { overall = #list * o.unit, mine = tonumber(call.answer) }
    end
    return out end }]]
  local p = pool({ code, "return function() return 1 end" }, nil, { 1, 0.5 })
  local r = score(p, { { "a", "3" }, { "b", "4" }, { "c", "5" } })
  T.equal({ r[1].overall, r[3].overall, r[2].parts.mine }, { 3.5, 3.5, 4 })
  r = score(p, { { "short" }, { "x" } })
  assert(r[1].error:find "r1: batch: expected a list of 2, got 1" and r[2].error, r[1].error)
  p:close()
end)

T.test("a batch reward sees each lot by itself, also after a finish without work", function()
  local p = pool { [[return { batch = function(list)
    local out = {}
    for i = 1, #list do out[i] = #list end
    return out
  end }]] }
  for _ = 1, 2 do
    p:finish()
    for i = 1, 5 do p:submit(i, "a", "b", {}, i > 3 and "late" or "early") end
    local r = p:finish()
    T.equal({ r[1].overall, r[3].overall, r[4].overall, r[5].overall }, { 3, 3, 2, 2 })
  end
  p:close()
end)

T.test("results come as they are ready, whatever the others do", function()
  local code = "return function(response) while response == 'bad' do end return 1 end"
  local p = pool({ code }, { timeout = 0.5, workers = 2 })
  p:submit("slow", "bad")
  p:submit("quick", "a")
  local first = p:collect(20)
  T.equal({ #first, first[1][1], first[1][2].overall }, { 1, "quick", 1 })
  T.equal(p:collect(0), {})
  T.equal(p:collect(20)[1][1], "slow")
  T.equal(p:collect(1), {})
  p:close()
end)

T.test("a reward that cannot be loaded is refused at once, with the reason", function()
  T.raises("r1.lua:1:", function() pool { "return function(" } end)
  T.raises("reward r1: expected a function, or a table with score or batch, got number",
    function() pool { "return 7" } end)
  T.raises("r1.lua:1: early", function() pool { "error 'early'" } end)
  T.raises("reward: nowhere.lua: expected beside the recipe",
    function() reward.open("nowhere.lua", {}) end)
  T.raises("reward: entry 2: expected a file or a function, got 7",
    function() reward.open({ "a.lua", { 7 } }, {}) end)
  T.raises("an empty table", function() reward.open({}, {}) end)
end)

T.test("what a worker said before it ended is not lost", function()
  local Worker = require "rllava.reward_process"
  files.write(scratch .. "/r1.lua", "error 'early'")
  local specs = require("rllava.reward_spec").list(scratch .. "/r1.lua", {})
  local w = Worker.start(specs, 2 ^ 30)
  T.equal(ffi.string(C.rl_process_ended(w.process, 1)), "ended with status 1")
  w:poll(2 ^ 30)
  w:close()
  assert(w.load_error:find "r1.lua:1: early", w.load_error)
end)

T.test("a function of the recipe runs in the worker too", function()
  files.write(scratch .. "/recipe.lua", [[
    local rl = require "rllava"
    local bonus = 10
    local function score(response) return bonus + #response end
    return rl.recipe { reward = { { score, 2 }, "r1.lua" } }]])
  files.write(scratch .. "/r1.lua", "return function() return 0.5 end")
  local cfg = recipe.load(scratch .. "/recipe.lua", { "reward_options.workers=1" })
  local p = reward.open(cfg.reward, cfg)
  T.equal(score(p, { { "abc" } })[1], { overall = 26.5, parts = { reward = 13, r1 = 0.5 } })
  p:close()
  p = reward.open(function(response) return #response end, { workers = 1 })
  T.equal(score(p, { { "abc" } })[1].overall, 3)
  p:close()
  local outside = 1
  T.raises("only possible in a recipe's file",
    function() reward.open(function() return outside end, {}) end)
end)

T.test("workers die with their pool, and with a parent that is killed", function()
  local p = pool({ "return function() return 1 end" }, { workers = 2 })
  score(p, { { "a" } })
  p:close()
  files.write(scratch .. "/parent.lua", ([[
    local reward = require "rllava.reward"
    local p = reward.open(%q, { workers = 2 })
    p:submit(1, "loop")
    p:collect(0.2)
    print(io.open("/proc/self/stat"):read "*a":match "^%%d+")
    io.stdout:flush()
    p:collect(100)]]):format(scratch .. "/r1.lua"))
  files.write(scratch .. "/r1.lua", "return function() while true do end end")
  local out = io.popen(("timeout -s KILL %g /proc/$PPID/exe %s/parent.lua 2>&1"):format(2 * slow,
    scratch))
  local pid = out:read "*l"
  out:close()
  local children = io.popen(("sleep 0.2; ps -eo ppid | awk '$1 == %s'"):format(pid))
  T.equal(children:read "*a", "")
  children:close()
end)

-- What a reward does with a response of that name, and what is said of it.
local hostile = {
  { "loops", "while true do end", "no result within" },
  { "searches", "return (('a'):rep(3e6)):find(('a*'):rep(20) .. 'b')", "no result within" },
  { "errs", "error 'no way'", "no way" },
  { "nan", "return 0 / 0", "expected a finite number, got NaN" },
  { "nothing", "return nil", "expected a number or a table with overall, got nothing" },
  { "text", "return '1'", 'got the text "1"' },
  { "exits", "os.exit(0)", "its worker ended" },
  { "allocates", "local t = {} while true do t[#t + 1] = ('x'):rep(2 ^ 20) .. #t end", "64 MiB" },
}

T.test("hostile rewards: each named, bounded, counted; none of 10,000 others is lost", function()
  local code = { "return function(response, answer)" }
  for i, h in ipairs(hostile) do
    code[i + 1] = ("if response == '%s' then %s end"):format(h[1], h[2])
  end
  code[#code + 1] = "return { overall = #response, echo = answer } end"
  local p = pool({ table.concat(code, "\n") }, { timeout = 2, memory = 64 })
  local long, bad = ("x"):rep(1e6), 0
  for i = 1, 10000 do
    if i % 1250 == 0 then
      bad = bad + 1
      p:submit("bad " .. bad, hostile[bad][1])
    end
    p:submit(i, i % 1000 == 0 and long or "x", i)
  end
  local r = p:finish()
  for i = 1, 10000 do
    T.equal(r[i], { overall = i % 1000 == 0 and 1e6 or 1, parts = { echo = i } })
  end
  for i, h in ipairs(hostile) do
    local why = r["bad " .. i].error
    assert(why and why:find("^r1: ") and why:find(h[3], 1, true), h[1] .. ": " .. tostring(why))
  end
  T.equal({ p.counts.calls, p.counts.failures, #p:take_failures() }, { 10008, 8, 8 })
  p:close()
end)

T.test("pictures of a row stay behind, paths go along", function()
  local p = pool { [[return function(_, _, row)
    local n = 0
    for _ in pairs(row.images) do n = n + 1 end
    return { overall = n, path = row.images[1] == "a.png" and 1 or 0, other = #row.text }
  end]] }
  local row = { images = { "a.png", { bytes = ("\0"):rep(100) }, ("\1"):rep(9999) }, text = "abc" }
  T.equal(score(p, { { "", "", row } })[1], { overall = 1, parts = { path = 1, other = 3 } })
  p:close()
end)

T.test("many calls over few workers: each answer goes to its own", function()
  local p = pool({ "return function(response, answer) return tonumber(response) * answer end" },
    { workers = 3 })
  local from = C.rl_clock()
  for i = 1, 500 do p:submit(i, tostring(i), 2) end
  local r = p:finish()
  for i = 1, 500 do T.equal(r[i].overall, 2 * i) end
  if T.verbose then print(("        %.0f calls a second"):format(500 / (C.rl_clock() - from))) end
  p:close()
end)

files.remove(scratch)
