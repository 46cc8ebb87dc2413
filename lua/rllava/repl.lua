--- The console: lines are read, run, and their results printed; errors end the line alone.
local console = require "rllava.console"
local embedded = require "rllava.embedded"
local describe = require "rllava.describe"
local help = require "rllava.help"

local repl = {}

--- help "name", help(value), help(): prints; typed alone it is the overview.
local helper = setmetatable({}, {
  __call = function(_, what)
    local text
    if what == nil then text = help.overview()
    elseif type(what) == "string" then text = help.about(what)
    else text = help.of(what) end
    print(text or ("nothing is known of " .. describe.value(what)))
  end,
  __tostring = help.overview,
})

--- What lines see: everything global, rl and help.
local function environment()
  local env = setmetatable({ help = helper }, { __index = _G })
  env._G = env
  local rl = require "rllava"
  env.rl = rl
  return env
end

--- A line as a function: an expression if it is one, else statements.  A `local` at its beginning
--- makes a name that stays.  -> function; or nil, message, whether more lines are needed.
function repl.compile(text, env)
  text = text:gsub("^%s*=", "")
  local chunk, message = loadstring("return " .. text, "=line")
  if chunk then                             -- no tail call, in which an error would lose its place
    chunk = loadstring("return (...)(" .. text .. "\n)", "=line")
  else
    local stays = text:gsub("^%s*local%s+function%s", "function ")
      :gsub("^%s*local%s+([%a_][%w_%s,]*=)", "%1")
    chunk, message = loadstring(stays, "=line")
  end
  if not chunk then return nil, message, message:find "'?<eof>'?$" ~= nil end
  jit.off(chunk, true)                      -- compiled loops do not see Ctrl-C
  setfenv(chunk, env)
  return function() return chunk(function(...) return ... end) end
end

--- What can stand for a name behind a value: fields, methods, modules that are not loaded yet.
local function names_of(v)
  local names = {}
  local function add(t)
    for k in pairs(t) do if type(k) == "string" then names[#names + 1] = k end end
  end
  if type(v) == "table" then add(v) end
  local meta = type(v) ~= "cdata" and getmetatable(v)
  if type(meta) == "table" and type(meta.__index) == "table" then add(meta.__index) end
  if type(meta) == "table" and type(meta.__index) == "function" then add(meta) end
  if rawequal(v, package.loaded["rllava"]) then
    for _, path in ipairs(embedded.names()) do
      names[#names + 1] = path:match "^lua/rllava/([%w_]+)%.lua$"
    end
  end
  if require("ffi").istype("rl_tensor", v) then add(require("rllava.tensor").methods) end
  return names
end

--- "rl.policy.lo" -> the words that it may become, sorted.
function repl.complete(word, env)
  local path, last = word:match "^(.*[.:])([%w_]*)$"
  local v = env
  if path then
    for name in path:gmatch "[%w_]+" do
      local ok, next_value = pcall(function() return v[name] end)
      v = ok and next_value or nil
      if v == nil then return {} end
    end
  else path, last = "", word end
  local names, seen, words = names_of(v), {}, {}
  if path == "" then for _, name in ipairs(names_of(_G)) do names[#names + 1] = name end end
  for _, name in ipairs(names) do
    if name:sub(1, #last) == last and name:find "^[%a_][%w_]*$" and not seen[name] then
      seen[name], words[#words + 1] = true, path .. name
    end
  end
  table.sort(words)
  return words
end

--- Runs a function under Ctrl-C and prints what it gives, or its error with its place.
local function run(chunk)
  local function results(ok, ...)
    if not ok then
      io.stderr:write("error: ", tostring((...)), "\n")
      return
    end
    for i = 1, select("#", ...) do
      local shown, text = pcall(describe.value, (select(i, ...)))
      print(text)
      if not shown then return end
    end
  end
  results(console.run(chunk))
end

--- Reads lines until they make a whole statement.  -> function, text; nil at the end; false where
--- the reader gave up or the text is no Lua, which is said.
local function statement(read, env)
  local text
  while true do
    local line, cancelled = read(text and "  .. " or "> ")
    if not line then return nil end
    if cancelled then return false end
    text = text and text .. "\n" .. line or line
    if text:find "^%s*$" then return false end
    local chunk, message, more = repl.compile(text, env)
    if chunk then return chunk, text end
    if not more then
      io.stderr:write("error: ", message, "\n")
      return false, text
    end
  end
end

--- Lines from a pipe: no prompt, no history.
local function plain_read()
  return io.read "*l"
end

--- The console, until the input ends.
function repl.run()
  local env, read, history = environment(), plain_read, nil
  if console.terminal() then
    history = os.getenv "HOME" and os.getenv "HOME" .. "/.rllava_history"
    console.begin(function(word) return repl.complete(word, env) end, history)
    read = console.read
    local version = require("rllava.cli").version
    print("rllava " .. version .. ".  help() tells what there is, Ctrl-D leaves.")
  end
  while true do
    local chunk, text = statement(read, env)
    if chunk == nil then break end
    if text and history then console.remember((text:gsub("\n%s*", " ")), history) end
    if chunk then run(chunk) end
  end
  if history then print() end
  return 0
end

return repl
