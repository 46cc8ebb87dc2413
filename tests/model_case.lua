--- A golden case of a model: its sequences as segments of a batch, its media,
--- and the numbers to compare.
local ffi = require "ffi"
local json = require "rllava.json"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local T = require "check"
local C, check = rl.C, rl.check

local Case = {}
Case.__index = Case

--- folder, name: "case_00".  policy: of that folder.
function Case.open(folder, name, policy)
  local path = folder .. "/" .. name
  local meta = json.decode(T.read(path .. ".meta.json"), path)
  local self = setmetatable({ meta = meta, policy = policy, sequences = {} }, Case)
  self.t = require "safetensors"(path .. ".safetensors")
  self.rows = self.t.input_ids.n
  self:cut()
  return self
end

--- The grids of the next n media of a kind, taken from its list.
local function take_grids(t, kind, from, n)
  local grids, list = {}, t[kind .. "_grid_thw"]
  for k = from, from + n - 1 do
    local d = list.data + 3 * k
    grids[#grids + 1] = { d[0], d[1], d[2], kind = kind,
      seconds = kind == "video" and t.second_per_grid_ts and t.second_per_grid_ts.data[k] or nil }
  end
  return grids
end

--- Media of a sequence in the order of their placeholders: runs of equal type among its tokens.
local function in_order(types, from, n, images, videos)
  local out, left = {}, { images, videos }
  local row = from
  while row < from + n do
    local kind = types and types[row] or 0
    if kind == 0 then
      row = row + 1
    else
      local grid = table.remove(left[kind], 1)
      out[#out + 1] = grid
      row = row + grid[1] * grid[2] * grid[3] / 4
    end
  end
  return out
end

--- Sequences: { from, n, ids (one more, for the row that answers last), positions, grids, media }.
function Case:cut()
  local t, from, at = self.t, 0, { image = 0, video = 0 }
  self.grids = {}
  for s = 0, t.seq_lens.n - 1 do
    local n, grids = t.seq_lens.data[s], { image = {}, video = {} }
    for _, kind in ipairs { "image", "video" } do
      local count = t[kind .. "s_per_seq"] and t[kind .. "s_per_seq"].data[s] or 0
      grids[kind] = take_grids(t, kind, at[kind], count)
      at[kind] = at[kind] + count
    end
    local types = t.mm_token_type_ids and t.mm_token_type_ids.data
    local seq = { from = from, n = n, grids = in_order(types, from, n, grids.image, grids.video) }
    seq.ids = ffi.new("int[?]", n + 1)
    ffi.copy(seq.ids, t.input_ids.data + from, 4 * n)
    seq.positions = self:positions(from, n)
    for _, g in ipairs(seq.grids) do self.grids[#self.grids + 1] = g end
    self.sequences[#self.sequences + 1], from = seq, from + n
  end
  self:place_media()
end

--- Stored positions of a sequence as [3][n + 1]; nil where they only count on (text models).
function Case:positions(from, n)
  local p = self.t.position_ids
  if #p.shape == 1 then return nil end
  local out = ffi.new("int[?]", 3 * (n + 1))
  for a = 0, 2 do ffi.copy(out + a * (n + 1), p.data + a * self.rows + from, 4 * n) end
  return out
end

local sources = { image = "pixel_values", video = "pixel_values_videos" }

--- Pixels of each sequence's media in their order, and the rows of their placeholders.
function Case:place_media()
  local at = { image = 0, video = 0 }
  local types = self.t.mm_token_type_ids
  for _, seq in ipairs(self.sequences) do
    local total, rows, width = 0, {}, nil
    for _, g in ipairs(seq.grids) do total = total + g[1] * g[2] * g[3] end
    for i = 0, types and seq.n - 1 or -1 do
      if types.data[seq.from + i] ~= 0 then rows[#rows + 1] = i end
    end
    if total > 0 then
      local filled = 0
      for _, g in ipairs(seq.grids) do
        local source, patches = self.t[sources[g.kind]], g[1] * g[2] * g[3]
        width = source.shape[2]
        seq.pixels = seq.pixels or ffi.new("float[?]", total * width)
        ffi.copy(seq.pixels + filled * width, source.data + at[g.kind] * width, 4 * patches * width)
        at[g.kind], filled = at[g.kind] + patches, filled + patches
      end
      seq.media = self.policy.family.media(self.policy.config, seq.grids, seq.pixels, rows)
    end
  end
end

--- A batch with every row asked: for its next token, the last of a sequence for id 0.
function Case:batch()
  local b = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  for _, seq in ipairs(self.sequences) do
    local asked = ffi.new("unsigned char[?]", seq.n + 1)
    ffi.fill(asked, seq.n + 1, 1)
    local s = check(C.rl_batch_segment(b, -1, seq.ids, seq.n + 1, seq.positions, asked, 1, 0))
    if seq.media then check(C.rl_batch_media(b, s, seq.media)) end
  end
  return b
end

--- L = -sum of weights logp over a replay's forward -> the loss of each sequence;
--- gradients are added.
function Case:backward(replay, batch)
  check(C.rl_batch_bind(batch, replay, 1))
  check(C.rl_replay_forward(replay))
  local losses = {}
  tensor.scope(function()
    local logp = tensor.own(C.rl_replay_output(replay, "logp"))
    local w = tensor.from(self.t.weights.data, { self.rows })
    local data, weights = logp:data(), w:data()
    for k, seq in ipairs(self.sequences) do
      losses[k] = 0
      for i = seq.from, seq.from + seq.n - 1 do losses[k] = losses[k] - weights[i] * data[i] end
    end
    (-(logp * w):sum()):backward()
    check(C.rl_replay_backward(replay))
  end)
  return losses
end

--- |got - golden| / tolerance, the largest; raises where it is above 1 or not a number.
function Case:compare(name, got, n)
  local want, spec = self.t[name], self.meta.tensors[name]
  if n ~= want.n then error(("%s: expected %d numbers, got %d"):format(name, want.n, n), 0) end
  local worst = 0
  for i = 0, want.n - 1 do
    local share = math.abs(got[i] - want.data[i]) / spec.tol_abs
    if not (share <= 1) then
      error(("%s: element %d: expected %.9g, got %.9g (tolerance %g)"):format(name, i,
        want.data[i], got[i], spec.tol_abs), 0)
    end
    worst = math.max(worst, share)
  end
  return worst
end

return Case
