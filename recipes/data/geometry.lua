--- The canvas of the drawn geometry problems: 112 x 112 pixels, labels on a lattice of 14 pixels,
--- so that each digit fills one patch of the vision tower.
local draw = require "rllava".draw

local SIZE, CELL = 112, 14
local OUTLINE, FILL, INK, MARK, WHITE = 0x285AC8, 0xDEEAFA, 0x000000, 0xD21E1E, 0xFFFFFF

local Canvas = {}
Canvas.__index = Canvas

local function new()
  local picture = draw.canvas(SIZE, SIZE, WHITE)
  return setmetatable({ picture = picture, rgb = picture.rgb, taken = {}, labels = {} }, Canvas)
end

--- points: { {x, y}, ... }; filled unless it is open.
function Canvas:polygon(points)
  self.picture:polygon(points, FILL)
  for i, p in ipairs(points) do self:line(p, points[i % #points + 1]) end
end

function Canvas:line(a, b, colour)
  self.picture:line(a[1], a[2], b[1], b[2], 2, colour or OUTLINE)
end

function Canvas:circle(x, y, r)
  self.picture:circle(x, y, r, FILL)
  self.picture:circle(x, y, r, OUTLINE, 2)
end

--- A short stroke across the middle of a side: sides so marked are equal.
function Canvas:tick(a, b)
  local mx, my = math.floor((a[1] + b[1]) / 2), math.floor((a[2] + b[2]) / 2)
  local dx, dy = b[1] - a[1], b[2] - a[2]
  local most = math.max(math.abs(dx), math.abs(dy))
  local nx, ny = math.floor(-dy * 5 / most), math.floor(dx * 5 / most)
  self:line({ mx - nx, my - ny }, { mx + nx, my + ny }, MARK)
end

--- The sign of a right angle at (x, y) towards (sx, sy).
function Canvas:square(x, y, sx, sy)
  self:line({ x + 9 * sx, y }, { x + 9 * sx, y + 9 * sy }, MARK)
  self:line({ x, y + 9 * sy }, { x + 9 * sx, y + 9 * sy }, MARK)
end

--- Text centred near (x, y), snapped to the lattice.  False where another label stands.
function Canvas:label(text, x, y)
  text = tostring(text)
  local column = math.floor((x - CELL * #text / 2) / CELL + 0.5)
  local row = math.floor((y - CELL / 2) / CELL + 0.5)
  column = math.max(0, math.min(SIZE / CELL - #text, column))
  row = math.max(0, math.min(SIZE / CELL - 1, row))
  for i = -1, #text do
    if self.taken[row * 8 + column + i] and column + i >= 0 and column + i < 8 then return false end
  end
  for i = 0, #text - 1 do self.taken[row * 8 + column + i] = true end
  self.picture:rect(column * CELL, row * CELL, CELL * #text, CELL, WHITE)
  self.picture:text(column * CELL + 2, row * CELL, text, 2, CELL, text == "?" and MARK or INK)
  self.labels[#self.labels + 1] = { text = text, at = row * 8 + column }
  return true
end

--- The numbers of the labels as one reads: from top to bottom, from left to right.
function Canvas:reading()
  table.sort(self.labels, function(a, b) return a.at < b.at end)
  local numbers = {}
  for _, l in ipairs(self.labels) do
    if l.text ~= "?" then numbers[#numbers + 1] = tonumber(l.text) end
  end
  return numbers
end

return { new = new, size = SIZE }
