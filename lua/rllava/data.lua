--- Data: sources of many kinds become rows, and an epoch becomes an order.
---
---   rows = data.open("train.jsonl", { image_dir = "pictures" })
---   row  = rows:get(1)        -- its columns, and prompt, answer, images, videos, source
---
--- A source is a path or hub name with an optional @split ("hiyouga/geometry3k@test",
--- name:config@split where a hub data set has several), several of them with commas, an embedded
--- set ("geoqa-tiny@train"), a query ("select ..."), a list of rows or of sources, or a function(i)
--- with options.n.
local Blobs = require "rllava.data.blobs"
local bit = require "bit"
local digest = require "rllava.data.digest"
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local reader = require "rllava.data.reader"
local rl = require "rllava.ffi"
local row = require "rllava.data.row"

local data = {}

local Rows = {}
Rows.__index = Rows

local names = { "prompt", "answer", "images", "videos", "source" }

--- The row that users see: the columns t, and the canonical fields, which came from the columns
--- `from`.  Another column of such a name stays in row.columns.
local function visible(t, fields, from, source)
  local out, hidden = {}, nil
  for _, k in ipairs(json.keys(t)) do out[k] = t[k] end
  for _, k in ipairs(names) do
    if out[k] ~= nil and from[k] ~= k then
      hidden = hidden or {}
      hidden[k] = out[k]
    end
    out[k] = fields[k]
  end
  out.source = source
  out.columns = hidden or out.columns
  return out
end

--- The canonical fields of t and the columns they came from, or nil and the reason with its place.
local function canonical(t, place, source)
  local ok, fields, from = pcall(row.canonical, t, place)
  if ok then return fields, from end
  if type(fields) == "table" and fields.bad_row then
    return nil, source .. ": " .. fields.bad_row
  end
  error(fields, 0)
end

