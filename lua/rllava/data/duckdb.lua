--- DuckDB's C library, found or fetched, and opened for one reading: no header, no link, no Python.
---
---   RLLAVA_DUCKDB, a path; else a libduckdb.so of the system; else the one fetched before, in
---   RLLAVA_CACHE (XDG_CACHE_HOME/rllava, ~/.cache/rllava); else it is fetched there with pip.
local ffi = require "ffi"
local files = require "rllava.files"
local offline = require "rllava.offline"
local rl = require "rllava.ffi"

local duckdb = {}

ffi.cdef [[
typedef struct { uint64_t deprecated_counts[3]; void *deprecated_columns; char *deprecated_error;
                 void *internal; } duckdb_result;
typedef struct { uint64_t offset, length; } duckdb_list_entry;
typedef struct { uint32_t length; char prefix[4]; const char *text; } duckdb_string;
int duckdb_create_config(void **config);
int duckdb_set_config(void *config, const char *name, const char *option);
void duckdb_destroy_config(void **config);
int duckdb_open_ext(const char *path, void **database, void *config, char **error);
void duckdb_close(void **database);
int duckdb_connect(void *database, void **connection);
void duckdb_disconnect(void **connection);
int duckdb_prepare(void *connection, const char *query, void **statement);
const char *duckdb_prepare_error(void *statement);
void duckdb_destroy_prepare(void **statement);
int duckdb_pending_prepared_streaming(void *statement, void **pending);
int duckdb_pending_prepared(void *statement, void **pending);
const char *duckdb_pending_error(void *pending);
int duckdb_execute_pending(void *pending, duckdb_result *result);
void duckdb_destroy_pending(void **pending);
const char *duckdb_result_error(duckdb_result *result);
void duckdb_destroy_result(duckdb_result *result);
uint64_t duckdb_column_count(duckdb_result *result);
const char *duckdb_column_name(duckdb_result *result, uint64_t column);
void *duckdb_column_logical_type(duckdb_result *result, uint64_t column);
int duckdb_get_type_id(void *type);
void *duckdb_list_type_child_type(void *type);
void *duckdb_array_type_child_type(void *type);
void *duckdb_map_type_value_type(void *type);
uint64_t duckdb_struct_type_child_count(void *type);
char *duckdb_struct_type_child_name(void *type, uint64_t i);
void *duckdb_struct_type_child_type(void *type, uint64_t i);
void duckdb_destroy_logical_type(void **type);
void *duckdb_fetch_chunk(duckdb_result result);
uint64_t duckdb_data_chunk_get_size(void *chunk);
void *duckdb_data_chunk_get_vector(void *chunk, uint64_t column);
void duckdb_destroy_data_chunk(void **chunk);
void *duckdb_vector_get_data(void *vector);
uint64_t *duckdb_vector_get_validity(void *vector);
void *duckdb_list_vector_get_child(void *vector);
void *duckdb_struct_vector_get_child(void *vector, uint64_t i);
void duckdb_free(void *p);
const char *duckdb_library_version(void);
]]

local package, megabytes = "bareduckdb==0.12.155", 34
local command = [[rllava -e 'require "rllava.data.duckdb".fetch()']]

local function cache()
  local user = os.getenv "XDG_CACHE_HOME" or (os.getenv "HOME" or ".") .. "/.cache"
  return os.getenv "RLLAVA_CACHE" or user .. "/rllava"
end

--- The library as it is fetched.
local function fetched() return files.join(cache(), package:gsub("==", "-"), "libduckdb.so") end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- Runs a shell line, its output in the file log; refuses with the end of that where it fails.
local function run(line, log, what)
  if os.execute(line .. " >" .. quote(log) .. " 2>&1") == 0 then return end
  local text = files.kind(log) and files.read(log):sub(-600) or ""
  rl.raise("duckdb: cannot %s:\n%s\nInstall libduckdb.so from DuckDB's releases instead, or "
    .. "name one in RLLAVA_DUCKDB.", what, text:match "^%s*(.-)%s*$")
end

local take = [[import sys, zipfile, glob, shutil
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
shutil.copyfileobj(wheel.open("bareduckdb/_libs/libduckdb.so"), open(sys.argv[2], "wb"))]]

--- Fetches the library with pip, which takes it from the index that the user has set and verifies
--- its checksum.
--- -> its path.
function duckdb.fetch()
  local place = fetched()
  if files.kind(place) then return place end
  local aside = ("%s.%d"):format(files.folder(place), rl.C.rl_time() * 1000)
  files.make_folder(aside)
  local note = "rllava: fetching DuckDB (%s, %d MB) into %s\n"
  io.stderr:write(note:format(package, megabytes, files.folder(place)))
  local log, library = aside .. "/log", aside .. "/libduckdb.so"
  local ok, message = pcall(function()
    run("python3 -m pip --version", log, "fetch it without python3 and pip")
    run(("python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 -d %s %s")
      :format(quote(aside), package), log, "fetch " .. package .. " with pip")
    run(("python3 -c %s %s %s"):format(quote(take), quote(aside), quote(library)), log,
      "unpack " .. package)
    files.make_folder(files.folder(place))
    files.rename(library, place)
  end)
  files.remove(aside)
  if not ok then error(message, 0) end
  return place
end

--- Where the library is: the path that RLLAVA_DUCKDB names, "of the system", the one fetched; or nil.
function duckdb.where()
  local named = os.getenv "RLLAVA_DUCKDB"
  if named and named ~= "" then return named end
  if pcall(ffi.load, "duckdb") then return "of the system" end
  return files.kind(fetched()) and fetched() or nil
end

--- Opens the library, fetching it where there is none.  what: the file that needs it, for messages.
--- It is loaded for this process alone (RTLD_LOCAL) and stays until the last user is collected.
function duckdb.library(what)
  local named = os.getenv "RLLAVA_DUCKDB"
  if named and named ~= "" then
    local ok, library = pcall(ffi.load, named)
    if ok then return library end
    rl.raise("RLLAVA_DUCKDB: expected DuckDB's library, found '%s': %s", named, library)
  end
  local ok, library = pcall(ffi.load, "duckdb")
  if ok then return library end
  local path = fetched()
  if not files.kind(path) then
    if offline() then
      rl.raise("%s: DuckDB's library is needed and not here, and %s forbids to fetch it; where "
        .. "there is a network, run\n  %s", what, offline(), command)
    end
    duckdb.fetch()
  end
  return ffi.load(path)
end

return duckdb
