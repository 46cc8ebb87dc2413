--- The Hugging Face hub: models and data sets come into the cache of huggingface_hub, laid out so:
---
---   HF_HUB_CACHE/models--OWNER--NAME/refs/main             the commit
---                                   /blobs/ETAG            the files, by checksum
---                                   /snapshots/COMMIT/...  links to them, by name
local blob = require "rllava.hub.blob"
local env = require "rllava.hub.env"
local files = require "rllava.files"
local json = require "rllava.json"
local offline = require "rllava.offline"
local rl = require "rllava.ffi"
local splits = require "rllava.data.splits"

local hub = {}

--- What a model needs, of the files beside each other in its repository.
hub.model_files = { "*.json", "*.safetensors", "*.jinja", "*.model", "*.txt" }

--- The repository of a name: its places in the cache and at the hub.
local function repository(name, options)
  local kind = options.kind or "model"
  if kind ~= "model" and kind ~= "dataset" then
    rl.raise("hub: kind: expected 'model' or 'dataset', got '%s'", tostring(kind))
  end
  if type(name) ~= "string" or not name:find "^[%w%-%._]+/[%w%-%._]+$"
      or name:find("..", 1, true) then
    rl.raise("hub: expected a name owner/name, got '%s'", tostring(name))
  end
  local revision = options.revision or "main"
  if not revision:find "^[%w%-%._/]+$" or revision:find("..", 1, true) or revision:find "^/" then
    rl.raise("hub: %s: expected a revision, got '%s'", name, revision)
  end
  local folder = kind .. "s--" .. name:gsub("/", "--")
  local prefix = kind == "dataset" and "/datasets/" or "/"
  return { title = name, kind = kind, revision = revision, folder = files.join(env.cache(), folder),
    locks = files.join(env.cache(), ".locks", folder),
    api = ("%s/api/%ss/%s/revision/%s"):format(env.endpoint(), kind, name,
      (revision:gsub("/", "%%2F"))),
    url = function(commit, file)
      local escaped = file:gsub("[^%w%-%._~/]", function(c) return ("%%%02X"):format(c:byte()) end)
      return env.endpoint() .. prefix .. name .. "/resolve/" .. commit .. "/" .. escaped
    end }
end

--- The commit of the revision in the cache, or nil.
local function cached_commit(repo)
  local ref = files.join(repo.folder, "refs", repo.revision)
  local commit = files.kind(ref) == "file" and files.read(ref):match "^%x+" or repo.revision
  return files.kind(files.join(repo.folder, "snapshots", commit)) == "folder" and commit or nil
end

--- All files below a folder, relative to it.
local function names_below(folder, prefix, out)
  for _, name in ipairs(files.list(folder)) do
    local path = files.join(folder, name)
    if files.kind(path) == "folder" then names_below(path, prefix .. name .. "/", out)
    elseif files.kind(path) then out[#out + 1] = prefix .. name end
  end
  return out
end

--- A file's name as the hub gives it; refused where it leads out of the snapshot.
local function safe(repo, name)
  local bad = type(name) ~= "string" or name == "" or name:find "^/" or name:find "[%c\\]"
    or name:find("//", 1, true)
  for part in tostring(name):gmatch "[^/]+" do bad = bad or part == "." or part == ".." end
  if bad then
    rl.raise("hub: %s: expected the names of files, got '%s'", repo.title, tostring(name))
  end
  return name
end

--- What the hub says of the revision: commit, names (sorted); nil and the reason where nobody
--- answers.
local function ask(repo)
  local response, why = blob.ask(repo.title, { url = repo.api, follow = true },
    cached_commit(repo) ~= nil)
  if not response then return nil, why end
  local info = json.decode(response.body, repo.api)
  local sha = type(info) == "table" and type(info.sha) == "string" and info.sha:match "^%x+$"
  if not sha or type(info.siblings) ~= "table" then
    rl.raise("%s: expected { sha, siblings }, found something else", repo.api)
  end
  local names = {}
  for i, sibling in ipairs(info.siblings) do names[i] = safe(repo, sibling.rfilename) end
  table.sort(names)
  return sha, names
end

--- What the cache holds of the revision: commit, names.  because: why the hub is not asked.
local function recall(repo, because)
  local commit = cached_commit(repo)
  if not commit then
    rl.raise("hub: %s: expected revision %s in the cache %s, found none; the hub was not asked: %s",
      repo.title, repo.revision, repo.folder, because)
  end
  local names = names_below(files.join(repo.folder, "snapshots", commit), "", {})
  table.sort(names)
  return commit, names
end

--- commit, names, online.
local function resolve(repo)
  local forbidden = offline()
  if forbidden then
    local commit, names = recall(repo, forbidden)
    return commit, names, false
  end
  local commit, names = ask(repo)
  if commit then return commit, names, true end
  if not cached_commit(repo) then
    rl.raise("hub: %s: cannot reach %s: %s", repo.title, env.endpoint(), names)
  end
  local note = "rllava: cannot reach %s (%s); using %s as fetched before\n"
  io.stderr:write(note:format(env.endpoint(), names, repo.title))
  commit, names = recall(repo, names)
  return commit, names, false
end

local function remember(repo, commit)
  if repo.revision == commit then return end
  local ref = files.join(repo.folder, "refs", repo.revision)
  files.make_folder(files.folder(ref))
  files.write(ref, commit)
end

--- The names among names that one of the globs matches; a glob without magic must find its file.
local function wanted(repo, names, globs, online)
  if not globs then return names end
  local list, found = {}, {}
  for _, name in ipairs(names) do
    if splits.matches(name, globs) then list[#list + 1], found[name] = name, true end
  end
  for _, glob in ipairs(globs) do
    if not glob:find "[%*%?%[]" and not found[glob] then
      rl.raise("hub: %s: expected the file %s, found none%s", repo.title, glob,
        online and "" or " in the cache")
    end
  end
  if #list == 0 then
    rl.raise("hub: %s: expected files %s, found none", repo.title, table.concat(globs, ", "))
  end
  return list
end

--- Fetches what is not in the cache.  options: kind: "model" or "dataset"; files: list of globs
--- ("*" ends at a slash, "**" does not), by default hub.model_files or, of a data set, all;
--- revision: a branch, tag or commit (main).
--- -> the folder of the snapshot.  Refuses damage, and what the hub refuses, saying what to do.
function hub.snapshot(name, options)
  options = options or {}
  local repo = repository(name, options)
  local commit, names, online = resolve(repo)
  local globs = options.files or (repo.kind == "model" and hub.model_files) or nil
  local list = wanted(repo, names, globs, online)
  if online then
    for _, file in ipairs(list) do blob.fetch(repo, commit, file) end
    remember(repo, commit)
  end
  return files.join(repo.folder, "snapshots", commit)
end

--- name, options as of hub.snapshot -> the names of all files (offline: those in the cache), the
--- text of README.md or nil.
function hub.files(name, options)
  local repo = repository(name, options or {})
  local commit, names, online = resolve(repo)
  local readme = files.join(repo.folder, "snapshots", commit, "README.md")
  for _, file in ipairs(names) do
    if online and file == "README.md" then blob.fetch(repo, commit, file) end
  end
  return names, files.kind(readme) and files.read(readme) or nil
end

return hub
