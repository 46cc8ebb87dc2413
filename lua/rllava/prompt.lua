--- A prompt as the runtime takes it: ids, positions, and what its pictures add.
---   { ids = int *, n, positions = int * (3 n) or nil, media = rl_media or nil, text, images }
local ffi = require "ffi"
local rl = require "rllava.ffi"

local prompt = {}

local function ints(list) return ffi.new("int[?]", math.max(1, #list), list) end

--- ids with one placeholder a picture -> one a cell of it.  Their number must be that of the pictures.
local function expand(ids, id, images, merge)
  local out, k = {}, 0
  for _, token in ipairs(ids) do
    if token ~= id then
      out[#out + 1] = token
    else
      k = k + 1
      local grid = images[k] and images[k].grid
      if not grid then break end
      for _ = 1, grid[1] * grid[2] * grid[3] / merge ^ 2 do out[#out + 1] = id end
    end
  end
  if k ~= #images then
    rl.raise("prompt: pictures: expected %d as the placeholders in the text, got %d", k, #images)
  end
  return out
end

--- ids: a list of tokens, one placeholder a picture; images: list of { patches = float *, rows, grid = {t, h, w} }.
function prompt.new(policy, ids, images)
  local self = { images = images }
  if images and #images > 0 then
    local config = policy.config
    ids = expand(ids, config.image_token_id, images, config.vision_config.spatial_merge_size)
    local media, rows, total, width = {}, {}, 0, images[1].width
    for k, image in ipairs(images) do media[k], total = image.grid, total + image.rows end
    for i, token in ipairs(ids) do if token == config.image_token_id then rows[#rows + 1] = i - 1 end end
    local pixels, at = ffi.new("float[?]", total * width), 0
    for _, image in ipairs(images) do
      ffi.copy(pixels + at, image.patches, 4 * image.rows * width)
      at = at + image.rows * width
    end
    local t, h, w = policy.family.positions(config, ids, media)
    local n = #ids
    self.positions = ffi.new("int[?]", 3 * n)
    for i = 0, n - 1 do
      self.positions[i], self.positions[n + i], self.positions[2 * n + i] = t[i + 1], h[i + 1], w[i + 1]
    end
    self.media = policy.family.media(config, media, pixels, rows)
  end
  self.ids, self.n = ints(ids), #ids
  return self
end

return prompt
