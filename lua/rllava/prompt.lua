--- A prompt as batches and the engine take it: tokens, their positions, what its pictures add.
---
---   prompt.new(policy, ids, pictures)     ids: one placeholder for each of processor:image
---   prompt.of_row(policy, row, options)   a row of data through template, tokenizer and processor
---   -> { ids = int *, n, positions = int *[3][n] or nil, media = rl_media or nil, text }
local ffi = require "ffi"
local rl = require "rllava.ffi"

local prompt = {}

local function ints(list) return ffi.new("int[?]", math.max(1, #list), list) end

--- ids with one placeholder a picture -> one a cell of it.
--- Their number must be that of the pictures.
local function expand(ids, id, images, merge)
  local out, k = {}, 0
  for _, token in ipairs(ids) do
    if token ~= id then
      out[#out + 1] = token
    else
      k = k + 1
      local grid = images[k] and images[k].grid
      for _ = 1, grid and grid[1] * grid[2] * grid[3] / merge ^ 2 or 0 do out[#out + 1] = id end
    end
  end
  if k ~= #images then
    rl.raise("prompt: pictures: expected %d as the placeholders in the text, got %d", k, #images)
  end
  return out
end

--- The patches (or features) of all pictures in one array, their grids, and the rows of their
--- placeholders.
local function gather(ids, id, images)
  local media, rows, total, width = {}, {}, 0, images[1].width
  for k, image in ipairs(images) do media[k], total = image.grid, total + image.rows end
  for i, token in ipairs(ids) do if token == id then rows[#rows + 1] = i - 1 end end
  if #images == 1 then return media, images[1].features or images[1].patches, rows end
  local pixels, at = require("rllava.image").room("float", total * width), 0
  for _, image in ipairs(images) do
    ffi.copy(pixels + at, image.features or image.patches, 4 * image.rows * width)
    at = at + image.rows * width
  end
  return media, pixels, rows
end

--- What the pictures add to a batch: their patches, or the features of a frozen tower.
local function media_of(policy, media, pixels, rows)
  if policy.features then return policy.family.features(policy.config, pixels, rows) end
  return policy.family.media(policy.config, media, pixels, rows)
end

local function refuse_videos(config, ids)
  for _, id in ipairs(ids) do
    if id == config.video_token_id then
      rl.raise "prompt: videos: expected no placeholder of one, found one; videos are not read"
    end
  end
end

local function add_pictures(self, policy, ids, images)
  local config = policy.config
  refuse_videos(config, ids)
  ids = expand(ids, config.image_token_id, images, config.vision_config.spatial_merge_size)
  local media, pixels, rows = gather(ids, config.image_token_id, images)
  local t, h, w = policy.family.positions(config, ids, media)
  local n = #ids
  self.positions = ffi.new("int[?]", 3 * n)
  for i = 0, n - 1 do
    self.positions[i], self.positions[n + i] = t[i + 1], h[i + 1]
    self.positions[2 * n + i] = w[i + 1]
  end
  self.media, self.cells = media_of(policy, media, pixels, rows), #rows
  if #images > 1 then require("rllava.image").release { pixels = pixels } end
  return ids
end

--- ids: a list of tokens, one placeholder a picture; images: list of
--- { patches = float *, rows, width, grid = {t, h, w} }, or of { features = float * ... } behind a
--- frozen tower.  Refuses a number of placeholders that is not that of the pictures.
function prompt.new(policy, ids, images)
  local self = {}
  if images and #images > 0 then ids = add_pictures(self, policy, ids, images) end
  self.ids, self.n = ints(ids), #ids
  return self
end

--- Gives the memory of a prompt's pictures back; it can be counted and shown, not computed with.
function prompt.release(self)
  if self.media then ffi.C.rl_media_free(ffi.gc(self.media, nil)) end
  self.media = nil
end

--- A picture within the limits of its area, as the processor makes it -> it, its sizes before and
--- after.
local function picture(policy, source, bytes, name, options)
  local image, processor = require "rllava.image", policy.processor
  local whole = source.rgb and source or image.decode(bytes, name)
  local patch = processor.rule.patch
  local side = patch * processor.rule.merge
  local held = image.limit(whole, options.min_pixels, options.max_pixels, side)
  local made = processor:image(held)
  local grid = made.grid
  return made, { original = { whole.width, whole.height },
    resized = grid and { grid[3] * patch, grid[2] * patch } or { held.width, held.height } }
end

--- A row's pictures; their sizes before and after go to
--- row.image_sizes = { { original = {w, h}, resized = {w, h} }, ... },
--- for rewards that look at boxes.
local function pictures(policy, row, options)
  local out, sizes, name = {}, {}, row.source or "row"
  if row.videos and #row.videos > 0 then
    rl.raise("%s: videos: expected none, found %d; videos are not read", name, #row.videos)
  end
  for i, source in ipairs(row.images or {}) do
    if not policy.processor then
      rl.raise("%s: pictures: expected none, %s reads no pictures", name, policy.path)
    end
    local bytes
    if not source.rgb then bytes = source.bytes or require("rllava.files").read(source.path) end
    local function make()
      return picture(policy, source, bytes, source.path or row.source, options)
    end
    if options.vision then
      out[i] = options.vision:of(source, bytes, options, make)
      sizes[i] = out[i].size
    else
      out[i], sizes[i] = make()
    end
  end
  row.image_sizes = sizes
  return out
end

--- A row { prompt = text or messages, images } -> its prompt, with .text,
--- what the template made of it.
--- options: format_prompt, a compiled template around the prompt's text; min_pixels, max_pixels:
--- limits of a picture's area; chat: instead of the policy's own; vision: the frozen tower that
--- makes features.
function prompt.of_row(policy, row, options)
  options = options or {}
  local ok, self = pcall(function()
    local images, format = pictures(policy, row, options), options.format_prompt
    local messages = require("rllava.chat").messages(row.prompt, #images, nil, format)
    local text = (options.chat or policy.chat):render(messages, { add_generation_prompt = true })
    local made = prompt.new(policy, policy.tokenizer:encode(text), images)
    -- the prompt has its copy
    for _, x in ipairs(images) do require("rllava.image").release(x) end
    made.text = text
    return made
  end)
  if ok then return self end
  local message = tostring(self)
  local named = not row.source or message:find(row.source, 1, true)
  error(named and message or row.source .. ": " .. message, 0)
end

local left_out = 0

--- Is a prompt within cfg.max_prompt_length?  Where it is not, that is an error, or, with
--- cfg.filter_overlong, said and counted; it is never cut.  cfg: the group data of a run.
function prompt.fits(made, row, cfg)
  if made.n <= cfg.max_prompt_length then return true end
  local message = ("%s: prompt: expected at most %d tokens (data.max_prompt_length), "
    .. "got %d"):format(row.source or "row", cfg.max_prompt_length, made.n)
  if not cfg.filter_overlong then rl.raise("%s", message) end
  left_out = left_out + 1
  if left_out <= 10 or left_out % 100 == 0 then
    io.stderr:write(message, ("; left out, %d so far\n"):format(left_out))
  end
  return false
end

return prompt
