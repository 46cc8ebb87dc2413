--- The hub against a server of our own on this machine: layout of the cache, resume, checksums,
--- refusals.
local T = require "check"
local blob = require "rllava.hub.blob"
local data = require "rllava.data"
local ffi = require "ffi"
local files = require "rllava.files"
local hub = require "rllava.hub"
local json = require "rllava.json"
local rl = require "rllava.ffi"

ffi.cdef [[
int setenv(const char *, const char *, int);
int unsetenv(const char *);
long readlink(const char *, char *, size_t);
int symlink(const char *, const char *);
]]

local scratch = os.tmpname()
os.remove(scratch)
local root, port_file = scratch .. "/root", scratch .. "/port"
files.make_folder(root)
blob.backoff = 0.01

local function env(name, value)
  if value then ffi.C.setenv(name, value, 1) else ffi.C.unsetenv(name) end
end

os.execute(("%s tests/http_server.lua %s %s >%s/server.out 2>&1 &"):format(arg[0], port_file, root,
  scratch))
for _ = 1, 100 do
  if files.kind(port_file) then break end
  rl.C.rl_sleep(0.05)
end
local port = files.kind(port_file) and files.read(port_file)
  or error("the test server did not start")
local commit = ("0123456789abcdef"):rep(2) .. "01234567"

--- The environment of each test: our server, an empty cache, no token.
local function fresh()
  for _, name in ipairs { "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE",
    "RLLAVA_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "http_proxy",
    "all_proxy" } do env(name) end
  env("HF_ENDPOINT", "http://127.0.0.1:" .. port .. "/")
  env("HF_HOME", scratch .. "/home")
  files.remove(scratch .. "/home")
  files.remove(root)
  files.make_folder(root)
end

local function serve(path, content, how)
  files.make_folder(files.folder(root .. "/" .. path))
  if content then files.write(root .. "/" .. path, content) end
  if how then files.write(root .. "/" .. path .. ".http", how) end
end

