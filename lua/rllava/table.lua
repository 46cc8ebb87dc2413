--- Tables through DuckDB: what a query gives becomes Lua rows.  Parquet, CSV and SQL are read so.
---
--- The database lives in memory, for one reading, on one thread, under a memory limit.
local bit = require "bit"
local duckdb = require "rllava.data.duckdb"
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local rl = require "rllava.ffi"

local M = {}

local VARCHAR, BLOB, LIST, STRUCT, MAP, ARRAY = 17, 18, 24, 25, 26, 33
local ctypes = { "bool", "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t",
  "uint32_t", "uint64_t", "float", "double" }
local names = { "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT",
  "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE", [VARCHAR] = "VARCHAR", [BLOB] = "BLOB" }
local as_double = { [16] = true, [19] = true, [32] = true }          -- HUGEINT, DECIMAL, UHUGEINT

local function identifier(name) return '"' .. name:gsub('"', '""') .. '"' end

local describe

--- describe(type), which is destroyed afterwards.
local function with_type(D, handle)
  local holder = ffi.new("void *[1]", handle)
  local plan = describe(D, handle)
  D.duckdb_destroy_logical_type(holder)
  return plan
end

local function describe_struct(D, handle)
  local plan = { id = STRUCT, members = {}, cast = false }
  local texts = {}
  for i = 0, tonumber(D.duckdb_struct_type_child_count(handle)) - 1 do
    local text = D.duckdb_struct_type_child_name(handle, i)
    local name = ffi.string(text)
    D.duckdb_free(text)
    if name == "" then return { id = VARCHAR, sql = "VARCHAR", cast = true } end
    local child = with_type(D, D.duckdb_struct_type_child_type(handle, i))
    plan.members[i + 1] = { name, child }
    texts[i + 1] = identifier(name) .. " " .. child.sql
    plan.cast = plan.cast or child.cast
  end
  plan.sql = "STRUCT(" .. table.concat(texts, ", ") .. ")"
  return plan
end

--- A column's type -> how it is read: { id, child or members, sql: its type in SQL, cast: unless it
--- is that already }. Numbers of more than 64 bits and decimals become doubles; dates, times and
--- all that is rare becomes text.
function describe(D, handle)
  local id = D.duckdb_get_type_id(handle)
  if names[id] then return { id = id, sql = names[id], cast = false } end
  if as_double[id] then return { id = 11, sql = "DOUBLE", cast = true } end
  if id == STRUCT then return describe_struct(D, handle) end
  if id == LIST or id == ARRAY then
    local child_type = id == LIST and D.duckdb_list_type_child_type
      or D.duckdb_array_type_child_type
    local child = with_type(D, child_type(handle))
    return { id = LIST, child = child, sql = child.sql .. "[]", cast = child.cast or id == ARRAY }
  end
  if id == MAP then
    local child = with_type(D, D.duckdb_map_type_value_type(handle))
    local pair = { id = STRUCT, members = { { "key", { id = VARCHAR } }, { "value", child } } }
    return { id = MAP, child = pair, sql = "MAP(VARCHAR, " .. child.sql .. ")", cast = true }
  end
  return { id = VARCHAR, sql = "VARCHAR", cast = true }
end

local function text_reader(D, vector)
  local data = ffi.cast("duckdb_string *", D.duckdb_vector_get_data(vector))
  return function(i)
    local s = data[i]
    return s.length <= 12 and ffi.string(s.prefix, s.length) or ffi.string(s.text, s.length)
  end
end

local function number_reader(D, vector, id)
  local data = ffi.cast(ctypes[id] .. " *", D.duckdb_vector_get_data(vector))
  if id ~= 5 and id ~= 9 then return function(i) return data[i] end end
  return function(i)
    local n = tonumber(data[i])
    return math.abs(n) < 2 ^ 53 and n or json.number((tostring(data[i]):gsub("U?LL$", "")))
  end
end

local reader

local function list_reader(D, vector, plan)
  local data = ffi.cast("duckdb_list_entry *", D.duckdb_vector_get_data(vector))
  local child = reader(D, D.duckdb_list_vector_get_child(vector), plan.child)
  return function(i)
    local first, list = tonumber(data[i].offset), json.array {}
    for k = 1, tonumber(data[i].length) do list[k] = child(first + k - 1) end
    return list
  end
end

--- MAP(text, value) -> an object, its keys in their order.
local function map_reader(D, vector, plan)
  local pairs_of = list_reader(D, vector, plan)
  return function(i)
    local members = {}
    for k, pair in ipairs(pairs_of(i)) do members[k] = { pair.key, pair.value } end
    return json.object(members)
  end
end

local function struct_reader(D, vector, plan)
  local children = {}
  for k, member in ipairs(plan.members) do
    children[k] = reader(D, D.duckdb_struct_vector_get_child(vector, k - 1), member[2])
  end
  return function(i)
    local members = {}
    for k, member in ipairs(plan.members) do members[k] = { member[1], children[k](i) } end
    return json.object(members)
  end
end

--- A vector of a chunk -> function(row from 0) -> its value, json.null for NULL.
function reader(D, vector, plan)
  local id, get = plan.id, nil
  if id == VARCHAR or id == BLOB then get = text_reader(D, vector)
  elseif id == LIST then get = list_reader(D, vector, plan)
  elseif id == MAP then get = map_reader(D, vector, plan)
  elseif id == STRUCT then get = struct_reader(D, vector, plan)
  else get = number_reader(D, vector, id) end
  local validity = ffi.cast("const uint8_t *", D.duckdb_vector_get_validity(vector))
  if validity == nil then return get end
  return function(i)
    if bit.band(validity[bit.rshift(i, 3)], bit.lshift(1, bit.band(i, 7))) == 0 then
      return json.null
    end
    return get(i)
  end
