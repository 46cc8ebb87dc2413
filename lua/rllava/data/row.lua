--- One row of a data set: finds prompt, answer, pictures and videos among its columns.
local base64 = require "rllava.data.base64"
local files = require "rllava.files"
local json = require "rllava.json"

local nearest = require "rllava.nearest"

local row = {}

--- Where each part is looked for unless a key names another column than the first of these.
local known = {
  prompt = { "prompt", "problem", "question", "messages", "conversations" },
  answer = { "answer", "solution", "ground_truth", "reward_model.ground_truth" },
  image = { "images", "image", "image_path" },
  video = { "videos", "video" },
}

--- Raises what makes this row unusable; row.canonical's caller adds the place.
local function bad(message, ...) error({ bad_row = message:format(...) }, 0) end

--- null inside objects becomes nil, at every depth; in lists it stays, so that places do.
function row.without_null(value)
  if type(value) ~= "table" or value == json.null or json.is_number(value) then return value end
  if json.is_array(value) then
    for _, v in ipairs(value) do row.without_null(v) end
    return value
  end
  for _, k in ipairs(json.keys(value)) do
    if value[k] == json.null then value[k] = nil else row.without_null(value[k]) end
  end
  return value
end

--- The value of a column, or of a member of one: "reward_model.ground_truth".
local function column(t, key)
  if t[key] ~= nil then return t[key] end
  local value = t
  for name in key:gmatch "[^.]+" do
    if type(value) ~= "table" then return nil end
    value = value[name]
  end
  return value
end

local function missing(t, part, wanted, hint)
  local names, quoted = {}, {}
  for i, name in ipairs(json.keys(t)) do
    names[i] = tostring(name)
    quoted[i] = "'" .. names[i] .. "'"
  end
  local found = #names == 0 and "no columns" or "columns " .. table.concat(quoted, ", ")
  local near = nearest(wanted, names)
  bad("%s: expected a column '%s', found %s%s%s", part, wanted, found,
    near and "; the nearest is '" .. near .. "'" or "", hint)
end

--- The first of the columns that may hold this part -> value, its name; nil.
local function find(t, part, key)
  if key and key ~= known[part][1] then return column(t, key), key end
  for _, name in ipairs(known[part]) do
    local value = column(t, name)
    if value ~= nil then return value, name end
  end
end

--- A list of pictures as they stand in a column: one, several, or none.
local function entries(value)
  if value == nil or value == json.null then return {} end
  if type(value) ~= "table" or not (json.is_array(value) or next(value) == nil) then
    return { value }
  end
  return value
end

--- The file that path names: beside image_dir, or where relative paths start.
local function media_file(path, place, part)
  if path:find "^%a+://" then bad("%s: expected a file, found the address '%s'", part, path) end
  local first
  for _, folder in ipairs(path:sub(1, 1) == "/" and { "" } or place.folders) do
    local full = folder == "" and path or files.join(folder, path)
    if files.kind(full) == "file" then return full end
    first = first or full
  end
  bad("%s: expected the file '%s', found nothing", part, first or path)
end

--- The picture's file that text is in base64, or nil.
local function from_base64(text)
  local decoded = #text >= 32 and not text:find "[^%w+/=_%s-]" and base64.decode(text)
  return decoded and base64.is_picture(decoded) and decoded or nil
end

--- A picture from text: a data: URI, the bytes of a file, a path, or base64.
local function from_text(text, place)
  if text:find "^data:" then
    local bytes = base64.data_uri(text)
    return bytes and { bytes = bytes }
      or bad("image: expected base64 in the data: URI, found '%s'", text:sub(1, 40))
  end
  if base64.is_picture(text) then return { bytes = text } end
  local decoded = from_base64(text)
  if decoded then return { bytes = decoded } end
  return { path = media_file(text:gsub("^file://", ""), place, "image") }
end

