--- From the text of a source to files of rows: paths, folders, embedded sets, hub names, queries.
local digest = require "rllava.data.digest"
local embedded = require "rllava.embedded"
local files = require "rllava.files"
local json_rows = require "rllava.data.json"
local recipe_file = require "rllava.recipe_file"
local rl = require "rllava.ffi"
local splits = require "rllava.data.splits"

local reader = {}

--- path where it is: from folder, from the folder above it, from here; nil where nothing is.
local function locate(path, folder)
  if path:sub(1, 1) == "~" then path = (os.getenv "HOME" or "~") .. path:sub(2) end
  if folder and path:sub(1, 1) ~= "/" then
    for _, from in ipairs { folder, files.join(folder, "..") } do
      if files.kind(files.join(from, path)) then return files.join(from, path) end
    end
  end
  return files.kind(path) and path or nil
end

--- The folder of pictures that an option names.
function reader.find_folder(path, options)
  local found = locate(path, options.folder)
  if not found or files.kind(found) ~= "folder" then
    rl.raise("%s: expected a folder of pictures, found none", path)
  end
  return found
end

local function is_query(text)
  local word = text:match "^%s*(%a+)%s"
  return word ~= nil and (word:lower() == "select" or word:lower() == "with")
end

--- "a,b@test" -> { "a@test", "b@test" }: commas part sources, the last split serves those without
--- one.  A query, or a path that has the comma in its name, stays one.
function reader.split_sources(spec, options)
  if is_query(spec) or locate(spec, options.folder) or not spec:find(",", 1, true) then
    return { spec }
  end
  local list, split = {}, nil
  for one in spec:gmatch "[^,]+" do
    list[#list + 1] = one:match "^%s*(.-)%s*$"
    split = list[#list]:match "@([%w_%-%.]+)$" or split
  end
  for i, one in ipairs(list) do
    if split and not one:find "@[%w_%-%.]+$" then list[i] = one .. "@" .. split end
  end
  return list
end

--- Refuses Arrow files and folders, telling how to write Parquet.
local function refuse_arrow(path, how)
  rl.raise("%s: expected Parquet, JSON, JSONL or CSV, found Arrow (Feather or save_to_disk); "
    .. "write Parquet in Python:\n  %s", path, how:format(path))
end

local from_disk = "datasets.load_from_disk(%q).to_parquet('train.parquet')    # of one split"
local from_stream = "datasets.Dataset.from_file(%q).to_parquet('train.parquet')"
local from_feather = "pyarrow.parquet.write_table(pyarrow.feather.read_table(%q), 'train.parquet')"

--- A table through DuckDB: from names the rows in SQL -> a file of rows.
local function table_file(path, from)
  return function(sink)
    local n = 0
    require("rllava.table").read("select * from " .. from, path, function(t)
      n = n + 1
      sink(t, ("%s: row %d"):format(path, n))
    end)
  end
end

local function quoted(path) return "'" .. path:gsub("'", "''") .. "'" end

--- How a file is read: by its ending, and by how it begins.
local function read_file(path, split)
  local begin = files.kind(path) == "file" and io.open(path, "rb")
  local magic = begin and begin:read(6) or ""
  if begin then begin:close() end
  local format, ending = splits.format(path), path:match "%.(%w+)$"
  if magic == "ARROW1" or ending == "feather" then refuse_arrow(path, from_feather) end
  if ending == "arrow" or ending == "arrows" then refuse_arrow(path, from_stream) end
  if format == "jsonl" then return function(sink) json_rows.lines(path, sink) end end
  if format == "json" then return function(sink) json_rows.document(path, split, sink) end end
  if format == "parquet" then return table_file(path, ("read_parquet(%s)"):format(quoted(path))) end
  if format then
    local csv = "read_csv(%s, header = true, all_varchar = true, delim = '%s', quote = '\"', "
      .. "escape = '\"')"
    return table_file(path, csv:format(quoted(path), format == "tsv" and "\t" or ","))
  end
  rl.raise("%s: expected a file ending in .parquet, .json, .jsonl, .csv or .tsv, found '%s'", path,
    files.name(path))
end

local function file_of_rows(path, split)
  return { path = path, read = read_file(path, split),
    hash = function() return files.hash(path) end }
end

--- All files below a folder, relative to it, sorted.
local function names_below(folder, prefix, out)
  for _, name in ipairs(files.list(folder)) do
    local path = files.join(folder, name)
    if files.kind(path) == "folder" then
      if not name:find "^%." then names_below(path, prefix .. name .. "/", out) end
    else
      out[#out + 1] = prefix .. name
    end
  end
  return out
end

local function open_folder(folder, split, config)
  for _, mark in ipairs { "state.json", "dataset_dict.json" } do
    if files.kind(files.join(folder, mark)) then refuse_arrow(folder, from_disk) end
  end
  local readme = files.kind(folder .. "/README.md") and files.read(folder .. "/README.md")
  local list = {}
  local chosen = splits.choose(names_below(folder, "", {}), readme, split, config, folder)
  for i, name in ipairs(chosen) do
    list[i] = file_of_rows(files.join(folder, name), split)
  end
  return { files = list }
end

--- A set made by a Lua file that returns { rows = function(split) -> n, get(i); splits = names }.
local function open_maker(maker, name, split)
  if type(maker) ~= "table" or type(maker.rows) ~= "function" then
    rl.raise("%s: expected a Lua file that returns { rows = function(split) }, found none", name)
  end
  local n, get = maker.rows(split)
  if n then return { n = n, get = get } end
  rl.raise("%s: expected a split, one of %s, got '%s'", name,
    table.concat(maker.splits or {}, ", "), split)
end

local function open_hub(name, split, config)
  local hub = require "rllava.hub"
  local names, readme = hub.files(name, { kind = "dataset" })
  local chosen = splits.choose(names, readme, split, config, name)
  local wanted = { unpack(chosen) }
  if splits.format(chosen[1]) ~= "parquet" then
    for _, ending in ipairs { "png", "jpg", "jpeg", "webp", "gif", "bmp" } do
      wanted[#wanted + 1] = "**." .. ending
    end
  end
  local folder = hub.snapshot(name, { kind = "dataset", files = wanted })
  local list = {}
  for i, file in ipairs(chosen) do list[i] = file_of_rows(files.join(folder, file), split) end
  return { files = list }
end

local function open_query(query, folder)
  local texts = {}
  return { files = { { path = files.join(folder or ".", "query"), read = function(sink)
    local n = 0
    require("rllava.table").read(query, "query", function(t)
      n = n + 1
      texts[n] = digest(t)
      sink(t, "query: row " .. n)
    end, folder)
  end, hash = function() return files.hash_text(table.concat(texts)) end } } }
end

--- spec: one source -> { files = list of { path, read(sink), hash() } } or { n, get }.
function reader.open(spec, options)
  if is_query(spec) then return open_query(spec, options.folder) end
  local path = locate(spec, options.folder)
  local name, split = spec, nil
  if not path then name, split = spec:match "^(.*)@([%w_%-%.]+)$" end
  name = name or spec
  path = path or locate(name, options.folder)
  local wanted = split or options.split or "train"
  if path and files.kind(path) == "folder" then return open_folder(path, wanted) end
  if path and path:find "%.lua$" then return open_maker(dofile(path), path, wanted) end
  if path then
    if split and split ~= "train" then
      rl.raise("%s: expected no split, since a file is one ('train'), got '@%s'", path, split)
    end
    return { files = { file_of_rows(path, wanted) } }
  end
  if name:find "^[%w_-]+$" and embedded.read("recipes/data/" .. name .. ".lua") then
    return open_maker(recipe_file("data/" .. name .. ".lua"), name, wanted)
  end
  local hub_name, config = name:match "^([^:]+):([%w_%-%.]+)$"
  if not (hub_name or name):find "^[%w_%-%.]+/[%w_%-%.]+$" then
    rl.raise("%s: expected a file, a folder, an embedded set or a hub name owner/name, "
      .. "found none of these", name)
  end
  return open_hub(hub_name or name, wanted, config)
end

return reader
