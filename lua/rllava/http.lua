--- HTTP through libcurl: one request at a time, to memory or to the end of a file, with resume.
local ffi = require "ffi"

local http = {}

ffi.cdef [[
typedef struct { int kind; void *easy; union { void *other; int result; } data; } rl_curl_message;
typedef struct rl_curl_list rl_curl_list;
void *curl_easy_init(void);
int curl_easy_setopt(void *easy, int option, ...);
int curl_easy_getinfo(void *easy, int info, ...);
void curl_easy_cleanup(void *easy);
const char *curl_easy_strerror(int code);
rl_curl_list *curl_slist_append(rl_curl_list *list, const char *text);
void curl_slist_free_all(rl_curl_list *list);
void *curl_multi_init(void);
int curl_multi_add_handle(void *multi, void *easy);
int curl_multi_remove_handle(void *multi, void *easy);
int curl_multi_perform(void *multi, int *running);
int curl_multi_poll(void *multi, void *extra, unsigned n, int milliseconds, int *ready);
rl_curl_message *curl_multi_info_read(void *multi, int *left);
int curl_multi_cleanup(void *multi);
void *rl_memory_stream(char **text, size_t *size) __asm__("open_memstream");
void *rl_file_stream(const char *path, const char *mode) __asm__("fopen");
int rl_close_stream(void *stream) __asm__("fclose");
void rl_free_text(void *text) __asm__("free");
char *rl_error_text(int number) __asm__("strerror");
]]

--- libcurl is linked to the executable, unless the linker leaves out what C does not call.
local curl = pcall(function() return ffi.C.curl_easy_init end) and ffi.C or ffi.load "libcurl.so.4"

local option = { url = 10002, write = 10001, header_write = 10029, headers = 10023, no_body = 44,
  follow = 52, redirects = 68, fail = 45, resume = 30116, connect_ms = 156, slow_bytes = 19,
  slow_seconds = 20, no_signal = 99, agent = 10018, authority = 10065, detail = 10010,
  post = 10015, post_size = 30120, protocols = 181 }
local RESPONSE_CODE, DOWNLOADED = 0x200002, 0x600008
local HTTP_AND_HTTPS = 3

--- Codes after which another try may succeed: names, connections, timeouts, cut transfers.
local again = { [5] = true, [6] = true, [7] = true, [16] = true, [18] = true, [28] = true,
  [35] = true, [52] = true, [55] = true, [56] = true, [92] = true }
http.RANGE, http.WRITE = 33, 23      -- codes: no resume there; the file takes no more

local function set(easy, name, value)
  if type(value) == "number" then
    value = ffi.cast(option[name] > 30000 and "int64_t" or "long", value)
  end
  curl.curl_easy_setopt(easy, option[name], value)
end

--- A stream that collects bytes in memory; take() closes it and gives them.
local function memory()
  local text, size = ffi.new "char *[1]", ffi.new "size_t[1]"
  local stream = ffi.C.rl_memory_stream(text, size)
  return stream, function()
    ffi.C.rl_close_stream(stream)
    local bytes = ffi.string(text[0], size[0])
    ffi.C.rl_free_text(text[0])
    return bytes
  end
end

--- Header lines -> those of the last response, names in lower case.
local function parse_headers(text)
  local headers = {}
  for line in text:gmatch "[^\r\n]+" do
    if line:find "^HTTP/" then headers = {} end
    local name, value = line:match "^([^:%s]+):%s*(.-)%s*$"
    if name then headers[name:lower()] = value end
  end
  return headers
end

local function certificates()
  for _, name in ipairs { "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE" } do
    local path = os.getenv(name)
    if path and path ~= "" then return path end
  end
end