--- A part of a data set that is read whole.  read(sink) calls sink(row, source) for each row.
local function stored(self, read, place)
  local blobs, list = Blobs.new(), {}
  read(function(t, source)
    local fields, from = canonical(row.without_null(t), place, source)
    if not fields and place.on_bad == "drop" then
      self.dropped[#self.dropped + 1] = from
      return
    end
    if not fields then rl.raise("%s", from) end
    local seen = {}
    list[#list + 1] = { blobs:pack(t, seen), blobs:pack(fields, seen), from, source }
  end)
  return { n = #list, get = function(i)
    local kept = list[i]
    return visible(blobs:unpack(kept[1]), blobs:unpack(kept[2]), kept[3], kept[4])
  end }
end

--- A part whose rows are made whenever they are asked for.
local function made(n, get, place, name)
  return { n = n, get = function(i)
    local source = ("%s: row %d"):format(name, i)
    local t = get(i)
    if type(t) ~= "table" then
      rl.raise("%s: expected a row { column = value }, found %s", source, tostring(t))
    end
    local fields, from = canonical(row.without_null(t), place, source)
    if not fields then rl.raise("%s", from) end
    return visible(t, fields, from, source)
  end }
end

--- Row i, from 1: its columns, prompt (text or messages), answer, images (list of { bytes, path },
--- or of { rgb, width, height }), videos (list of { path }) and source ("file:line") for messages.
function Rows:get(i)
  if type(i) ~= "number" or i < 1 or i > self.n or i % 1 ~= 0 then
    rl.raise("rows: expected a row from 1 to %d, got %s", self.n, tostring(i))
  end
  for _, part in ipairs(self.parts) do
    if i <= part.n then return part.get(i) end
    i = i - part.n
  end
end

--- A copy of tables to any depth, so that a caller's rows stay as they are.
local function copy(t)
  if type(t) ~= "table" or t == json.null or json.is_number(t) then return t end
  if json.is_array(t) then
    local list = json.array {}
    for i, v in ipairs(t) do list[i] = copy(v) end
    return list
  end
  local members = {}
  for i, k in ipairs(json.keys(t)) do members[i] = { k, copy(t[k]) } end
  return json.object(members)
end

--- What a made source is, as far as its first, middle and last row tell.
local function made_hash(n, part, name)
  local text = { name, tostring(n) }
  for _, i in ipairs(n > 0 and { 1, math.ceil(n / 2), n } or {}) do
    local t = part.get(i)
    text[#text + 1] = json.encode { prompt = t.prompt, answer = tostring(t.answer) }
    for _, image in ipairs(t.images) do
      if image.rgb then text[#text + 1] = ffi.string(image.rgb, image.width * image.height * 3) end
    end
  end
  return files.hash_text(table.concat(text, "\0"))
end

local function add_list(self, list, place)
  local texts = {}
  self:add(stored(self, function(sink)
    for i, t in ipairs(list) do
      if type(t) ~= "table" then
        rl.raise("row %d: expected { column = value }, found %s", i, tostring(t))
      end
      t = copy(t)
      texts[i] = digest(t)
      sink(t, "row " .. i)
    end
  end, place), files.hash_text(table.concat(texts, "\n")))
end

function Rows:add(part, hash)
  self.parts[#self.parts + 1], self.hashes[#self.hashes + 1] = part, hash
  self.n = self.n + part.n
end

--- place with the folders where relative pictures are, unless an option named one.
local function beside(place, ...)
  return setmetatable({ folders = place.folders or { ... } }, { __index = place })
end

--- One source named by text.
local function add_text(self, spec, options, place)
  local source, here = reader.open(spec, options), options.folder or ""
  if source.get then
    local part = made(source.n, source.get, beside(place, here), spec)
    return self:add(part, made_hash(source.n, part, spec))
  end
  for _, file in ipairs(source.files) do
    local part = stored(self, file.read, beside(place, files.folder(file.path), here))
    self:add(part, file.hash(part))
  end
end

local function add(self, spec, options, place)
  if type(spec) == "string" then
    for _, one in ipairs(reader.split_sources(spec, options)) do
      add_text(self, one, options, place)
    end
  elseif type(spec) == "function" then
    if type(options.n) ~= "number" then
      rl.raise("data: options.n: expected the number of rows of a function, got none")
    end
    local part = made(options.n, spec, beside(place, options.folder or ""), "function")
    self:add(part, made_hash(options.n, part, "function"))
  elseif type(spec) == "table" and type(spec[1]) == "string" then
    for _, one in ipairs(spec) do add(self, one, options, place) end
  elseif type(spec) == "table" then
    add_list(self, spec, beside(place, options.folder or ""))
  else
    rl.raise("data: expected a source (text, list of rows or function), got %s", type(spec))
  end
end

local known_options = { image_dir = true, prompt_key = true, answer_key = true, image_key = true,
  video_key = true, split = true, folder = true, on_bad = true, n = true }

--- spec: a source, see above -> rows: n, get, hash (16 hex digits of the content, for resume),
--- dropped (reasons).
--- options: prompt_key, answer_key (false: no answers), image_key, video_key: columns, also "a.b"
---   for a member; image_dir: where relative pictures and videos are; folder: where relative paths
---   start; split: unless the source names one (train); n: rows of a function; on_bad: "error", or
---   "drop" for rows that cannot be used.
function data.open(spec, options)
  options = options or {}
  for k in require("rllava").sorted(options) do
    if not known_options[k] then rl.raise("data.open: unknown option '%s'", tostring(k)) end
  end
  if options.on_bad and options.on_bad ~= "error" and options.on_bad ~= "drop" then
    rl.raise("data.open: on_bad: expected 'error' or 'drop', got '%s'", tostring(options.on_bad))
  end
  local place = { prompt_key = options.prompt_key, answer_key = options.answer_key,
    image_key = options.image_key, video_key = options.video_key, on_bad = options.on_bad,
    folders = options.image_dir and { reader.find_folder(options.image_dir, options) } }
  local self = setmetatable({ n = 0, parts = {}, hashes = {}, dropped = {} }, Rows)
  add(self, spec, options, place)
  self.hash = files.hash_text(table.concat(self.hashes, " ") .. " " .. self.n)
  return self
end

--- SplitMix64: a state -> 64 random bits, the next state.  Steele, Lea, Flood 2014, figure 16
--- (variant 13).
local function split_mix(state)
  state = state + 0x9e3779b97f4a7c15ULL
  local z = state
  z = bit.bxor(z, bit.rshift(z, 30)) * 0xbf58476d1ce4e5b9ULL
  z = bit.bxor(z, bit.rshift(z, 27)) * 0x94d049bb133111ebULL
  return bit.bxor(z, bit.rshift(z, 31)), state
end

--- The order of epoch (from 0 or 1, as the caller counts) -> list, a permutation of 1..n: a pure
--- function of its arguments, the same on every machine.  shuffle false: 1, 2, ..., n.
function data.order(seed, epoch, n, shuffle)
  local list = {}
  for i = 1, n do list[i] = i end
  if shuffle == false then return list end
  local state, drawn = split_mix(ffi.cast("uint64_t", ffi.cast("int64_t", seed)))
  state = split_mix(bit.bxor(state, ffi.cast("uint64_t", ffi.cast("int64_t", epoch))))
  for i = n, 2, -1 do
    drawn, state = split_mix(state)
    local k = tonumber(drawn % i) + 1
    list[i], list[k] = list[k], list[i]
  end
  return list
end

return data
