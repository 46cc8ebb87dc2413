--- Qwen2.5-VL: a vision tower with window attention, its merger, and the Qwen2 text side with
--- multimodal rotary positions.  arXiv:2502.13923, section 2.1
local ffi = require "ffi"
local rl = require "rllava.ffi"
local llama = require "rllava.model.llama"
local C, check = rl.C, rl.check

local vl = {}

local EPS = 1e-6                                        -- of the tower's norms; not in the config

--- ---- index: what one prompt's pictures add to a batch; made once a prompt ----

--- media: list of { t, h, w } grids in patches (and .seconds: of one grid step of a video).
--- -> lists from 0: positions (y, x of each patch in window order), order and back (window order of
--- cells and its inverse), even (the cells, an odd last one twice: products in bf16 take rows in
--- pairs, which must not straddle prompts), windows, frames (lengths in patches).  Cells are
--- merge x merge patches.
local function grid_cells(vision, t, h, w, frame, visit)
  local merge = vision.spatial_merge_size
  local side = math.floor(vision.window_size / merge / vision.patch_size)   -- cells of a window
  local rows, cols = h / merge, w / merge
  for wy = 0, rows - 1, side do
    for wx = 0, cols - 1, side do
      local count = 0
      for y = wy, math.min(wy + side, rows) - 1 do
        for x = wx, math.min(wx + side, cols) - 1 do
          visit(frame * rows * cols + y * cols + x, y, x)
          count = count + 1
        end
      end
      visit(nil, count)                                 -- a window ends
    end
  end
end

--- Rows of so many cells in the merger: see index.
function vl.even(cells) return cells + cells % 2 end

