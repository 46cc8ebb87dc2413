--- A small HTTP server for tests: rllava tests/http_server.lua PORTFILE ROOT.
---
--- It listens on 127.0.0.1, writes its port to PORTFILE, serves the files below ROOT with ranges,
--- and logs "METHOD PATH RANGE AUTHORIZATION" a request to ROOT/log; what is posted to a file to
--- FILE.posted.  Beside a file, or where none is, FILE.http says how to answer instead,
--- a line each:
---   status 302          header Name: value      need Bearer x (else 401)
---   cut 1000 2          the connection breaks after 1000 bytes of the body, the first 2 times
---   fail 503 2          status 503, the first 2 times
---   norange             ranges are ignored
--- It ends when PORTFILE is gone, or after two minutes.
local bit = require "bit"
local ffi = require "ffi"
ffi.cdef [[
typedef struct { uint16_t family, port; uint32_t address; char zero[8]; } sockaddr_in;
int socket(int, int, int);
int setsockopt(int, int, int, const void *, unsigned);
int bind(int, const sockaddr_in *, unsigned);
int listen(int, int);
int getsockname(int, sockaddr_in *, unsigned *);
int accept(int, void *, void *);
long recv(int, void *, size_t, int);
long send(int, const void *, size_t, int);
int close(int);
typedef struct { int fd; short events, revents; } pollfd;
int poll(pollfd *, unsigned long, int);
]]
local C = ffi.C
local port_file, root = ...
local NO_SIGNAL = 0x4000

local function read(path)
  local f = io.open(path, "rb")
  local text = f and f:read "*a"
  if f then f:close() end
  return text
end

local times = {}                                   -- how often each answer was given

--- How to answer for a path, from its .http file.
local function plan_of(path)
  local plan = { headers = {} }
  local text = read(root .. path .. ".http") or ""
  for line in text:gmatch "[^\n]+" do
    local word, rest = line:match "^(%a+)%s*(.*)$"
    if word == "header" then plan.headers[#plan.headers + 1] = rest
    elseif word == "cut" or word == "fail" then plan[word] = { rest:match "^(%d+) (%d+)$" }
    else plan[word] = rest end
  end
  plan.there = text ~= ""
  return plan
end

--- Shall a "cut" or "fail" of a plan happen this time?
local function due(path, what, rule)
  if not rule then return false end
  local key = path .. " " .. what
  times[key] = (times[key] or 0) + 1
  return times[key] <= tonumber(rule[2])
end

local function answer(method, path, range, auth)
  local plan, body = plan_of(path), read(root .. path)
  if due(path, "fail", method == "GET" and plan.fail) then
    return plan.fail[1], plan.headers, "busy"
  end
  if plan.need and auth ~= plan.need then return "401", plan.headers, "who?" end
  if not body and not plan.there then return "404", { "X-Error-Code: EntryNotFound" }, "none" end
  local status, headers = plan.status or "200", plan.headers
  local from = not plan.norange and range and tonumber(range:match "bytes=(%d+)%-")
  body = body or ""
  if from and from >= #body then return "416", headers, "" end
  local whole = #body
  if from then
    status, body = "206", body:sub(from + 1)
    headers[#headers + 1] = ("Content-Range: bytes %d-%d/%d"):format(from, whole - 1, whole)
  end
  local cut = due(path, "cut", method == "GET" and plan.cut) and tonumber(plan.cut[1])
  return status, headers, body, cut
end

local function send_all(fd, text)
  local at = 0
  while at < #text do
    local n = tonumber(C.send(fd, ffi.cast("const char *", text) + at, #text - at, NO_SIGNAL))
    if n <= 0 then return end
    at = at + n
  end
end

local function serve(fd)
  local buffer, text = ffi.new "char[4096]", ""
  repeat
    local n = tonumber(C.recv(fd, buffer, 4096, 0))
    if n <= 0 then return end
    text = text .. ffi.string(buffer, n)
  until text:find("\r\n\r\n", 1, true)
  local head_end = select(2, text:find("\r\n\r\n", 1, true))
  local length = tonumber(text:match "\r\nContent%-Length: (%d+)") or 0
  while #text < head_end + length do
    local n = tonumber(C.recv(fd, buffer, 4096, 0))
    if n <= 0 then return end
    text = text .. ffi.string(buffer, n)
  end
  local method, path = text:match "^(%u+) ([^ ?]+)"
  path = path:gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end)
  local range, auth = text:match "\r\nRange: ([^\r]*)", text:match "\r\nAuthorization: ([^\r]*)"
  local log = io.open(root .. "/log", "a")
  log:write(("%s %s %s %s\n"):format(method, path, range or "-", auth or "-"))
  log:close()
  if method == "POST" then
    local posted = io.open(root .. path .. ".posted", "w")
    posted:write(text:sub(head_end + 1))
    posted:close()
  end
  local status, headers, body, cut = answer(method, path, range, auth)
  local head = { "HTTP/1.1 " .. status .. " X", "Connection: close", "Accept-Ranges: bytes" }
  for _, line in ipairs(headers) do head[#head + 1] = line end
  head[#head + 1] = "Content-Length: " .. #body
  send_all(fd, table.concat(head, "\r\n") .. "\r\n\r\n")
  if method ~= "HEAD" then send_all(fd, cut and body:sub(1, cut) or body) end
end

local function listening()
  local fd, address, size = C.socket(2, 1, 0), ffi.new "sockaddr_in", ffi.new("unsigned[1]", 16)
  address.family, address.address = 2, 0x0100007f
  assert(C.bind(fd, address, 16) == 0 and C.listen(fd, 8) == 0, "cannot listen")
  C.getsockname(fd, address, size)
  local port = bit.rshift(bit.bswap(address.port), 16)
  local f = io.open(port_file .. ".new", "w")
  f:write(port)
  f:close()
  os.rename(port_file .. ".new", port_file)
  return fd
end

local fd, ends = listening(), os.time() + 120
local waiting = ffi.new("pollfd[1]", { { fd, 1, 0 } })
while os.time() < ends and read(port_file) do
  if C.poll(waiting, 1, 200) > 0 then
    local client = C.accept(fd, nil, nil)
    serve(client)
    C.close(client)
  end
end
