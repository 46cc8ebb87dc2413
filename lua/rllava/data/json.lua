--- Rows of JSON and JSON lines files, by our own reader: RFC 8259 in UTF-8, or a refusal that
--- names file, line and column.
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local rl = require "rllava.ffi"

pcall(ffi.cdef, "void *memchr(const void *, int, size_t)")

local M = {}

--- Bytes of the UTF-8 character at s[i], 0 where there is none (overlong forms, surrogates and
--- what lies beyond U+10FFFF are none).
local function character(s, i, n)
  local c = s[i]
  local more = c < 0x80 and 0 or c < 0xc2 and -1 or c < 0xe0 and 1 or c < 0xf0 and 2
    or c < 0xf5 and 3 or -1
  if more < 0 or i + more >= n then return 0 end
  for k = 1, more do
    if s[i + k] < 0x80 or s[i + k] > 0xbf then return 0 end
  end
  local d = more > 1 and s[i + 1] or 0x80
  if c == 0xe0 and d < 0xa0 or c == 0xed and d > 0x9f or c == 0xf0 and d < 0x90
      or c == 0xf4 and d > 0x8f then
    return 0
  end
  return more + 1
end

--- Refuses text that is not UTF-8.
local function check_utf8(text, name, line)
  if not text:find "[\128-\255]" then return end
  local s, n, i = ffi.cast("const uint8_t *", text), #text, 0
  while i < n do
    if s[i] == 10 then line = line + 1 end
    local size = character(s, i, n)
    if size == 0 then rl.raise("%s:%d: expected UTF-8, found byte 0x%02x", name, line, s[i]) end
    i = i + size
  end
end

--- One line of a file -> value; the message of a refusal carries the line.
local function decode_line(text, name, line)
  check_utf8(text, name, line)
  local ok, value = pcall(json.decode, text, "\1")
  if ok then return value end
  rl.raise("%s:%d:%s", name, line, (tostring(value):match "\1:%d+:(.*)" or value))
end

--- body(text, line) for the lines of a mapped file.
local function each_line(path, body)
  local map = rl.check(rl.C.rl_map_open(path))
  local ok, message = pcall(function()
    local data, size, at, line = ffi.cast("const char *", map.data), tonumber(map.size), 0, 1
    if size >= 3 and ffi.string(data, 3) == "\239\187\191" then at = 3 end
    while at < size do
      local newline = ffi.cast("const char *", ffi.C.memchr(data + at, 10, size - at))
      local stop = newline == nil and size or tonumber(newline - data)
      body(ffi.string(data + at, stop - at), line)
      at, line = stop + 1, line + 1
    end
  end)
  rl.C.rl_map_close(map)
  if not ok then error(message, 0) end
end

--- sink(row, place) for every row of a JSON lines file; blank lines are none.
function M.lines(path, sink)
  each_line(path, function(text, line)
    if not text:find "%S" then return end
    local value = decode_line(text, path, line)
    if type(value) ~= "table" or json.is_array(value) then
      rl.raise("%s:%d: expected a row { column: value }, found %s", path, line, text:sub(1, 40))
    end
    sink(value, path .. ":" .. line)
  end)
end

local function is_list(value) return type(value) == "table" and json.is_array(value) end

--- The list of rows in a parsed document: itself, its member named split, "data" or "rows", or its
--- only list.
local function list_of(document, path, split)
  if type(document) ~= "table" then
    rl.raise("%s: expected rows [{ column: value }, ...], found %s", path, tostring(document))
  end
  if is_list(document) then return document end
  local lists, only = {}, nil
  for _, k in ipairs(json.keys(document)) do
    if is_list(document[k]) then lists[#lists + 1], only = k, document[k] end
  end
  for _, name in ipairs { split or "train", "data", "rows" } do
    if is_list(document[name]) then return document[name] end
  end
  if #lists == 1 then return only end
  local found = #lists == 0 and "an object without lists" or "lists " .. table.concat(lists, ", ")
  rl.raise("%s: expected rows [{ column: value }, ...], or one list of them under '%s', 'data' or "
    .. "'rows', found %s", path, split or "train", found)
end

--- Does a .json file hold JSON lines?  Its first line is then an object, with more to come.
local function is_lines(text)
  return text:match "^[\239\187\191%s]*{[^\n]*}[ \t\r]*\n%s*(.)" == "{"
end

--- sink(row, place) for every row of a JSON file: a list, rows under a member, or JSON lines.
function M.document(path, split, sink)
  local text = files.read(path)
  if is_lines(text) then return M.lines(path, sink) end
  check_utf8(text, path, 1)
  for i, value in ipairs(list_of(json.decode(text, path), path, split)) do
    local place = ("%s: row %d"):format(path, i)
    if type(value) ~= "table" or is_list(value) then
      rl.raise("%s: expected { column: value }, found %s", place,
        is_list(value) and "a list" or tostring(value))
    end
    sink(value, place)
  end
end

return M
