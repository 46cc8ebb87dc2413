--- DuckDB's C library, found or fetched, and opened for one reading: no header, no link, no Python.
---
---   RLLAVA_DUCKDB, a path; else a libduckdb.so of the system; else the one fetched before, in
---   RLLAVA_CACHE (XDG_CACHE_HOME/rllava, ~/.cache/rllava); else it is fetched there with pip.
local ffi = require "ffi"
local files = require "rllava.files"
local rl = require "rllava.ffi"
local wheel = require "rllava.wheel"

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

local source = { title = "DuckDB's library", package = "bareduckdb", version = "0.12.155",
  megabytes = 34, file = "bareduckdb/_libs/libduckdb.so",
  command = [[rllava -e 'require "rllava.data.duckdb".fetch()']],
  instead = "Install libduckdb.so from DuckDB's releases instead, or name one in RLLAVA_DUCKDB." }

--- Fetches the library -> its path.
function duckdb.fetch() return wheel.fetch(source) end

--- Where the library is: the path that RLLAVA_DUCKDB names, "of the system", the one fetched;
--- or nil.
function duckdb.where()
  local named = os.getenv "RLLAVA_DUCKDB"
  if named and named ~= "" then return named end
  if pcall(ffi.load, "duckdb") then return "of the system" end
  local place = wheel.place(source)
  return files.kind(place) and place or nil
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
  return ffi.load(wheel.find(source, what))
end

return duckdb
