--- A frozen vision tower: it runs once a picture, and its features are kept for every later prompt
--- with the same picture, as long as there is room.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local image = require "rllava.image"
local tensor = require "rllava.tensor"
local C, check = rl.C, rl.check

local Vision = {}
Vision.__index = Vision

local function replay_of(policy, dtype)
  return ffi.gc(check(C.rl_replay_new(policy.model.tape, "vision_merged", 0, 0, dtype)),
    C.rl_replay_free)
end

--- Rows of features that so many bytes hold, and their width.
local function room_of(policy, bytes)
  local width = policy.config.text_config.hidden_size
  return math.floor(bytes / (4 * width)), width
end

--- policy: recorded with its features apart; dtype as in rl_replay_new; bytes: of features that are
--- kept at most, taken here; what finds no room any more is computed again each time.  most: cells
--- of a picture that a prompt can hold; a larger one is never computed with.
function Vision.new(policy, dtype, bytes, most)
  local self = setmetatable({ policy = policy, kept = {}, used = 0, runs = 0, most = most }, Vision)
  self.rows, self.width = room_of(policy, bytes)
  self.room = tensor.zeros(self.rows, self.width):keep()
  self.replay = replay_of(policy, dtype)
  self.batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  return self
end

--- Cells of a picture: its rows of features.
local function cells_of(policy, grid)
  return grid[1] * grid[2] * grid[3] / policy.config.vision_config.spatial_merge_size ^ 2
end

--- Binds the rows of a picture's replay -> its cells.
local function bind_rows(policy, replay, picture)
  local cells = cells_of(policy, picture.grid)
  check(C.rl_replay_rows(replay, "patches", picture.rows))
  check(C.rl_replay_rows(replay, "cells", cells))
  check(C.rl_replay_rows(replay, "even_cells", policy.family.even(cells)))
  return cells
end

--- What names a picture among all others: the bytes of its file, or its pixels, and how it is read.
local function fingerprint(source, bytes, options)
  local width, height = source.rgb and source.width or 0, source.rgb and source.height or 0
  local n, hash = bytes and #bytes or 3 * width * height, ffi.new "char[17]"
  C.rl_hash(bytes or source.rgb, n, hash)
  return ("%s %d %dx%d %s %s"):format(ffi.string(hash), n, width, height,
    tostring(options.min_pixels), tostring(options.max_pixels))
end

--- What a picture { patches, grid } adds to the tower's batch, whose tokens are its cells.
local function media_of(policy, picture, cells)
  local rows = {}
  for i = 1, cells do rows[i] = i - 1 end
  return policy.family.media(policy.config, { picture.grid }, picture.patches, rows)
end

--- Bytes that the tower takes for a picture, and features of at most so many bytes: { arena, media,
--- halves, room }.
function Vision.bytes(policy, dtype, picture, bytes)
  local replay = replay_of(policy, dtype)
  local cells = bind_rows(policy, replay, picture)
  local rows, width = room_of(policy, bytes)
  return { room = C.rl_bytes_of(4 * rows * width), arena = C.rl_replay_bytes(replay),
    halves = C.rl_replay_halves(replay),
    media = C.rl_media_bytes(media_of(policy, picture, cells), 1) }
end

--- Runs the tower on a picture { patches, grid }; its features [cells, width] go to `to`.
function Vision:run(picture, to)
  local n = cells_of(self.policy, picture.grid)
  local media = media_of(self.policy, picture, n)
  C.rl_batch_clear(self.batch)
  check(C.rl_batch_segment(self.batch, -1, ffi.new("int[?]", n), n, nil, nil, 0, 0))
  check(C.rl_batch_media(self.batch, 0, media))
  check(C.rl_batch_bind(self.batch, self.replay, 1))
  check(C.rl_replay_forward(self.replay))
  tensor.scope(function()
    local out = tensor.own(C.rl_replay_output(self.replay, "vision_merged"))
    ffi.copy(to, out:data(), 4 * n * self.width)
  end)
  C.rl_media_free(ffi.gc(media, nil))
  self.runs = self.runs + 1
end

--- Takes what a picture of that size needs, and runs it once.
function Vision:reserve(picture)
  local cells = bind_rows(self.policy, self.replay, picture)
  check(C.rl_replay_reserve(self.replay))
  local features = image.room("float", cells * self.width)
  self:run(picture, features)
  image.release { features = features }
end

--- A picture's features: { features = float *, rows, width, grid, size }.  source: as rows of data
--- name a picture; bytes: of its file, or nil; make() -> { patches, grid }, size: the picture as
--- the processor makes it, asked for only where it is not kept.
function Vision:of(source, bytes, options, make)
  local key = fingerprint(source, bytes, options)
  local x, to = self.kept[key], nil
  if x then
    to = self.room:data() + x.at * self.width
  else
    local picture, size = make()
    local n = cells_of(self.policy, picture.grid)
    x = { at = self.used, rows = n, grid = picture.grid, size = size }
    if n <= self.most and x.at + n <= self.rows then
      to, self.kept[key], self.used = self.room:data() + x.at * self.width, x, x.at + n
    else
      to = image.room("float", n * self.width)
    end
    if n <= self.most then self:run(picture, to) end
    image.release(picture)
  end
  return { features = to, rows = x.rows, width = self.width, grid = x.grid, size = x.size }
end

return Vision