end

local function text_of(pointer) return pointer ~= nil and ffi.string(pointer) or "unknown error" end

--- Runs one statement; body(result) before it is destroyed.  Results come chunk by chunk where the
--- library can.
local function query(db, sql, body)
  local D, what = db.D, db.what
  local statement, pending, result = ffi.new "void *[1]", ffi.new "void *[1]",
    ffi.new "duckdb_result"
  local ok, message = pcall(function()
    if D.duckdb_prepare(db.connection[0], sql, statement) ~= 0 then
      rl.raise("%s: %s", what, text_of(D.duckdb_prepare_error(statement[0])))
    end
    local streams, start = pcall(function() return D.duckdb_pending_prepared_streaming end)
    if (streams and start or D.duckdb_pending_prepared)(statement[0], pending) ~= 0 then
      rl.raise("%s: %s", what, text_of(D.duckdb_pending_error(pending[0])))
    end
    if D.duckdb_execute_pending(pending[0], result) ~= 0 then
      rl.raise("%s: %s", what, text_of(D.duckdb_result_error(result)))
    end
    return body(result)
  end)
  D.duckdb_destroy_result(result)
  D.duckdb_destroy_pending(pending)
  D.duckdb_destroy_prepare(statement)
  if not ok then error(message, 0) end
  return message
end

--- The columns of a query -> list of { name, plan }.
local function columns(db, sql)
  return query(db, ("select * from (%s\n) limit 0"):format(sql), function(result)
    local list = {}
    for i = 0, tonumber(db.D.duckdb_column_count(result)) - 1 do
      list[i + 1] = { ffi.string(db.D.duckdb_column_name(result, i)),
        with_type(db.D, db.D.duckdb_column_logical_type(result, i)) }
    end
    return list
  end)
end

--- The query with its columns cast to what is read here.
local function cast(sql, list)
  local out = {}
  for i, column in ipairs(list) do
    local name, plan = identifier(column[1]), column[2]
    out[i] = plan.cast and ("cast(%s as %s) as %s"):format(name, plan.sql, name) or name
  end
  return ("select %s from (%s\n)"):format(table.concat(out, ", "), sql)
end

local function each_row(db, result, list, sink)
  local D, chunk = db.D, ffi.new "void *[1]"
  while true do
    chunk[0] = D.duckdb_fetch_chunk(result)
    if chunk[0] == nil then break end
    local ok, message = pcall(function()
      local readers = {}
      for c, column in ipairs(list) do
        readers[c] = reader(D, D.duckdb_data_chunk_get_vector(chunk[0], c - 1), column[2])
      end
      for i = 0, tonumber(D.duckdb_data_chunk_get_size(chunk[0])) - 1 do
        local members = {}
        for c, column in ipairs(list) do members[c] = { column[1], readers[c](i) } end
        sink(json.object(members))
      end
    end)
    D.duckdb_destroy_data_chunk(chunk)
    if not ok then error(message, 0) end
  end
  local failed = D.duckdb_result_error(result)
  if failed ~= nil then rl.raise("%s: %s", db.what, ffi.string(failed)) end
end

--- Megabytes that a reading may use: half of the machine's, 4096 at most.
local function memory_limit()
  local f = io.open "/proc/meminfo"
  local kilobytes = f and f:read "*a":match "MemTotal:%s*(%d+)"
  if f then f:close() end
  return math.min(4096, math.floor((tonumber(kilobytes) or 4 * 2 ^ 20) / 2048))
end

local function set(D, config, options)
  for _, option in ipairs(options) do
    if D.duckdb_set_config(config[0], option[1], option[2]) ~= 0 then
      rl.raise("duckdb: cannot set %s to %s", option[1], option[2])
    end
  end
end

--- body(db) on a database in memory, which is closed afterwards whatever happens.
local function with_database(what, folder, body)
  local D = duckdb.library(what)
  local config, database, connection = ffi.new "void *[1]", ffi.new "void *[1]", ffi.new "void *[1]"
  local spill = os.tmpname()
  local ok, message = pcall(function()
    D.duckdb_create_config(config)
    set(D, config, { { "threads", "1" }, { "memory_limit", memory_limit() .. "MB" },
      { "temp_directory", spill .. ".duckdb" }, { "autoinstall_known_extensions", "false" },
      { "autoload_known_extensions", "false" }, { "file_search_path", folder or "" } })
    local error_text = ffi.new "char *[1]"
    if D.duckdb_open_ext(nil, database, config[0], error_text) ~= 0 then
      rl.raise("duckdb: %s", text_of(error_text[0]))
    end
    if D.duckdb_connect(database[0], connection) ~= 0 then rl.raise("duckdb: cannot connect") end
    return body { D = D, connection = connection, what = what }
  end)
  D.duckdb_disconnect(connection)
  D.duckdb_close(database)
  D.duckdb_destroy_config(config)
  os.remove(spill)
  files.remove(spill .. ".duckdb")
  if not ok then error(message, 0) end
end

--- sink(row) for each row of a SELECT, in order: a table of its columns, with json.null for NULL,
--- lists as json.array, structs and maps as objects.  what: the file, for messages.  folder: where
--- relative paths in the query start.  Refuses what is no SELECT, and files that are damaged.
function M.read(sql, what, sink, folder)
  sql = sql:gsub("[%s;]+$", "")
  with_database(what, folder, function(db)
    local list = columns(db, sql)
    -- The buffer counts 16 bytes a string, however long: chunks of pictures would fill the memory.
    pcall(query, db, "set streaming_buffer_size = '1KB'", function() end)
    query(db, cast(sql, list), function(result) each_row(db, result, list, sink) end)
  end)
end

return M
