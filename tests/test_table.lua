local T = require "check"
local data = require "rllava.data"
local duckdb = require "rllava.data.duckdb"
local files = require "rllava.files"
local json = require "rllava.json"
local rl = require "rllava.ffi"
local tables = require "rllava.table"

local folder = T.goldens .. "/data"

--- Leaves the test out where DuckDB's library is neither here nor to be had.
local function need_duckdb()
  local ok, message = pcall(duckdb.library, "this test")
  if not ok then T.skip(tostring(message):match "[^\n]*") end
end

--- Rows of a query, all at once.
local function read(sql, from)
  local list = {}
  tables.read(sql, "query", function(row) list[#list + 1] = row end, from)
  return list
end

T.test("a query gives rows: every type as a Lua value, columns in their order", function()
  need_duckdb()
  local row = read [[select true a, 1::tinyint b, -2::bigint c, 9007199254740993 d, 3::hugeint e,
    1.25::decimal(5, 2) f, 0.5::float g, 'text' h, '\x00\xff'::blob i, date '2026-01-02' j,
    timestamp '2026-01-02 03:04:05.5' k, [1, null, 3] l, {'x': 1, 'y y': ['z']} m,
    map {'k': 1, 'j': 2} n, array[1, 2]::int[2] o, null p, 'v'::enum('u', 'v') q,
    'a text longer than twelve bytes' r, [date '2026-01-02'] s ;
  ]][1]
  T.equal(table.concat(json.keys(row)), "abcdefghijklmnopqrs")
  T.equal({ row.a, row.b, row.c, tostring(row.d), row.e, row.f, row.g, row.h, row.i, row.j, row.k },
    { true, 1, -2, "9007199254740993", 3, 1.25, 0.5, "text", "\0\255", "2026-01-02",
      "2026-01-02 03:04:05.5" })
  T.equal({ json.encode(row.l), json.encode(row.m), json.encode(row.n), json.encode(row.o), row.p,
    row.q, row.r },
    { "[1,null,3]", '{"x":1,"y y":["z"]}', '{"k":1,"j":2}', "[1,2]", json.null, "v",
      "a text longer than twelve bytes" })
  T.equal(json.encode(row.s), '["2026-01-02"]')
end)

T.test("a query of many rows comes in order, chunk by chunk", function()
  need_duckdb()
  local n, peak = 0, rl.C.rl_memory_peak()
  local sql = [[select i, case when i % 3 = 0 then null else repeat('x', 20000) end s
    from range(20000) t(i)]]
  tables.read(sql, "query", function(row)
    assert(row.i == n and (row.s == json.null) == (n % 3 == 0))
    n = n + 1
  end)
  T.equal(n, 20000)
  local grown = (rl.C.rl_memory_peak() - peak) / 2 ^ 20
  assert(grown < 250, ("267 MB of rows, read in chunks, took %d MB"):format(grown))
end)

T.test("only a SELECT is run, and errors name the source", function()
  need_duckdb()
  for _, sql in ipairs { "select 1; select 2", "copy (select 1) to 'x.csv'", "drop table x",
    "selec 1" } do
    T.raises("query: Parser Error", function() read(sql) end)
  end
  T.raises("query: IO Error", function() read "select * from 'absent.parquet'" end)
  T.raises("stop here",
    function() tables.read("select 1", "query", function() error "stop here" end) end)
end)

T.test("a source may be a query over files; CSV stays the text that it is", function()
  need_duckdb()
  local scratch = os.tmpname()
  os.remove(scratch)
  files.make_folder(scratch)
  files.write(scratch .. "/a.csv",
    'problem,answer,level\r\n"1 + ""1""\nis?",007,1.0\r\n"a,b",true,\r\n')
  files.write(scratch .. "/b.tsv", "problem\tanswer\na,b\t1\n")
  local rows = data.open("a.csv", { folder = scratch })
  T.equal({ rows:get(1).prompt, rows:get(1).answer, rows:get(1).level, rows:get(2).answer,
    rows:get(2).level },
    { '1 + "1"\nis?', "007", "1.0", "true" })
  T.equal(rows:get(2).source, scratch .. "/a.csv: row 2")
  T.equal(data.open(scratch .. "/b.tsv"):get(1).prompt, "a,b")
  local query = data.open("select problem, upper(answer) as answer from 'a.csv' order by answer",
    { folder = scratch })
  T.equal({ query.n, query:get(1).answer, query:get(1).source }, { 2, "007", "query: row 1" })
  assert(query.hash ~= data.open("select problem, answer from 'a.csv'", { folder = scratch }).hash)
  files.write(scratch .. "/c.csv", 'problem,answer\n"a,b\n')
  T.raises("c.csv", function() data.open(scratch .. "/c.csv") end)
  files.remove(scratch)
end)

T.test("without the library and the network, the message tells what to run", function()
  local p = io.popen(([[RLLAVA_DUCKDB= RLLAVA_CACHE=/nowhere RLLAVA_OFFLINE=1 %s -e '%s' 2>&1]])
    :format(arg[0], [[require("rllava.table").read("select 1", "rows.parquet", print)]]))
  local text = p:read "*a"
  p:close()
  if text:find "^table: " then T.skip "this system has a libduckdb.so" end
  T.equal(text:match "rows.parquet: .*",
    "rows.parquet: DuckDB's library is needed and not here, and RLLAVA_OFFLINE=1 "
    .. "forbids to fetch it; where there is a network, run\n"
    .. "  rllava -e 'require \"rllava.data.duckdb\".fetch()'\n")
end)

--- ---- golden files ----

--- Is value what the reference read?  { $sha256, $len } are bytes, { $float } no JSON number,
--- { $ms } a time; a list of pairs may be an object.  -> nil, or what differs.
local function differs(want, got, path)
  if want == json.null or want == nil then
    return got ~= nil and got ~= json.null and path .. ": expected null" or nil
  end
  if type(want) ~= "table" or json.is_number(want) then
    local equal = got == want or json.is_number(want) and tostring(got) == tostring(want)
    return not equal and ("%s: expected %s, got %s"):format(path, tostring(want), tostring(got))
      or nil
  end
  if want["$sha256"] then
    return files.sha256_text(got) ~= want["$sha256"] and path .. ": other bytes" or nil
  end
  if want["$float"] then
    local text = tostring(got):gsub("^%-nan", "nan")
    return text ~= want["$float"]:gsub("infinity", "inf") and path .. ": " .. text or nil
  end
  if want["$ms"] then
    local ms = tonumber(want["$ms"])
    local text = os.date("!%Y-%m-%d %H:%M:%S", math.floor(ms / 1000))
    if ms % 1000 > 0 then text = text .. ((".%03d"):format(ms % 1000):gsub("0+$", "")) end
    return got ~= text and path .. ": " .. tostring(got) or nil
  end
  if type(got) ~= "table" then return path .. ": expected a table, got " .. tostring(got) end
  if json.is_array(want) and not json.is_array(got) then
    local list = json.array {}
    for i, k in ipairs(json.keys(got)) do list[i] = json.array { k, got[k] } end
    got = list
  end
  if json.is_array(want) and #want ~= #got then
    return ("%s: expected %d elements, got %d"):format(path, #want, #got)
  end
  for _, k in ipairs(json.is_array(want) and {} or json.keys(want)) do
    local why = differs(want[k], got[k], path .. "." .. k)
    if why then return why end
  end
  for i = 1, #want do
    local why = differs(want[i], got[i], ("%s[%d]"):format(path, i))
    if why then return why end
  end
end

local function json_lines(path)
  local list = {}
  for line in T.read(path):gmatch "[^\n]+" do list[#list + 1] = json.decode(line, path) end
  return list
end

--- A table file: every column of every row as the reference read it.
local function check_table(path, entry)
  need_duckdb()
  local got = read(("select * from read_parquet('%s')"):format(path))
  local want = entry.variant:find "_empty$" and {}
    or json_lines(("%s/expect_%s.jsonl"):format(folder, entry.variant))
  local from, to = 0, #want
  if entry.rows then from, to = entry.rows[1], entry.rows[2] end
  if #got ~= to - from then error(("expected %d rows, got %d"):format(to - from, #got), 0) end
  for i, row in ipairs(got) do
    local why = differs(want[from + i], row, "row " .. i)
    if why then error(why, 0) end
  end
end

--- The bytes of a row's picture.
local function picture(row)
  local image = row.images[1]
  return image.bytes or files.read(image.path)
end

--- The text of a prompt, of messages their text parts.
local function prompt_text(prompt)
  if type(prompt) == "string" then return prompt end
  for _, part in ipairs(prompt[1].content) do if part.type == "text" then return part.text end end
end

--- A file with question, answer and one picture a row: the plain truth by the picture, in order.
local function check_rows(path, truth)
  if path:find "sv$" then need_duckdb() end
  local by_sha, last = {}, 0
  for i, t in ipairs(truth) do by_sha[t.sha256] = { i, t } end
  local rows = data.open(path)
  if rows.n == 0 then error("expected rows, got none", 0) end
  for i = 1, rows.n do
    local row = rows:get(i)
    local found = by_sha[files.sha256_text(picture(row))]
    if not found or found[1] <= last then
      error(row.source .. ": expected the pictures in order", 0)
    end
    last = found[1]
    T.equal({ prompt_text(row.prompt), row.answer, #row.images },
      { found[2].problem, found[2].answer, 1 })
  end
end

local function check_file(path, entry, truth)
  if path:find "%.arrows?$" or path:find "%.feather$" or files.kind(path) == "folder" then
    T.raises("write Parquet", function() data.open(path) end)
  elseif path:find "%.parquet$" then
    check_table(path, entry)
    if entry.variant == "images" and not entry.rows then check_rows(path, truth) end
  else
    check_rows(path, truth)
  end
end

local manifest = files.kind(folder .. "/manifest.json")
  and json.decode(T.read(folder .. "/manifest.json"))
local entries = {}
for _, entry in ipairs(manifest and manifest.files or {}) do
  entries[entry.file:gsub("/$", "")] = entry
end

--- The files and folders of data/ that are no expectations, also those in folders of shards.
local function discover(prefix, out)
  for _, name in ipairs(files.list(folder .. "/" .. prefix)) do
    local path = prefix .. name
    if entries[path] then out[#out + 1] = path
    elseif files.kind(folder .. "/" .. path) == "folder" and name ~= "images" and name ~= "bad" then
      discover(path .. "/", out)
    end
  end
  return out
end

if manifest then
  local truth = json.decode(T.read(folder .. "/rows_expected.json"))
  for _, name in ipairs(discover("", {})) do
    T.golden("data/" .. name, function()
      check_file(folder .. "/" .. name, entries[name], truth)
      return 0
    end)
  end
  for _, case in ipairs(json.decode(T.read(folder .. "/bad/cases.json"))) do
    local path = folder .. "/bad/" .. case.file
    if files.kind(path) then
      T.golden("data/bad/" .. case.file, function()
        if path:find "%.parquet$" then need_duckdb() end
        T.raises(case.file, function()
          data.open(path, { prompt_key = "a", answer_key = false })
        end)
        return 0
      end)
    end
  end
end

T.test("a folder of shards is one set; messages, structs and pictures become fields", function()
  if not manifest then T.skip "no golden files" end
  need_duckdb()
  local truth = json.decode(T.read(folder .. "/rows_expected.json"))
  if files.kind(folder .. "/sharded") then
    local rows = data.open(folder .. "/sharded@train")
    T.equal({ rows.n, rows:get(30).answer }, { 64, truth[30].answer })
    T.equal(rows:get(30).source:match "[^/]*$", "train-00001-of-00003.parquet: row 8")
  end
  if files.kind(folder .. "/prompt_zstd.parquet") then
    local row = data.open(folder .. "/prompt_zstd.parquet"):get(2)
    T.equal({ row.prompt[1].role, row.prompt[2].content, row.answer, row.extra_info.split },
      { "system", truth[2].problem, truth[2].answer, "train" })
    T.equal(files.sha256_text(row.images[1].bytes), truth[2].sha256)
  end
  if files.kind(folder .. "/turns_gzip.parquet") then
    local options = { image_dir = folder .. "/images" }
    local row = data.open(folder .. "/turns_gzip.parquet", options):get(2)
    T.equal({ #row.prompt, row.prompt[2].role, row.answer }, { 3, "assistant", truth[3].answer })
  end
  if files.kind(folder .. "/multi_zstd.parquet") then
    local rows = data.open(folder .. "/multi_zstd.parquet", { on_bad = "drop" })
    local kept = 0
    for _, row in ipairs(json_lines(folder .. "/expect_multi.jsonl")) do
      if row.answer ~= json.null then kept = kept + 1 end
    end
    T.equal({ rows.n, #rows.dropped }, { kept, 64 - kept })
  end
end)
