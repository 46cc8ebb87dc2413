--- Help: docstrings, found by name: of C functions, tensor methods, modules, Lua functions.
local embedded = require "rllava.embedded"

local help = {}

--- A path of the tree as a module's name: lua/rllava/algo/grpo.lua -> rllava.algo.grpo.
local function module_of(path)
  local name = path:match "^lua/(rllava.*)%.lua$"
  return name and (name:gsub("/init$", ""):gsub("/", "."))
end

--- The Lua files of the house in order.
local function sources()
  local list = {}
  for _, path in ipairs(embedded.names()) do
    if path:find "%.lua$" then list[#list + 1] = path end
  end
  table.sort(list)
  return list
end

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

--- The comment that ends on the line before n, without its marks; nil if there is none.
local function comment_above(lines, n)
  local from = n
  while from > 1 and lines[from - 1]:find "^%s*%-%-" do from = from - 1 end
  if from == n then return nil end
  local out = {}
  for i = from, n - 1 do out[#out + 1] = lines[i]:gsub("^%s*%-%-%-? ?", "") end
  return table.concat(out, "\n")
end

--- The opening comment of a file.
function help.opening(path)
  local lines, n = lines_of(embedded.read(path) or ""), 1
  while lines[n] and lines[n]:find "^%-%-%-" do n = n + 1 end
  return comment_above(lines, n)
end

--- The first sentence of a comment.
local function sentence(text)
  if not text then return nil end
  text = ((text .. "\n "):match "^(.-)\n%s"):gsub("\n", " ")
  text = text:match "^(.-%.)%s" or text
  return #text <= 100 and text or text:sub(1, 100):match "^(.*)%s" .. " ..."
end

--- Does this line define a function of that name?  -> how it is called.
local function defines(line, name)
  local signature = line:match "^%s*function ([%w_.:]+%b())"
    or line:match "^local function ([%w_]+%b())"
  if not signature then
    local left, args = line:match "^([%w_.]+)%s*=%s*function(%b())"
    signature = left and left .. args
  end
  local full = signature and signature:match "^([^%(]+)"
  if not full then return nil end
  local short = full:match "[^.:]+$"
  if full == name or short == name or full:gsub(":", ".") == name then return signature end
end

--- Functions of that name in one file: a list of { signature, doc }.
local function functions_in(path, name)
  local lines, found = lines_of(embedded.read(path)), {}
  for n, line in ipairs(lines) do
    local signature = defines(line, name)
    local doc = signature and comment_above(lines, n)
    if doc then found[#found + 1] = { signature = signature, doc = doc } end
  end
  return found
end

--- Blocks of the public header: a comment and the lines of the prototypes under it.
local function header_blocks()
  local blocks, block, inside = {}, nil, false
  for _, line in ipairs(lines_of(embedded.read "runtime/rllava.h")) do
    local text = inside and line or line:match "^/%*(.*)$"
    if text then
      if not inside then
        block = { doc = {}, prototypes = {} }
        blocks[#blocks + 1] = block
      end
      inside = not text:find "%*/%s*$"
      block.doc[#block.doc + 1] = text:gsub("^%s?%*? ?", ""):gsub("%s*%*/%s*$", "")
    elseif line == "" then block = nil
    elseif block then block.prototypes[#block.prototypes + 1] = line end
  end
  return blocks
end

--- A C function, by its name with or without rl_ -> its prototype and its comment.
function help.c_function(name)
  local pattern = "%f[%w_]rl_" .. name:gsub("^rl_", ""):gsub("%W", "%%%0") .. "%("
  for _, block in ipairs(header_blocks()) do
    local text = table.concat(block.prototypes, "\n")
    for prototype in text:gmatch "[^;]*;" do
      if prototype:find(pattern) then
        return { signature = prototype:match "^%s*(.*)$", doc = table.concat(block.doc, "\n") }
      end
    end
  end
end

local function indented(text) return (text:gsub("\n", "\n  ")) end

local function entry(where, found)
  return ("%s%s\n  %s"):format(where and where .. ": " or "", found.signature, indented(found.doc))
end

--- A module or file by its name ("policy", "algo.grpo", "grpo", "rewards/math.lua") -> its path.
function help.file(name)
  local plain = name:gsub("^rllava%.", ""):gsub("^rl%.", ""):gsub("%.lua$", ""):gsub("%.", "/")
  local by_end
  for _, path in ipairs(sources()) do
    local short = path:gsub("^lua/rllava/", ""):gsub("%.lua$", "")
    if short == plain then return path end
    if short:match "[^/]*$" == plain then by_end = by_end or path end
  end
  return by_end
end

--- What a file is for, and its documented functions with their first sentences.
local function describe_file(path)
  local lines = lines_of(embedded.read(path))
  local out = { (module_of(path) or path) .. "\n  " .. indented(help.opening(path) or "") }
  for n, line in ipairs(lines) do
    local signature = line:match "^function ([%w_.:]+%b())"
    local doc = signature and comment_above(lines, n)
    if doc then out[#out + 1] = ("  %s\n      %s"):format(signature, sentence(doc)) end
  end
  return table.concat(out, "\n")
end

--- "policy.load": a function in one module.
local function in_module(name)
  local module, last = name:gsub(":", "."):match "^(.*)%.([%w_]+)$"
  local path = module and help.file(module)
  if not path then return {} end
  local found = functions_in(path, last)
  for i, f in ipairs(found) do found[i] = entry(module_of(path) or path, f) end
  return found
end

--- Everything of that name anywhere that others can call.
local function anywhere(name)
  local found = {}
  local c = help.c_function(name)
  if c then found[1] = entry(nil, c) end
  for _, path in ipairs(sources()) do
    for _, f in ipairs(functions_in(path, name)) do
      local public = f.signature:find "^[%w_]+[.:]"
      if public then found[#found + 1] = entry(module_of(path) or path, f) end
    end
  end
  return found
end

--- What the header says where it only mentions a name ("abs": an operation of rl_unary).
local function mentioned(name)
  local found = {}
  for _, block in ipairs(header_blocks()) do
    local doc = table.concat(block.doc, "\n")
    if #block.prototypes > 0 and doc:find("%f[%w_]" .. name:gsub("%W", "%%%0") .. "%f[^%w_]") then
      local signature = table.concat(block.prototypes, "\n")
      found[#found + 1] = entry(nil, { signature = signature, doc = doc })
    end
  end
  return found
end

--- Text about a name, or nil where the house knows none.
function help.about(name)
  name = name:match "^%s*(.-)%s*$":gsub("%(.*$", "")
  local found = in_module(name)
  if #found == 0 and not help.file(name) then found = anywhere(name:match "[^.:]*$") end
  if #found == 0 and help.file(name) then
    found = { describe_file(help.file(name)) }
    local c = help.c_function(name)
    if c then table.insert(found, 1, entry(nil, c)) end
  end
  if #found == 0 and name:find "%w" then found = mentioned(name:match "[^.:]*$") end
  return #found > 0 and table.concat(found, "\n\n") or nil
end

--- Text about a value: a function of the house, a module, or what it prints as.
function help.of(value)
  for name, module in pairs(package.loaded) do
    if module == value and name:find "^rllava" then return help.about(name) end
  end
  if type(value) ~= "function" then return nil end
  local info = debug.getinfo(value, "S")
  local text = info.source:find "^@lua/rllava" and embedded.read(info.source:sub(2))
  if not text then return nil end
  local lines = lines_of(text)
  local doc = comment_above(lines, info.linedefined) or "no comment"
  return entry(nil, { signature = lines[info.linedefined], doc = doc })
end

local intro = [[
rllava: reinforcement learning for language and vision models.
  p = rl.policy.load "tiny-vl"       a model: prints its family, parameters and layers
  rl.probe.generate(p, "2 + 3 = ")   its answers
  rl.probe.score(p, "2 + 3 = ", "5") log-probabilities, for a loss by hand
  x = rl.tensor {{1, 2}, {3, 4}}     x:exp(), x * 2, x:sum():backward(), x:grad()
  help "rmsnorm"                     a C function, a tensor's method, a module, a Lua function
  help(rl.policy.load)               the same of a value
A `local` at the beginning of a line is kept for the lines after it.  Ctrl-C stops what runs
(a second one ends the program), Ctrl-D leaves.  Modules, as rl.NAME:]]

--- What there is: how to begin, and every module in a line.
function help.overview()
  local out = { intro }
  for _, path in ipairs(sources()) do
    local name = path:match "^lua/rllava/([%w_]+)%.lua$"
    local first = name and name ~= "init" and sentence(help.opening(path))
    if first then out[#out + 1] = ("  %-16s %s"):format(name, first) end
  end
  return table.concat(out, "\n")
end

return help
