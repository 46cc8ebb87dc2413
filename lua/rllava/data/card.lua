--- The card of a data set: `configs` in the YAML head of its README.md say which files are which
--- split.
local card = {}

--- Text as YAML writes it -> text without quotes and comment, or a list of such for "[a, b]".
local function scalar(text)
  text = text:gsub("%s+#.*$", ""):match "^%s*(.-)%s*$"
  local inside = text:match "^%[(.*)%]$"
  if not inside then return text:match '^"(.*)"$' or text:match "^'(.*)'$" or text end
  local list = {}
  for item in inside:gmatch "[^,]+" do list[#list + 1] = scalar(item) end
  return list
end

local block

--- "- item" lines from line i at one indent -> list, the line after it.
local function sequence(lines, i, indent)
  local list = {}
  while lines[i] and lines[i].indent == indent and lines[i].text:find "^%-" do
    local dash, rest = lines[i].text:match "^(%-%s*)(.*)$"
    if rest == "" then
      list[#list + 1], i = block(lines, i + 1)
    elseif rest:find "^[%w_%-]+:%s" or rest:find "^[%w_%-]+:$" then
      lines[i] = { indent = indent + #dash, text = rest }
      list[#list + 1], i = block(lines, i)
    else
      list[#list + 1], i = scalar(rest), i + 1
    end
  end
  return list, i
end

--- "key: value" lines from line i at one indent -> table, the line after it.
local function mapping(lines, i, indent)
  local map = {}
  while lines[i] and lines[i].indent == indent do
    local key, rest = lines[i].text:match "^([%w_%-]+):%s*(.*)$"
    if not key then break end
    i = i + 1
    local next_line = lines[i]
    local deeper = next_line and next_line.indent - indent or -1
    local nested = deeper > 0 or deeper == 0 and next_line.text:find "^%-"
    if rest == "" and nested then map[key], i = block(lines, i) else map[key] = scalar(rest) end
  end
  return map, i
end

--- The value that begins at line i -> value, the line after it.
function block(lines, i)
  if not lines[i] then return {}, i end
  local indent = lines[i].indent
  if lines[i].text:find "^%-" then return sequence(lines, i, indent) end
  local map, after = mapping(lines, i, indent)
  while lines[after] and after == i do after = after + 1 end            -- a line that is no member
  return map, after
end

--- The lines of the member `configs` of a README's head.
local function configs_lines(readme)
  local head = readme:gsub("\r", ""):match "^%-%-%-[ \t]*\n(.-)\n%-%-%-" or ""
  local inside, lines = false, {}
  for line in (head .. "\n"):gmatch "([^\n]*)\n" do
    local blanks, text = line:match "^( *)(.*)$"
    if blanks == "" and text:find "^[%w_]" then inside = text:find "^configs:%s*$" ~= nil
    elseif inside and text ~= "" and not text:find "^#" then
      lines[#lines + 1] = { indent = #blanks, text = text }
    end
  end
  return lines
end

local function list(v) return type(v) == "table" and v or { v } end

--- data_files in one of its forms -> list of { split, patterns }.
local function data_files(value)
  local files = {}
  if type(value) ~= "table" then return { { split = "train", patterns = { value } } } end
  if #value > 0 and type(value[1]) ~= "table" then
    return { { split = "train", patterns = value } }
  end
  for i, entry in ipairs(value) do
    files[i] = { split = entry.split or "train", patterns = list(entry.path) }
  end
  if #files == 0 then
    for split, patterns in require("rllava").sorted(value) do
      files[#files + 1] = { split = split, patterns = list(patterns) }
    end
  end
  return files
end

--- README text -> list of { name, default, dir, files = { { split, patterns } } or nil }; empty if
--- it names none.
function card.configs(readme)
  local configs = {}
  for i, c in ipairs((block(configs_lines(readme), 1))) do
    configs[i] = { name = c.config_name or "default", default = c.default == "true",
      dir = c.data_dir, files = c.data_files and data_files(c.data_files) }
  end
  return configs
end

return card