--- One entry of a column of pictures -> { bytes } or { path } or { rgb, width, height }.
local function picture(entry, place)
  if type(entry) == "string" and entry ~= "" then return from_text(entry, place) end
  if type(entry) ~= "table" then
    bad("image: expected bytes or a path, found %s", tostring(entry))
  end
  if entry.rgb then return entry end
  local url = entry.image_url
  if url then return picture(type(url) == "table" and url.url or url, place) end
  if type(entry.bytes) == "string" then
    local text = entry.bytes
    local is_file = base64.is_picture(text)
    local bytes = not is_file and (base64.data_uri(text) or from_base64(text)) or text
    return { bytes = bytes, path = type(entry.path) == "string" and entry.path or nil }
  end
  local path = entry.path or entry.url or entry.image
  if type(path) == "string" then return from_text(path, place) end
  bad("image: expected bytes or a path, found neither (members: %s)",
    table.concat(json.keys(entry), ", "))
end

local roles = { human = "user", gpt = "assistant", system = "system", tool = "tool",
  observation = "tool", user = "user", assistant = "assistant", bot = "assistant" }

--- Content of a message: text stays; pictures in its parts move to images, and leave
--- { type = "image" }.
local function content(value, images, place)
  if type(value) ~= "table" or not json.is_array(value) then return value end
  local parts = json.array {}
  for i, part in ipairs(value) do
    local is_image = type(part) == "table" and (part.type == "image" or part.type == "image_url")
    if is_image and (part.image_url or part.image or part.url or part.path or part.bytes) then
      images[#images + 1] = picture(part, place)
      part = json.object { { "type", "image" } }
    end
    parts[i] = part
  end
  return parts
end

--- Messages as { role, content, ... }, also from those with from and value.
local function messages(list, images, place)
  local out = json.array {}
  for i, m in ipairs(list) do
    if type(m) ~= "table" then
      bad("prompt: message %d: expected { role, content }, found %s", i, tostring(m))
    end
    local members = {}
    for _, k in ipairs(json.keys(m)) do
      local name = k == "from" and m.role == nil and "role"
        or k == "value" and m.content == nil and "content" or k
      local value = m[k]
      if name == "role" then value = roles[value] or value end
      if name == "content" then value = content(value, images, place) end
      members[#members + 1] = { name, value }
    end
    out[i] = json.object(members)
    if type(out[i].role) ~= "string" then
      bad("prompt: message %d: expected a role, found none", i)
    end
  end
  return out
end

local function prompt(t, place, images)
  local value, key = find(t, "prompt", place.prompt_key)
  if value == nil then missing(t, "prompt", place.prompt_key or "prompt", " (data.prompt_key)") end
  if type(value) == "string" and value:find "%S" then return value, key end
  if type(value) == "table" and #value > 0 then return messages(value, images, place), key end
  local found = { string = "blank text", table = "an empty list" }
  bad("prompt: expected text or messages in column '%s', found %s", key,
    found[type(value)] or "a " .. type(value))
end

--- The answer: a column, or the last turn where it is the assistant's (it leaves the prompt then).
local function answer(t, place, turns)
  if place.answer_key == false then return nil end
  local value, key = find(t, "answer", place.answer_key)
  if value ~= nil then return value, key end
  local last = not place.answer_key and type(turns) == "table" and #turns > 1 and turns[#turns]
  if last and last.role == "assistant" then
    table.remove(turns)
    return last.content
  end
  missing(t, "answer", place.answer_key or "answer",
    " (data.answer_key; false where the reward needs none)")
end

local function videos(t, place)
  local value, key = find(t, "video", place.video_key)
  local list = {}
  for i, v in ipairs(entries(value)) do
    local path = type(v) == "table" and (v.path or v.video) or v
    if type(path) ~= "string" then bad("video: expected a path, found %s", tostring(path)) end
    list[i] = { path = media_file(path, place, "video") }
  end
  return list, key
end

--- t: a row as it was read.  place: prompt_key, answer_key, image_key, video_key and folders, where
--- relative paths are looked for -> { prompt, answer, images, videos }, the columns they came from.
--- Raises { bad_row = reason } where prompt, answer or a picture's file is missing.
function row.canonical(t, place)
  local inside, fields, from = {}, { images = {} }, {}
  fields.prompt, from.prompt = prompt(t, place, inside)
  local pictures
  pictures, from.images = find(t, "image", place.image_key)
  for _, entry in ipairs(entries(pictures)) do
    if entry ~= json.null then table.insert(fields.images, picture(entry, place)) end
  end
  if #fields.images == 0 then fields.images = inside end
  fields.answer, from.answer = answer(t, place, fields.prompt)
  fields.videos, from.videos = videos(t, place)
  return fields, from
end

return row