--- A repository at the server: list of { name, content, how, checksum told }.
local function repository(kind, name, list, revision)
  local siblings = json.array {}
  for i, f in ipairs(list) do
    siblings[i] = { rfilename = f[1] }
    local sum = f[4] or files.sha256_text(f[2])
    serve((kind == "dataset" and "datasets/" or "") .. name .. "/resolve/" .. commit .. "/" .. f[1],
      f[2],
      ('header X-Linked-Etag: "%s"\nheader X-Linked-Size: %d\n'):format(sum, #f[2]) .. (f[3] or ""))
  end
  serve(("api/%ss/%s/revision/%s"):format(kind, name, revision or "main"),
    json.encode { sha = commit, siblings = siblings })
end

local function log() return files.kind(root .. "/log") and files.read(root .. "/log") or "" end
local function count(pattern) return select(2, log():gsub(pattern, "")) end

local big = ("0123456789abcdef"):rep(5000)

local function test(name, body)
  T.test(name, function()
    fresh()
    body()
  end)
end

test("a snapshot has huggingface_hub's layout: refs, blobs by checksum, relative links", function()
  repository("model", "o/m",
    { { "config.json", "{}" }, { "sub dir/model.safetensors", big }, { "x.bin", "no" } })
  local folder = hub.snapshot("o/m", { files = { "*.json", "**.safetensors" } })
  local repo = scratch .. "/home/hub/models--o--m"
  T.equal(folder, repo .. "/snapshots/" .. commit)
  T.equal(files.read(repo .. "/refs/main"), commit)
  T.equal(files.read(folder .. "/sub dir/model.safetensors"), big)
  T.equal(files.read(repo .. "/blobs/" .. files.sha256_text(big)), big)
  local target = ffi.new "char[256]"
  local n = ffi.C.readlink(folder .. "/sub dir/model.safetensors", target, 256)
  T.equal(ffi.string(target, n), "../../../blobs/" .. files.sha256_text(big))
  T.equal(#files.list(repo .. "/blobs"), 2)
  hub.snapshot("o/m", { files = { "*.json", "**.safetensors" } })
  T.equal({ count "GET /o/m", count "GET /api" }, { 2, 2 })
  T.equal(files.list(hub.snapshot "o/m"), { "config.json", "sub dir" })
  T.raises("expected files *.gguf, found none", function()
    hub.snapshot("o/m", { files = { "*.gguf" } })
  end)
  T.raises("expected the file a.json, found none", function()
    hub.snapshot("o/m", { files = { "*.json", "a.json" } })
  end)
end)

test("a transfer that breaks goes on where it stopped", function()
  repository("model", "o/m", { { "a.json", big, "cut 50000 1\n" },
    { "b.json", big .. "b", "cut 70000 2\nfail 503 1\n" } })
  local folder = hub.snapshot "o/m"
  T.equal({ files.read(folder .. "/a.json"), files.read(folder .. "/b.json") }, { big, big .. "b" })
  T.equal({ count "GET /o/m/%S*a.json bytes=50000%-", count "GET /o/m/%S*b.json bytes=70000%-" },
    { 1, 1 })
  T.equal(#files.list(scratch .. "/home/hub/models--o--m/blobs"), 2)
end)

test("what an earlier process left is used; what cannot be resumed is fetched anew", function()
  local sum, blobs = files.sha256_text(big), scratch .. "/home/hub/models--o--m/blobs/"
  local function left(part, how)
    files.remove(scratch .. "/home")
    repository("model", "o/m", { { "a.json", big, how } })
    files.make_folder(blobs)
    files.write(blobs .. sum .. ".incomplete", part)
    T.equal(files.read(hub.snapshot "o/m" .. "/a.json"), big)
    T.equal(files.list(blobs), { sum })
  end
  left(big:sub(1, 1234))
  T.equal(count "bytes=1234%-", 1)
  left(big)
  T.equal(count "GET /o/m", 1)
  left(big .. "x")
  left(big:sub(1, 100), "norange\n")
  left("damaged" .. big:sub(8, 1000))
end)

test("damage is fetched again once, then refused; a broken file stays for the next try", function()
  repository("model", "o/m", { { "a.json", big, nil, files.sha256_text "other" } })
  local want, got = files.sha256_text "other", files.sha256_text(big)
  T.raises(("o/m/a.json: expected SHA-256 %s, got %s, twice"):format(want, got), function()
    hub.snapshot "o/m"
  end)
  T.equal(files.list(scratch .. "/home/hub/models--o--m/blobs"), {})
  T.equal(files.kind(scratch .. "/home/hub/models--o--m/refs"), nil)
  repository("model", "o/n", { { "a.json", big, "norange\ncut 1000 99\n" } })
  T.raises("broke off at 1000 of 80000 bytes", function() hub.snapshot "o/n" end)
end)

test("private files open to a token of environment or file, shown to no other host", function()
  repository("model", "o/m", { { "a.json", "{}", "need Bearer s3cret\n" } })
  T.raises("401: it is private, gated or absent, and no token was given: set HF_TOKEN", function()
    hub.snapshot "o/m"
  end)
  env("HF_TOKEN", "wrong")
  T.raises("your token does not open it", function() hub.snapshot "o/m" end)
  env "HF_TOKEN"
  files.make_folder(scratch .. "/home")
  files.write(scratch .. "/home/token", "s3cret\n")
  T.equal(files.read(hub.snapshot "o/m" .. "/a.json"), "{}")
  serve("store/b", big)
  local elsewhere = ("status 302\nheader Location: http://localhost:%s/store/b\n"):format(port)
  repository("model", "o/n", { { "b.json", big, elsewhere } })
  T.equal(files.read(hub.snapshot "o/n" .. "/b.json"), big)
  T.equal({ count "GET /o/n/%S* %- Bearer s3cret", count "GET /store/b %- %-" }, { 1, 1 })
end)

test("what the hub refuses is told with what to do", function()
  local gated = "status 403\nheader X-Error-Code: GatedRepo\nheader X-Error-Message: ask first\n"
  repository("model", "o/m", { { "a.json", "{}", gated } })
  T.raises("o/m/a.json: 403: access must be granted at http://127.0.0.1", function()
    hub.snapshot "o/m"
  end)
  T.raises("(ask first)", function() hub.snapshot "o/m" end)
  T.raises("hub: o/none: 404", function() hub.snapshot "o/none" end)
  T.raises("hub: o/m: 404", function() hub.snapshot("o/m", { revision = "v9" }) end)
  serve("api/models/o/e/revision/main", "{", "")
  T.raises("api/models/o/e/revision/main:1:2: expected", function() hub.snapshot "o/e" end)
  for _, name in ipairs { "../x", "/etc/x", "a/../../x", "a\\b", "a//b", "" } do
    serve("api/models/o/e/revision/main",
      json.encode { sha = commit, siblings = { { rfilename = name } } })
    T.raises("expected the names of files", function() hub.snapshot "o/e" end)
  end
  for _, name in ipairs { "x", "../x", "o/..", "o/m/x", "o m/x" } do
    T.raises("expected a name owner/name", function() hub.snapshot(name) end)
  end
end)

test("moved repositories are followed; a revision is a branch, a tag or a commit", function()
  repository("model", "new/m", { { "a.json", "{}" } })
  local moved = "status 307\nheader Location: /new/m/resolve/" .. commit .. "/a.json\n"
  serve("o/m/resolve/" .. commit .. "/a.json", nil, moved)
  serve("api/models/o/m/revision/main", nil,
    "status 307\nheader Location: /api/models/new/m/revision/main\n")
  T.equal(files.read(hub.snapshot "o/m" .. "/a.json"), "{}")
  repository("model", "o/r", { { "a.json", "{}" } }, "refs/pr/1")
  hub.snapshot("o/r", { revision = "refs/pr/1" })
  T.equal(files.read(scratch .. "/home/hub/models--o--r/refs/refs/pr/1"), commit)
  repository("model", "o/r", { { "a.json", "{}" } }, commit)
  hub.snapshot("o/r", { revision = commit })
  T.equal(files.list(scratch .. "/home/hub/models--o--r/refs"), { "refs" })
end)

test("offline, and where nobody answers, the cache serves", function()
  repository("model", "o/m", { { "a.json", "{}" }, { "b.json", "{}" } })
  env("HF_HUB_CACHE", scratch .. "/elsewhere")
  local folder = hub.snapshot("o/m", { files = { "a.json" } })
  T.equal(folder, scratch .. "/elsewhere/models--o--m/snapshots/" .. commit)
  env("HF_HUB_OFFLINE", "1")
  local asked = #log()
  T.equal(hub.snapshot("o/m", { files = { "*.json" } }), folder)
  T.raises("expected the file b.json, found none in the cache", function()
    hub.snapshot("o/m", { files = { "b.json" } })
  end)
  T.raises("o/n: expected revision main in the cache", function() hub.snapshot "o/n" end)
  T.equal(#log(), asked)
  env "HF_HUB_OFFLINE"
  env("HF_ENDPOINT", "http://127.0.0.1:1")
  T.equal(hub.snapshot("o/m", { files = { "a.json" } }), folder)
  T.raises("o/n: cannot reach http://127.0.0.1:1: ", function() hub.snapshot "o/n" end)
end)

test("two processes that want the same file fetch it once", function()
  repository("model", "o/m", { { "a.json", big:rep(20) } })
  local run = ([[%s -e 'print(require("rllava.hub").snapshot "o/m")' 2>&1]]):format(arg[0])
  local a, b = io.popen(run), io.popen(run)
  local want = scratch .. "/home/hub/models--o--m/snapshots/" .. commit .. "\n"
  local got_a, got_b = a:read "*a", b:read "*a"
  a:close()
  b:close()
  T.equal({ got_a:match "[^\n]*\n$", got_b:match "[^\n]*\n$" }, { want, want })
  T.equal(count "GET /o/m", 1)
end)

test("a full disk is an error that says so", function()
  repository("model", "o/m", { { "a.json", big } })
  local part = scratch .. "/home/hub/models--o--m/blobs/" .. files.sha256_text(big) .. ".incomplete"
  files.make_folder(files.folder(part))
  ffi.C.symlink("/dev/full", part)
  T.raises("(is the disk full?)", function() hub.snapshot "o/m" end)
end)

test("data of a hub name: by its card and by names, pictures beside the rows", function()
  local row = '{"problem":"what?","answer":"%s","image":"images/p.png"}\n'
  local png = "\137PNG\r\n\26\n"
  local card = "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n"
    .. "    path: a.jsonl\n  - split: test\n    path: b.jsonl\n- config_name: other\n"
    .. "  data_files:\n  - split: train\n    path: b.jsonl\n  default: true\n---\n"
  repository("dataset", "o/d", { { "README.md", card }, { "a.jsonl", row:format "a" },
    { "b.jsonl", row:format "b" }, { "images/p.png", png } })
  local rows = data.open "o/d:main@test"
  T.equal({ rows.n, rows:get(1).answer, files.read(rows:get(1).images[1].path) }, { 1, "b", png })
  T.equal(data.open("o/d:main"):get(1).answer, "a")
  T.equal(data.open("o/d"):get(1).answer, "b")
  T.raises("one of main, other", function() data.open "o/d:third" end)
  T.raises("expected split 'test', found train", function() data.open "o/d@test" end)
  env("HF_HUB_OFFLINE", "1")
  T.equal(data.open("o/d:main@test").hash, rows.hash)
  env "HF_HUB_OFFLINE"
  repository("dataset", "o/e", { { "data/train-00000-of-00001.jsonl", row:format "t" },
    { "data/test.jsonl", row:format "x" }, { "data/images/p.png", png } })
  T.equal(data.open("o/e@test"):get(1).answer, "x")
end)

os.remove(port_file)
fresh()
files.remove(scratch)
