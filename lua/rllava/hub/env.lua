--- What the environment says of the hub: where it is, where its cache is, who asks.  Names and
--- defaults are those of huggingface_hub.
local files = require "rllava.files"
local rl = require "rllava.ffi"

local env = {}

local function value(...)
  for _, name in ipairs { ... } do
    local v = os.getenv(name)
    if v and v ~= "" then return v end
  end
end

local function home()
  local path = value "HF_HOME"
  if path then return (path:gsub("^~", os.getenv "HOME" or "~")) end
  local user = value "HOME"
  local cache = value "XDG_CACHE_HOME" or user and user .. "/.cache"
  if not cache then rl.raise "hub: expected HOME or HF_HOME to be set, found neither" end
  return cache .. "/huggingface"
end

--- The folder of the cache.
function env.cache() return value("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") or home() .. "/hub" end

--- The address of the hub, without a slash at its end.
function env.endpoint() return (value "HF_ENDPOINT" or "https://huggingface.co"):gsub("/+$", "") end

--- The token, or nil: of the environment, or the file that `hf auth login` writes.
function env.token()
  local token = value("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
  if not token then
    local path = value "HF_TOKEN_PATH" or home() .. "/token"
    token = files.kind(path) == "file" and files.read(path) or nil
  end
  token = token and token:match "^%s*(.-)%s*$"
  if token and token:find "[%c]" then
    rl.raise "hub: expected a token of one line, found several"
  end
  return token ~= "" and token or nil
end

--- Shall there be no progress lines?
function env.quiet()
  local v = (value "HF_HUB_DISABLE_PROGRESS_BARS" or ""):upper()
  return v == "1" or v == "ON" or v == "YES" or v == "TRUE"
end

return env
