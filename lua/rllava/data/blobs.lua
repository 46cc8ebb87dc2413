--- Long strings of a data set (pictures, mostly) kept in an unlinked file: read when a row is asked
--- for, they weigh on the disk and its cache, not on Lua's collector.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local json = require "rllava.json"

pcall(ffi.cdef, "char *mkdtemp(char *)")

local LONG = 4096                       -- bytes from which a string goes to the file

local Blob, Blobs = {}, {}
Blobs.__index = Blobs

--- A store for one data set.
local function new()
  return setmetatable({ size = 0, holds = setmetatable({}, { __mode = "k" }) }, Blobs)
end

--- A file without a name, in TMPDIR or /tmp; it is gone when it is closed.
local function unnamed_file()
  local template = (os.getenv "TMPDIR" or "/tmp") .. "/rllava-rows-XXXXXX"
  local name = ffi.new("char[?]", #template + 1, template)
  if ffi.C.mkdtemp(name) == nil then rl.raise("%s: cannot create a folder for rows", template) end
  local folder = ffi.string(name)
  local file, message = io.open(folder .. "/rows", "w+b")
  os.remove(folder .. "/rows")
  os.remove(folder)
  return file or rl.raise("%s", message)
end

local function put(self, text)
  self.file = self.file or unnamed_file()
  local ok, message = self.file:seek("set", self.size)
  if ok then ok, message = self.file:write(text) end
  if not ok then
    rl.raise("rows: cannot keep %d bytes in the folder for temporary files: %s", #text, message)
  end
  self.size = self.size + #text
  return setmetatable({ at = self.size - #text, size = #text }, Blob)
end

local function get(self, blob)
  self.file:seek("set", blob.at)
  local text = self.file:read(blob.size)
  if not text or #text < blob.size then
    rl.raise("rows: the file for temporary rows has been cut")
  end
  return text
end

--- Moves the long strings in value (tables are changed) to the file -> what replaces it.
--- seen: strings of this row that are there already.
function Blobs:pack(value, seen)
  if type(value) == "string" and #value >= LONG then
    seen[value] = seen[value] or put(self, value)
    return seen[value]
  end
  if type(value) ~= "table" or value == json.null or json.is_number(value) then return value end
  for _, k in ipairs(json.is_array(value) and {} or json.keys(value)) do
    value[k] = self:pack(value[k], seen)
    if self:moved(value[k]) then self.holds[value] = true end
  end
  for i = 1, #value do
    value[i] = self:pack(value[i], seen)
    if self:moved(value[i]) then self.holds[value] = true end
  end
  return value
end

--- Is value in the file, or some of it?
function Blobs:moved(value)
  return type(value) == "table" and (getmetatable(value) == Blob or self.holds[value] or false)
end

--- What was packed, whole again; tables that hold something of the file are copied.
function Blobs:unpack(value)
  if not self:moved(value) then return value end
  if getmetatable(value) == Blob then return get(self, value) end
  if json.is_array(value) then
    local list = setmetatable({}, getmetatable(value))
    for i, v in ipairs(value) do list[i] = self:unpack(v) end
    return list
  end
  local members = {}
  for i, k in ipairs(json.keys(value)) do members[i] = { k, self:unpack(value[k]) } end
  return json.object(members)
end

return { new = new }
