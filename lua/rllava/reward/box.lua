--- Boxes [x1, y1, x2, y2]: reading them from text, overlap, and moving them between the sizes of a
--- picture (a box counted in the pixels that the model saw, and the original's).
local box = {}
local max, min = math.max, math.min

local NUMBER = "^%s*(%-?%d+)()"

--- Numbers from byte i on, one after each mark of `shape` ("[,,,]"): white space may stand before a
--- number and before a closing mark, not before a comma -> list, or nil.
local function numbers_at(s, i, shape)
  local list = {}
  for k = 1, #shape do
    local mark = shape:sub(k, k)
    if mark == "#" then
      local whole, after = s:match(NUMBER, i)
      if not whole then return nil end
      local fraction = s:match("^%.%d+", after) or ""
      list[#list + 1] = tonumber(whole .. fraction)
      i = after + #fraction
    else
      if mark ~= "," and (k > 1) then i = s:match("^%s*()", i) end
      if s:sub(i, i) ~= mark then return nil end
      i = i + 1
    end
  end
  return list
end

--- The first place where open begins a list of this shape.
local function find(s, shape)
  local at = 0
  while true do
    at = s:find(shape:sub(1, 1), at + 1, true)
    if not at then return nil end
    local list = numbers_at(s, at, shape)
    if list then return list end
  end
end

--- The box in a text: the first [a,b,c,d], else the first (a,b,c,d), else (a,b),(c,d) -> list;
--- or nil.
function box.read(s)
  return find(s, "[#,#,#,#]") or find(s, "(#,#,#,#)") or find(s, "(#,#),(#,#)")
end

--- A truth: a list of four numbers, or their text -> list, or nil.
function box.truth(v)
  if type(v) == "table" then
    local list = {}
    for i = 1, 4 do
      local n = v[i]
      list[i] = tonumber(type(n) == "table" and n.value or n)
      if not list[i] then return nil end
    end
    return list
  end
  if type(v) ~= "string" then return nil end
  local inside = v:match "^%s*[%[(](.*)[%])]%s*$" or v
  local list = {}
  for piece in (inside .. ","):gmatch "([^,]*)," do
    list[#list + 1] = tonumber(piece)
    if not list[#list] or #list > 4 then return nil end
  end
  return #list == 4 and list or nil
end

--- Intersection over union; 0 where the union is empty.
function box.iou(a, b)
  local both = max(0, min(a[3], b[3]) - max(a[1], b[1])) * max(0, min(a[4], b[4]) - max(a[2], b[2]))
  local union = (a[3] - a[1]) * (a[4] - a[2]) + (b[3] - b[1]) * (b[4] - b[2]) - both
  return union ~= 0 and both / union or 0
end

--- A box in a picture of size from = { width, height } -> the same box in one of size to.
function box.map(b, from, to)
  local x, y = to[1] / from[1], to[2] / from[2]
  return { b[1] * x, b[2] * y, b[3] * x, b[4] * y }
end

--- The sizes of a row's k-th picture -> { original = { w, h }, resized = { w, h } }, or nil.
--- row.image_sizes: a list of such pairs; else row.original_size and row.resized_size.
function box.sizes(row, k)
  local pair = row and row.image_sizes and row.image_sizes[k or 1]
  if pair then return pair end
  if row and row.original_size and row.resized_size then
    return { original = row.original_size, resized = row.resized_size }
  end
end

local frames = { ["1000"] = { 1000, 1000 }, unit = { 1, 1 } }

--- The picture size that boxes of a scale are counted in: "1000", "unit", or "original", "resized"
--- of the row's first picture.  Raises where that is not known.
function box.frame(scale, row)
  if frames[scale] then return frames[scale] end
  if scale ~= "original" and scale ~= "resized" then
    error("reward: scale: expected auto, 1000, unit, original or resized, got "
      .. tostring(scale), 0)
  end
  local sizes = box.sizes(row, 1)
  if not sizes or not sizes[scale] then
    error("reward: scale " .. scale
      .. ": expected the picture's sizes in row.image_sizes, found none",
      0)
  end
  return sizes[scale]
end

return box
