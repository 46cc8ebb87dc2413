--- The texts that stand beside a model's weights: files of its folder, or of the folder that the
--- keys of its .gguf file stand for.
local files = require "rllava.files"
local gguf = require "rllava.gguf"

local beside = {}

--- Is path a model (a folder or a .gguf file), and not one file of it?
function beside.is(path) return files.kind(path) == "folder" or gguf.is(path) end

--- path: a model; name: "tokenizer.json" and so on -> its text (nil: none), its place for messages.
function beside.read(path, name)
  local place = files.join(path, name)
  if not gguf.is(path) then
    return files.kind(place) == "file" and files.read(place) or nil, place
  end
  local g = gguf.open(path)
  local ok, text = pcall(g.file, g, name)
  g:close()
  if not ok then error(text, 0) end
  return text, place
end

--- The names of its files.
function beside.names(path)
  if gguf.is(path) then return gguf.files end
  local names = {}
  for _, name in ipairs(files.list(path)) do
    if files.kind(files.join(path, name)) == "file" then names[#names + 1] = name end
  end
  return names
end

return beside
