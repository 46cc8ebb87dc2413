--- One file of the hub into the cache: checksum asked for, fetched with resume, verified, linked.
local env = require "rllava.hub.env"
local ffi = require "ffi"
local files = require "rllava.files"
local http = require "rllava.http"
local progress = require "rllava.hub.progress"
local rl = require "rllava.ffi"

local blob = { backoff = 1, tries = 5 }  -- seconds before the second try; tries that bring nothing

ffi.cdef [[
int rl_symlink(const char *target, const char *path) __asm__("symlink");
int rl_stream_number(void *stream) __asm__("fileno");
int rl_flock(int fd, int operation) __asm__("flock");
]]
local LOCK_EXCLUSIVE_NOW, UNLOCK = 6, 8

--- What a status means, for people.
local function refusal(what, response, endpoint)
  local status, headers = response.status, response.headers or {}
  local said = headers["x-error-message"] and " (" .. headers["x-error-message"] .. ")" or ""
  if headers["x-error-code"] == "GatedRepo" or status == 403 then
    rl.raise("hub: %s: 403: access must be granted at %s, to the account of your token%s", what,
      endpoint, said)
  end
  if status == 401 then
    rl.raise("hub: %s: 401: it is private, gated or absent, and %s%s", what, env.token()
      and "your token does not open it"
      or "no token was given: set HF_TOKEN, or write it to the file token of HF_HOME", said)
  end
  if status == 404 then
    rl.raise("hub: %s: 404: there is no such thing at %s%s", what, endpoint, said)
  end
  rl.raise("hub: %s: expected an answer of %s, got status %s%s", what, endpoint, tostring(status),
    said)
end

