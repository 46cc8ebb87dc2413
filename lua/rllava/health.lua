--- What this machine offers: processor, memory, folders, libraries; and how to get what is missing.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local files = require "rllava.files"

local health = {}

--- The text of a file of the system, or nil.
local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read "*a"
  f:close()
  return text
end

local function gigabytes(bytes) return ("%.1f GiB"):format(bytes / 2 ^ 30) end

local function processor()
  local info = read "/proc/cpuinfo" or ""
  local _, cores = info:gsub("\nprocessor%s*:", "")
  cores = cores + (info:find "^processor%s*:" and 1 or 0)
  local model = info:match "model name%s*:%s*([^\n]+)" or jit.arch
  return ("%s, %d cores; %d threads (RLLAVA_THREADS), kernels %s (RLLAVA_CPU)"):format(model, cores,
    rl.C.rl_threads(0), ffi.string(rl.C.rl_cpu(nil)))
end

--- Bytes that this process may use: the machine's, or less where its group has a limit.
local function memory()
  local info = read "/proc/meminfo" or ""
  local total = tonumber(info:match "MemTotal:%s*(%d+)")
  local free = tonumber(info:match "MemAvailable:%s*(%d+)")
  if not total then return "unknown" end
  local limit = tonumber((read "/sys/fs/cgroup/memory.max" or ""):match "%d+")
  local text = ("%s, %s of it free"):format(gigabytes(total * 1024), gigabytes((free or 0) * 1024))
  if not limit or limit >= total * 1024 then return text end
  return text .. ", at most " .. gigabytes(limit) .. " allowed"
end

--- Does the system have a library of that name?
local function library(name) return (pcall(ffi.load, name)) end

--- Is there a program of that name in the PATH?
local function program(name)
  for folder in ((os.getenv "PATH" or "") .. ":"):gmatch "(.-):" do
    local path = files.join(folder, name)
    if folder ~= "" and files.kind(path) == "file" then return path end
  end
end

local function duckdb()
  local place = require("rllava.data.duckdb").where()
  if place then return place end
  local python = program "python3" and "here" or "not here"
  return nil, ("for Parquet, CSV and SQL; fetched when first needed, with python3 (%s) and pip; or "
    .. "install libduckdb.so, or name one in RLLAVA_DUCKDB"):format(python)
end

local function gpu()
  if not library "libcuda.so.1" then return nil, "NVIDIA's driver; all runs on the processor" end
  return "libcuda.so.1; this build runs on the processor alone"
end

local function network()
  local offline = require "rllava.offline"()
  if offline then
    return offline .. " forbids it: models and data come from folders and the cache"
  end
  return "allowed (RLLAVA_OFFLINE=1 forbids it)"
end

-- What is looked for: a name, and a function -> what was found; or nil, what for and how to get it.
local checks = {
  { "processor", processor }, { "memory", memory }, { "network", network }, { "DuckDB", duckdb },
  { "GPU", gpu },
}

--- Lines about this machine.
function health.report()
  local lines = { "rllava " .. require("rllava.cli").version .. ", " .. jit.version }
  for _, check in ipairs(checks) do
    local found, missing = check[2]()
    lines[#lines + 1] = ("%-10s %s"):format(check[1], found or "not found: " .. missing)
  end
  lines[#lines + 1] = ("%-10s %s"):format("cache", require("rllava.house").cache())
  return table.concat(lines, "\n")
end

return health
