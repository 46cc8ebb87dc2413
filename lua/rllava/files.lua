--- Files and folders for Lua: whole reads, atomic writes, lists, removal.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local C, check = rl.C, rl.check

local files = {}

--- "a/b" from its parts.
function files.join(...) return (table.concat({ ... }, "/"):gsub("//+", "/")) end

--- The last part of a path; everything before it ("." if there is nothing).
function files.name(path) return path:match "([^/]*)/*$" end
function files.folder(path)
  local folder = path:match "^(.*[^/])/+[^/]*/*$"
  return folder or (path:sub(1, 1) == "/" and "/" or ".")
end

--- "file", "folder", "other" or nil if nothing is there.
function files.kind(path) return ({ "file", "folder", "other" })[C.rl_file_stat(path, nil)] end

--- Bytes of a file; nil if there is none.
function files.size(path)
  local size = ffi.new "double[1]"
  return C.rl_file_stat(path, size) == 1 and size[0] or nil
end

--- body(map) on a mapped file, which is closed afterwards whatever happens.
local function mapped(path, body)
  local map = check(C.rl_map_open(path))
  local ok, result = pcall(body, map)
  C.rl_map_close(map)
  if not ok then error(result, 0) end
  return result
end

--- The content of a file.
function files.read(path)
  return mapped(path, function(map) return ffi.string(map.data, map.size) end)
end

--- What body(out) writes to out (an rl_output) becomes the content of path at once: a reader sees
--- the old file or the new one, and the old one where body raises.
--- level: as rl_output_open takes it.
function files.stream(path, level, body)
  local out = check(C.rl_output_open(path, level))
  local ok, why = pcall(body, out)
  if not ok then
    C.rl_output_discard(out)
    error(why, 0)
  end
  check(C.rl_output_commit(out))
end

--- text becomes the content of path in the same way.
function files.write(path, text)
  files.stream(path, 0, function(out) check(C.rl_output_write(out, text, #text)) end)
end

--- 16 hex digits that change with the content of a file (damage, not forgery).
function files.hash(path)
  return mapped(path, function(map)
    local text = ffi.new "char[17]"
    C.rl_hash(map.data, map.size, text)
    return ffi.string(text)
  end)
end

--- The same of a string.
function files.hash_text(s)
  local text = ffi.new "char[17]"
  C.rl_hash(s, #s, text)
  return ffi.string(text)
end

--- SHA-256 of a file, or of a string: 64 hex digits.
function files.sha256(path)
  return mapped(path, function(map)
    local text = ffi.new "char[65]"
    C.rl_sha256(map.data, map.size, text)
    return ffi.string(text)
  end)
end
function files.sha256_text(s)
  local text = ffi.new "char[65]"
  C.rl_sha256(s, #s, text)
  return ffi.string(text)
end

--- The names in a folder, sorted.
function files.list(path)
  local text, names = check(C.rl_folder_list(path)), {}
  local at = text
  while at[0] ~= 0 do
    names[#names + 1] = ffi.string(at)
    at = at + #names[#names] + 1
  end
  C.rl_free(text)
  return names
end

--- Makes a folder and all above it.
function files.make_folder(path) check(C.rl_folder_make(path)) end

--- Removes a file, or a folder with all in it; nothing there is fine.
function files.remove(path)
  if files.kind(path) then check(C.rl_file_remove(path)) end
end

function files.rename(from, to) check(C.rl_file_rename(from, to)) end

return files
