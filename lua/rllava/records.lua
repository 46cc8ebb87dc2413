--- Files of one JSON object a line, each with its step: appended to, rewound, searched.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local C, check = rl.C, rl.check

local records = {}
local Records = {}
Records.__index = Records

local function append(path)
  local file, why = io.open(path, "ab")
  if not file then error(why, 0) end
  return file
end

--- Does the file end in the middle of a line, as after a kill?
local function torn(path)
  local size = files.size(path)
  if not size or size == 0 then return false end
  local file = io.open(path, "rb")
  file:seek("end", -1)
  local last = file:read(1)
  file:close()
  return last ~= "\n"
end

--- Opens a file to be appended to; a last line that is not whole is dropped.
function records.open(path)
  local self = setmetatable({ path = path }, Records)
  if torn(path) then self:keep(function() return true end) end
  self.file = append(path)
  return self
end

--- Rewrites the file with the whole lines whose step is wanted.
function Records:keep(wanted)
  if self.file then self.file:close() end
  files.stream(self.path, 0, function(out)
    for line in io.lines(self.path) do
      local step = tonumber(line:match '^{"step":(%d+)' or nil)
      if step and line:sub(-1) == "}" and wanted(step) then
        line = line .. "\n"
        check(C.rl_output_write(out, line, #line))
      end
    end
  end)
  if self.file then self.file = append(self.path) end
end

--- Drops what comes after a step.
function Records:rewind(step) self:keep(function(s) return s <= step end) end

--- Begins anew; what was there is kept as PATH.old.
function Records:set_aside()
  self.file:close()
  files.rename(self.path, self.path .. ".old")
  self.file = append(self.path)
end

function Records:write(object)
  local ok, why = self.file:write(json.encode(object), "\n")
  if ok then ok, why = self.file:flush() end
  if not ok then error(("%s: cannot write: %s"):format(self.path, why), 0) end
end

--- Every record of the file.
function Records:all() return records.read(self.path) end

function Records:close() self.file:close() end

--- The records of a file, or those of one step; a last line that is not whole is left out.
function records.read(path, step)
  local list, number = {}, 0
  for line in io.lines(path) do
    number = number + 1
    local at = tonumber(line:match '^{"step":(%d+)' or nil)
    if at and line:sub(-1) == "}" and (not step or at == step) then
      list[#list + 1] = json.decode(line, path .. " line " .. number)
    end
  end
  return list
end

local function tokens_of(s)
  if type(s.tokens) ~= "cdata" then return s.tokens and json.array(s.tokens) or nil end
  local list = json.array {}
  for i = 1, s.n do list[i] = s.tokens[i - 1] end
  return list
end

local order = { "index", "sample", "prompt", "text", "answer", "advantage", "version", "finish" }

--- A sample as an object of rollouts.jsonl.
function records.sample(step, s, kind)
  local members = { { "step", step }, { "kind", kind or "train" } }
  for _, name in ipairs(order) do
    local v = s[name]
    if type(v) ~= "cdata" and type(v) ~= "function" then members[#members + 1] = { name, v } end
  end
  local result = s.result or {}
  members[#members + 1] = { "overall", result.overall }
  members[#members + 1] = { "parts", result.parts }
  members[#members + 1] = { "remark", result.remark }
  members[#members + 1] = { "error", result.error }
  members[#members + 1] = { "tokens", tokens_of(s) }
  return json.object(members)
end

--- One number where all tokens have the same, else the list.
local function advantage_of(r)
  local list = r.tokens and r.tokens.advantage
  if not list then return nil end
  for _, v in ipairs(list) do if v ~= list[1] then return list end end
  return list[1]
end

--- A response of a batch as a sample.
function records.of_response(group, r)
  return { index = group.row.source or group.number, sample = r.sample,
    prompt = group.prompt and group.prompt.text, text = r.text, answer = group.row.answer,
    result = r.result, advantage = advantage_of(r), version = r.version,
    finish = r.finish, tokens = r.ids, n = r.n }
end

return records