local function prepare(easy, request, list)
  set(easy, "url", request.url)
  set(easy, "protocols", HTTP_AND_HTTPS)
  set(easy, "agent", "rllava")
  set(easy, "no_signal", 1)
  set(easy, "connect_ms", (request.connect or 15) * 1000)
  set(easy, "slow_bytes", 1)
  set(easy, "slow_seconds", request.stalled or 60)
  set(easy, "follow", request.follow and 1 or 0)
  set(easy, "redirects", 10)
  if certificates() then set(easy, "authority", certificates()) end
  if request.method == "HEAD" then set(easy, "no_body", 1) end
  if request.body then
    set(easy, "post_size", #request.body)
    set(easy, "post", request.body)
  end
  if request.file then set(easy, "fail", 1) end
  if request.from and request.from > 0 then set(easy, "resume", request.from) end
  if list ~= nil then set(easy, "headers", list) end
end

--- Runs the transfer -> libcurl's code.  progress(bytes) is called some times a second.
local function perform(easy, progress)
  local multi = curl.curl_multi_init()
  curl.curl_multi_add_handle(multi, easy)
  local running, bytes, left = ffi.new "int[1]", ffi.new "int64_t[1]", ffi.new "int[1]"
  local ok, message = pcall(function()
    repeat
      curl.curl_multi_perform(multi, running)
      if progress then
        curl.curl_easy_getinfo(easy, DOWNLOADED, bytes)
        progress(tonumber(bytes[0]))
      end
      if running[0] > 0 then curl.curl_multi_poll(multi, nil, 0, 200, nil) end
    until running[0] == 0
  end)
  local done = curl.curl_multi_info_read(multi, left)
  local code = done ~= nil and done.data.result or 42             -- 42: aborted
  curl.curl_multi_remove_handle(multi, easy)
  curl.curl_multi_cleanup(multi)
  if not ok then error(message, 0) end
  return code
end

--- Where the body goes: a stream, and a function that closes it -> the bytes; of a file: did the
--- end fail? nil, the reason where the file cannot be opened.
local function body_stream(path)
  if not path then return memory() end
  local stream = ffi.C.rl_file_stream(path, "ab")
  if stream == nil then return nil, path .. ": " .. ffi.string(ffi.C.rl_error_text(ffi.errno())) end
  return stream, function() return ffi.C.rl_close_stream(stream) ~= 0 end
end

--- request: url; method: "HEAD", else GET, or POST where there is a body; headers: list of
---   "Name: value"; body; follow: redirects, too (an Authorization header stays with its host);
---   file: path to append the body to, if the status is below 400; from: bytes that are there
---   already; progress(bytes); stalled, connect: seconds to wait.
--- -> { status, headers, body } where a response came, else { error = text, code = libcurl's,
---   again = may succeed next time }; both where a transfer was cut.
function http.request(request)
  local stream, take_body = body_stream(request.file)
  if not stream then return { error = take_body, code = http.WRITE } end
  local easy, detail, list = curl.curl_easy_init(), ffi.new "char[256]", nil
  for _, line in ipairs(request.headers or {}) do list = curl.curl_slist_append(list, line) end
  local header_stream, take_headers = memory()
  prepare(easy, request, list)
  set(easy, "detail", detail)
  set(easy, "header_write", header_stream)
  set(easy, "write", stream)
  local ran, code = pcall(perform, easy, request.progress)
  local status = ffi.new "long[1]"
  curl.curl_easy_getinfo(easy, RESPONSE_CODE, status)
  curl.curl_easy_cleanup(easy)
  if list ~= nil then curl.curl_slist_free_all(list) end
  local response = { headers = parse_headers(take_headers()), body = take_body() }
  if not ran then error(code, 0) end
  if request.file and response.body then code = http.WRITE end
  if status[0] > 0 then response.status = tonumber(status[0]) end
  if code ~= 0 then
    response.code, response.again = code, again[code]
    response.error = detail[0] ~= 0 and ffi.string(detail)
      or ffi.string(curl.curl_easy_strerror(code))
  end
  return response
end

return http