function vl.index(config, media)
  local vision, merge = config.vision_config, config.vision_config.spatial_merge_size
  local per_cell = merge * merge
  local out = { order = {}, back = {}, ys = {}, xs = {}, windows = {}, frames = {}, cells = 0,
    even = {} }
  for _, grid in ipairs(media) do
    local t, h, w = grid[1], grid[2], grid[3]
    for frame = 0, t - 1 do
      grid_cells(vision, t, h, w, frame, function(cell, y, x)
        if not cell then out.windows[#out.windows + 1] = y * per_cell return end
        local at = #out.order
        out.order[at + 1] = out.cells + cell
        out.back[out.cells + cell + 1] = at
        for dy = 0, merge - 1 do
          for dx = 0, merge - 1 do
            out.ys[#out.ys + 1], out.xs[#out.xs + 1] = y * merge + dy, x * merge + dx
          end
        end
      end)
      out.frames[#out.frames + 1] = h * w
    end
    out.cells = out.cells + t * h * w / per_cell
  end
  for i = 1, vl.even(out.cells) do out.even[i] = math.min(i, out.cells) - 1 end
  return out
end

--- Rows of positions t, h, w for a prompt: text counts on, a picture spreads over rows and columns
--- and text goes on behind its longer side.
--- ids from 1; media as in index, in the order of their placeholders.
function vl.positions(config, ids, media)
  local merge = config.vision_config.spatial_merge_size
  local t, h, w, at, i, item = {}, {}, {}, 0, 1, 1
  while i <= #ids do
    if ids[i] ~= config.image_token_id and ids[i] ~= config.video_token_id then
      t[i], h[i], w[i], at, i = at, at, at, at + 1, i + 1
    else
      local grid = media[item]
      local rows, cols = grid[2] / merge, grid[3] / merge
      local speed = (grid.seconds or 0) * (config.vision_config.tokens_per_second or 2)
      for frame = 0, grid[1] - 1 do
        for y = 0, rows - 1 do
          for x = 0, cols - 1 do
            t[i], h[i], w[i], i = at + math.floor(frame * speed), at + y, at + x, i + 1
          end
        end
      end
      at, item = at + math.max(rows, cols), item + 1
    end
  end
  return t, h, w
end

--- What a prompt's pictures add to a batch, as rl_media: pixels is a float array of their patches'
--- rows; rows: where their placeholders stand among the ids (from 0); media: their grids.
function vl.media(config, media, pixels, rows)
  local v, x = config.vision_config, vl.index(config, media)
  local patches = #x.ys
  local positions = {}
  for i = 1, patches do positions[i], positions[patches + i] = x.ys[i], x.xs[i] end
  local m = ffi.gc(C.rl_media_new(), C.rl_media_free)
  local function ints(list) return ffi.new("int[?]", math.max(1, #list), list) end
  local cols = v.in_channels * v.temporal_patch_size * v.patch_size ^ 2
  check(C.rl_media_floats(m, "pixels", "patches", patches, cols, pixels))
  check(C.rl_media_ints(m, "patch_positions", "patches", patches, 2, ints(positions), nil))
  check(C.rl_media_ints(m, "cell_order", "cells", x.cells, 1, ints(x.order), "cells"))
  check(C.rl_media_ints(m, "cell_even", "even_cells", #x.even, 1, ints(x.even), "cells"))
  check(C.rl_media_ints(m, "cell_back", "cells", x.cells, 1, ints(x.back), "even_cells"))
  check(C.rl_media_ints(m, "image_rows", "cells", x.cells, 1, ints(rows), "tokens"))
  check(C.rl_media_segments(m, "windows", "patches", ints(x.windows), #x.windows))
  check(C.rl_media_segments(m, "frames", "patches", ints(x.frames), #x.frames))
  return m
end

--- The same where a frozen tower has run: features [cells, d] instead of patches.
function vl.features(config, features, rows)
  local m, n = ffi.gc(C.rl_media_new(), C.rl_media_free), #rows
  local d = config.text_config.hidden_size
  check(C.rl_media_floats(m, "image_features", "features", n, d, features))
  check(C.rl_media_ints(m, "image_rows", "features", n, 1, ffi.new("int[?]", n, rows), "tokens"))
  return m
end

--- ---- forward: recorded once ----

--- One tower block.  h [patches, d]; segments: windows or whole frames -> [patches, d].
local function block(m, name, v)
  local d, hd = v.hidden_size, v.hidden_size / v.num_heads
  local norm1, norm2 = m:rmsnorm(name .. ".norm1", d, EPS), m:rmsnorm(name .. ".norm2", d, EPS)
  local qkv = m:linear(name .. ".attn.qkv", 3 * d, d, true)
  local proj = m:linear(name .. ".attn.proj", d, d, true)
  local gate = m:linear(name .. ".mlp.gate_proj", v.intermediate_size, d, true)
  local up = m:linear(name .. ".mlp.up_proj", v.intermediate_size, d, true)
  local down = m:linear(name .. ".mlp.down_proj", d, v.intermediate_size, true)
  return function(h, rope, segments)
    local x = qkv(norm1(h))
    local function third(i) return x:columns(i * d, d):heads(hd) end
    local q, k, value = third(0), third(1), third(2)
    h = h + proj(q:rope(rope):attention(k:rope(rope), value, segments, hd ^ -0.5))
    x = norm2(h)
    return h + down(gate(x):swiglu(up(x)))
  end
end

--- Angles y f, x f of each patch, f = 10000^(-2j / (head_dim / 2)).
local function vision_rope(m, v)
  local quarter, freqs = v.hidden_size / v.num_heads / 4, {}
  for axis = 0, 1 do
    for j = 0, quarter - 1 do freqs[axis * quarter + j + 1] = 10000 ^ (-j / quarter) end
  end
  return m:rope_table(m:ints("patch_positions", "patches"), freqs, { quarter, quarter })
end

--- The tower: pixels [patches, channels x 2 x patch x patch] -> features [cells, out_hidden_size].
local function tower(m, v)
  local d, merge = v.hidden_size, v.spatial_merge_size
  local channels, times, side = v.in_channels, v.temporal_patch_size, v.patch_size
  local patch = m:param("visual.patch_embed.proj.weight", d, channels, times, side, side)
  local pixels = m:floats("pixels", "patches", channels * times * side ^ 2)
  local h = m:output("vision_patch_embed", pixels:linear(patch))
  local wide = merge * merge * d
  h = h:tape_rows("cells", wide):gather(m:ints("cell_order", "cells")):tape_rows("patches", d)
  local rope, windows, frames = vision_rope(m, v), m:table "windows", m:table "frames"
  local full = {}
  for _, i in ipairs(v.fullatt_block_indexes) do full[i] = true end
  for i = 0, v.depth - 1 do
    h = block(m, "visual.blocks." .. i, v)(m:mark(h), rope, full[i] and frames or windows)
    if i == 0 then m:output("vision_block0", h) end
  end
  m:output("vision_last", h)
  local x = m:rmsnorm("visual.merger.ln_q", d, EPS)(m:mark(h)):tape_rows("cells", wide)
    :gather(m:ints("cell_even", "even_cells"))
  x = m:linear("visual.merger.mlp.2", v.out_hidden_size, wide, true)(
    m:linear("visual.merger.mlp.0", wide, wide, true)(x):gelu())
  return m:output("vision_merged", x:gather(m:ints("cell_back", "cells")))
end

--- The whole model on m: features take the rows of their placeholders.  m.features: they are an
--- input, image_features; "apart": of a frozen tower that is recorded beside; "alone": without one.
function vl.record(m)
  local c = llama.config(m.config)
  local features = m.features ~= "alone" and tower(m, m.config.vision_config)
  if m.features then
    m:freeze "^visual%."
    features = m:floats("image_features", "features", c.hidden_size)
  end
  llama.text(m, c, function(h, layer)
    if layer > 0 then return h end
    return h:place(features, m:ints("image_rows", m.features and "features" or "cells"))
  end)
end

return vl
