--- Files of the house: what is embedded in the executable, as text or as a folder on disk.
local embedded = require "rllava.embedded"
local files = require "rllava.files"

local house = {}

--- The text of an embedded file ("rewards/math.lua"), or nil.
house.read = embedded.read

--- Where unpacked and fetched files are kept: RLLAVA_CACHE, XDG_CACHE_HOME/rllava or
--- ~/.cache/rllava.
function house.cache()
  local own = os.getenv "RLLAVA_CACHE"
  if own and own ~= "" then return own end
  local base = os.getenv "XDG_CACHE_HOME" or files.join(os.getenv "HOME" or ".", ".cache")
  return files.join(base, "rllava")
end

--- The embedded folder "recipes/NAME" as a folder on disk, or nil: that of the tree that
--- RLLAVA_HOME names, or a copy in the cache that is named by its content.
function house.folder(name)
  local root = os.getenv "RLLAVA_HOME"
  if root and files.kind(files.join(root, name)) == "folder" then return files.join(root, name) end
  local found, text = {}, {}
  for _, path in ipairs(embedded.names()) do
    if path:sub(1, #name + 1) == name .. "/" then
      found[#found + 1] = path
      text[#text + 1] = path .. "\0" .. embedded.read(path)
    end
  end
  if #found == 0 then return nil end
  local hash = files.hash_text(table.concat(text, "\0"))
  local folder = files.join(house.cache(), files.name(name) .. "-" .. hash)
  if files.kind(folder) == "folder" then return folder end
  local aside = ("%s.%d"):format(folder, math.random(1e9))
  files.make_folder(aside)
  for _, path in ipairs(found) do
    files.write(files.join(aside, files.name(path)), embedded.read(path))
  end
  if not pcall(files.rename, aside, folder) then files.remove(aside) end
  return folder
end

--- The embedded models' names, sorted: those of the folders of recipes/ that hold a config.json.
function house.models()
  local names = {}
  for _, path in ipairs(embedded.names()) do
    names[#names + 1] = path:match "^recipes/([^/]+)/config%.json$"
  end
  table.sort(names)
  return names
end

return house
