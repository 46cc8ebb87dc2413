--- The tokenizer: golden cases of the reference, bad files, long texts.
local T = require "check"
local json = require "rllava.json"
local files = require "rllava.files"
local tokenizer = require "rllava.tokenizer"

local function lines(path)
  local out = {}
  for line in T.read(path):gmatch "[^\n]+" do out[#out + 1] = json.decode(line, path) end
  return out
end

local function show(v) return json.encode(v):sub(1, 300) end

--- got must be want; what: the case, for the message.
local function same(got, want, what)
  local ok = pcall(T.equal, json.array(got), json.array(want))
  if not ok then error(("%s: expected %s, got %s"):format(what, show(want), show(got)), 0) end
end

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(text)
  local bits, n, out = 0, 0, {}
  for c in text:gmatch "[%w+/]" do
    bits, n = bits * 64 + BASE64:find(c, 1, true) - 1, n + 6
    if n >= 8 then
      n = n - 8
      out[#out + 1] = string.char(math.floor(bits / 2 ^ n))
      bits = bits % 2 ^ n
    end
  end
  return table.concat(out)
end

local function check_case(t, case)
  local what = ("case %d %q"):format(case.id, case.text)
  local text = case.bytes_b64 and base64(case.bytes_b64) or case.text
  local ids, from, to = t:offsets(text)
  same(ids, case.ids, what)
  for i, pair in ipairs(case.offsets or {}) do
    same({ from[i], to[i] }, pair, what .. ": offsets " .. i)
  end
  if case.bytes_b64 then return same({ t:decode(ids) }, { case.decoded }, what .. ": decoded") end
  same(t:encode(text, true), case.ids_with_special or case.ids, what .. ": with special tokens")
  same(t:encode(text, false, true), case.ids_special_as_text or case.ids, what .. ": special tokens as text")
  same({ t:decode(ids) }, { case.decoded }, what .. ": decoded")
  same({ t:decode(ids, true) }, { case.decoded_skip_special }, what .. ": decoded without special tokens")
end

local function check_stream(t, case)
  local s, pieces, what = t:stream(case.skip_special), {}, "ids " .. show(case.ids)
  for i, id in ipairs(case.ids) do pieces[i] = s:put(id) end
  local flush = s:finish()
  same({ t:decode(case.ids, case.skip_special) }, { case.decoded }, what)
  if case.pieces then
    same(pieces, case.pieces, what)
    same({ flush }, { case.flush }, what .. ": at the end")
  end
  if case.pieces or case.valid_bytes then same({ table.concat(pieces) .. flush }, { case.decoded }, what) end
end

for _, name in ipairs(T.list(T.goldens .. "/tokenizers")) do
  local folder = T.goldens .. "/tokenizers/" .. name
  if files.kind(folder .. "/tokenizer.json") then
    local t
    local function each(file, body)
      if not files.kind(folder .. "/" .. file) then return end
      T.golden("tokenizers/" .. name .. "/" .. file, function()
        t = t or tokenizer.load(folder)
        for _, case in ipairs(lines(folder .. "/" .. file)) do body(t, case) end
        return 0
      end)
    end
    each("cases.jsonl", check_case)
    each("stream.jsonl", check_stream)
  end
end