local function headers_for(more)
  local list = { "Accept-Encoding: identity" }
  if env.token() then list[2] = "Authorization: Bearer " .. env.token() end
  for _, line in ipairs(more or {}) do list[#list + 1] = line end
  return list
end

local function may_pass(response)
  local status = response.status
  return response.again or status == 408 or status == 429 or (status or 0) >= 500 and status ~= 501
end

--- Waits before try number n (from 1): backoff, twice it, four times; longer where the hub asks for
--- it.
local function wait(response, n)
  local asked = tonumber(response.headers and response.headers["retry-after"] or nil)
  rl.C.rl_sleep(math.min(60, math.max(blob.backoff * 2 ^ (n - 1), asked or 0)))
end

--- A request with tries -> a response with status below 400.  what: for messages.
--- Where nobody answers: nil, the reason; quick: without further tries.
function blob.ask(what, request, quick)
  request.headers = headers_for(request.headers)
  local response
  for n = 1, blob.tries do
    response = http.request(request)
    if response.status and response.status < 400 and not response.error then return response end
    if not may_pass(response) or n == blob.tries or (quick and not response.status) then break end
    wait(response, n)
  end
  if response.error or not response.status then return nil, response.error end
  refusal(what, response, env.endpoint())
end

local function host(url) return url:match "^%a+://([^/]*)" end

--- HEAD of a file, following moves of the repository but not the way to its storage -> etag, size.
local function head(what, url)
  local response, why
  for _ = 1, 5 do
    response, why = blob.ask(what, { url = url, method = "HEAD" })
    if not response then rl.raise("hub: %s: cannot reach %s: %s", what, env.endpoint(), why) end
    local to = response.headers.location
    if response.status < 300 or not to or response.headers["x-linked-etag"] then break end
    if to:sub(1, 1) == "/" then to = url:match "^%a+://[^/]*" .. to end
    if host(to) ~= host(url) and response.headers.etag then break end
    url = to
  end
  local etag = response.headers["x-linked-etag"] or response.headers.etag
  etag = etag and etag:gsub("^W/", ""):gsub('"', "")
  if not etag or not etag:find "^[%w][%w%-%._]*$" then
    rl.raise("hub: %s: expected an ETag, got %s", what, tostring(etag))
  end
  return etag, tonumber(response.headers["x-linked-size"] or response.headers["content-length"])
end

--- body() while no other process fetches the same; waits for one that does as long as its file
--- grows.
local function locked(path, what, growing, body)
  files.make_folder(files.folder(path))
  local stream = ffi.C.rl_file_stream(path, "a")
  if stream == nil then
    rl.raise("hub: %s: cannot lock %s: %s", what, path,
      ffi.string(ffi.C.rl_error_text(ffi.errno())))
  end
  local fd, since, size, told = ffi.C.rl_stream_number(stream), rl.C.rl_clock(), nil, nil
  while ffi.C.rl_flock(fd, LOCK_EXCLUSIVE_NOW) ~= 0 do
    local now = rl.C.rl_clock()
    if files.size(growing) ~= size then since, size = now, files.size(growing) end
    if now - since > 600 then
      ffi.C.rl_close_stream(stream)
      rl.raise("hub: %s: waited 600 s for another process that holds %s and fetches nothing", what,
        path)
    end
    if not told or now - told > 30 then
      io.stderr:write(("rllava: waiting for another process that fetches %s\n"):format(what))
      told = now
    end
    rl.C.rl_sleep(0.2)
  end
  local ok, message = pcall(body)
  ffi.C.rl_flock(fd, UNLOCK)
  ffi.C.rl_close_stream(stream)
  if not ok then error(message, 0) end
end

--- One try to bring the part to its size -> the response.
local function try(part, url, size, show)
  local from = files.size(part) or 0
  return http.request { url = url, headers = headers_for(), follow = true, file = part, from = from,
    progress = function(bytes) show(from + bytes, size) end }
end

--- Appends to the file part until it has size bytes.
local function fill(part, what, url, size, show)
  local n, most = 0, files.size(part) or 0
  while true do
    local from = files.size(part) or 0
    if size and from == size and (size > 0 or files.kind(part)) then return end
    if size and from > size then files.remove(part) from = 0 end
    local response = try(part, url, size, show)
    local got = files.size(part) or 0
    if not response.error and (response.status or 0) < 400 and (not size or got == size) then
      return
    end
    if response.code == http.WRITE then
      rl.raise("hub: %s: cannot write %s: %s (is the disk full?)", what, part, response.error)
    end
    if response.code == http.RANGE or response.status == 416 then
      files.remove(part)
    elseif response.status and response.status >= 400 and not may_pass(response) then
      refusal(what, response, env.endpoint())
    end
    n, most = got > most and 1 or n + 1, math.max(got, most)
    if n >= blob.tries then
      rl.raise("hub: %s: the transfer broke off at %d of %s bytes: %s; run again to go on there",
        what, got, size and ("%d"):format(size) or "unknown",
        response.error or "status " .. tostring(response.status))
    end
    wait(response, n)
  end
end

--- Is this etag the SHA-256 of the content (files in LFS or Xet)?
local function is_sha256(etag) return #etag == 64 and not etag:find "%X" end

local function download(place, what, url, etag, size)
  local part = place .. ".incomplete"
  for round = 1, 2 do
    local show, finish = progress.start(what, files.size(part) or 0, size)
    local ok, message = pcall(fill, part, what, url, size, show)
    finish()
    if not ok then error(message, 0) end
    local sum = is_sha256(etag) and files.sha256(part) or etag
    if sum == etag then return files.rename(part, place) end
    files.remove(part)
    if round == 2 then rl.raise("hub: %s: expected SHA-256 %s, got %s, twice", what, etag, sum) end
  end
end

--- The way from a file in snapshots/COMMIT/ to its blob.
local function link_target(name, etag)
  local _, depth = name:gsub("/", "")
  return ("../"):rep(depth + 2) .. "blobs/" .. etag
end

--- repo: { folder, locks, title, url(commit, name) }.  Brings the file name of a commit into the
--- cache, unless it is there -> its path in the snapshot.
function blob.fetch(repo, commit, name)
  local path = files.join(repo.folder, "snapshots", commit, name)
  if files.kind(path) then return path end
  local what, url = repo.title .. "/" .. name, repo.url(commit, name)
  local etag, size = head(what, url)
  local place = files.join(repo.folder, "blobs", etag)
  files.make_folder(files.folder(place))
  files.make_folder(files.folder(path))
  if not files.kind(place) then
    locked(files.join(repo.locks, etag .. ".lock"), what, place .. ".incomplete", function()
      if not files.kind(place) then download(place, what, url, etag, size) end
    end)
  end
  if ffi.C.rl_symlink(link_target(name, etag), path) ~= 0 and not files.kind(path) then
    files.remove(path)
    files.rename(place, path)                      -- a file system without links
  end
  return path
end

return blob
