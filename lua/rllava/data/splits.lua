--- Which files of a folder or a hub data set are a split: by its card, else by their names.
local card = require "rllava.data.card"
local rl = require "rllava.ffi"

local splits = {}

local formats = { "parquet", "jsonl", "json", "csv", "tsv" }
local words = { train = "train", training = "train", validation = "validation",
  valid = "validation", val = "validation", dev = "validation", test = "test", testing = "test",
  eval = "test", evaluation = "test" }
local not_rows = { ["dataset_infos.json"] = true, ["dataset_info.json"] = true,
  ["dataset_dict.json"] = true, ["state.json"] = true, ["package.json"] = true,
  ["config.json"] = true }

--- The format of a file of rows, by its name; nil: none that is read.
function splits.format(name)
  local base, ending = name:match "[^/]*$", name:lower():match "%.(%w+)$"
  if not_rows[base] or base:find "^%." then return nil end
  if ending == "ndjson" then return "jsonl" elseif ending == "pq" then return "parquet" end
  for _, format in ipairs(formats) do if format == ending then return format end end
end

--- A part of a glob without sets as a Lua pattern.
local function outside_sets(glob)
  local out = glob:gsub("[%^%$%(%)%%%.%+%-%[%]]", "%%%0")
  return (out:gsub("%*%*/?", "\1"):gsub("%*", "[^/]*"):gsub("%?", "[^/]"):gsub("\1", ".*"))
end

--- A glob ("data/train-*.parquet", "**/*.json", "[0-9]?", "[!a]*") as a Lua pattern over a whole
--- name.
local function pattern(glob)
  local out, at = {}, 1
  glob = glob:gsub("^%./", "")
  for from, set, to in glob:gmatch "()%[([^%]]+)%]()" do
    out[#out + 1] = outside_sets(glob:sub(at, from - 1))
    out[#out + 1] = "[" .. set:gsub("%%", "%%%%"):gsub("^!", "^") .. "]"
    at = to
  end
  out[#out + 1] = outside_sets(glob:sub(at))
  return "^" .. table.concat(out) .. "$"
end

--- Does a name match one of the globs?
function splits.matches(name, globs)
  for _, glob in ipairs(globs) do
    if name:find(pattern(glob)) then return true end
  end
  return false
end

--- The split that a name tells of: its words, the file's before the folder's; nil: none.
local function split_of(name)
  local parts = {}
  for part in name:gsub("%.%w+$", ""):gmatch "[^/]+" do table.insert(parts, 1, part) end
  for _, part in ipairs(parts) do
    for word in part:lower():gmatch "%a+" do
      if words[word] then return words[word] end
    end
  end
end

--- Is split, as it stands, the beginning of the file's name or the name of a folder above it?
local function named(name, split)
  local base = name:match "[^/]*$"
  if base:sub(1, #split) == split and base:sub(#split + 1):find "^[%.%-]" then return true end
  return ("/" .. name):find("/" .. split .. "/", 1, true) ~= nil
end

local function filtered(names, keep)
  local list = {}
  for _, name in ipairs(names) do if keep(name) then list[#list + 1] = name end end
  return list
end

--- Files of one format only: of the first of the formats that is there.
local function one_format(names)
  for _, format in ipairs(formats) do
    local list = filtered(names, function(name) return splits.format(name) == format end)
    if #list > 0 then return list end
  end
  return {}
end

local function by_name(names, split, where)
  names = filtered(names, splits.format)
  local list = filtered(names, function(name) return named(name, split) end)
  if #list == 0 then
    list = filtered(names, function(name) return split_of(name) == (words[split] or split) end)
  end
  if #list == 0 and split == "train" and #filtered(names, split_of) == 0 then list = names end
  if #list > 0 then return one_format(list) end
  if #names == 0 then
    rl.raise("%s: expected Parquet, JSON, JSONL or CSV files, found none", where)
  end
  local some = table.concat(names, ", ", 1, math.min(#names, 8)) .. (#names > 8 and " ..." or "")
  rl.raise("%s: expected files of split '%s', found %s", where, split, some)
end

--- The config named, the default one, or the only one.
local function choose(configs, config, where)
  local names = {}
  for i, c in ipairs(configs) do
    if c.name == config or not config and (c.default or c.name == "default" or #configs == 1) then
      return c
    end
    names[i] = c.name
  end
  rl.raise("%s: expected %s, one of %s", where,
    config and ("a config, found '" .. config .. "'") or "a config, as in name:config@split",
    table.concat(names, ", "))
end

local function by_card(names, c, split, where)
  local found = {}
  for _, entry in ipairs(c.files) do
    found[#found + 1] = entry.split
    if entry.split == split then
      local globs = {}
      for i, glob in ipairs(entry.patterns) do globs[i] = (c.dir and c.dir .. "/" or "") .. glob end
      local list = filtered(names, function(name) return splits.matches(name, globs) end)
      list = one_format(list)
      if #list > 0 then return list end
      rl.raise("%s: split '%s': expected files %s, found none that can be read", where, split,
        table.concat(globs, ", "))
    end
  end
  rl.raise("%s: expected split '%s', found %s", where, split, table.concat(found, ", "))
end

--- names: all files, sorted; readme: text of the card or nil; config: nil for the default one;
--- where: for messages -> the names of the files of a split, all of one format, in order.
function splits.choose(names, readme, split, config, where)
  local configs = readme and card.configs(readme) or {}
  if #configs == 0 then
    if config then
      names = filtered(names, function(name) return name:sub(1, #config + 1) == config .. "/" end)
    end
    return by_name(names, split, where)
  end
  local c = choose(configs, config, where)
  if c.files then return by_card(names, c, split, where) end
  if c.dir then
    names = filtered(names, function(name) return name:sub(1, #c.dir + 1) == c.dir .. "/" end)
  end
  return by_name(names, split, where)
end

return splits
