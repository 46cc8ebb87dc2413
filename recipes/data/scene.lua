--- Scenes in the manner of CLEVR: cubes, spheres and cylinders of four colours on a lit floor, 112 x 112 pixels.
--- Each thing lies within one of 4 x 4 cells, which is 28 x 28 pixels: one merged token of the vision tower.
---
---   local things = scene.things(random, { least = 3, most = 9 })
---     -> { { shape, colour (names), size (pixels), box = { x1, y1, x2, y2 }, cell (1 to 16), row, column }, ... }
---   scene.draw(things) -> bytes [112, 112, 3]
local draw = require "rllava".draw

local scene = { size = 112, cell = 28, cells = 4 }

--- Colours with how they look: where the light falls, and in the shade.
scene.colours = { { name = "red", lit = 0xF07060, mid = 0xD02A24, dark = 0x7A1412 },
  { name = "green", lit = 0x7CD68A, mid = 0x259A42, dark = 0x0F5423 },
  { name = "blue", lit = 0x86A8F6, mid = 0x2C5CD2, dark = 0x142E78 },
  { name = "yellow", lit = 0xFCE88A, mid = 0xE8BE1E, dark = 0x8E7008 } }
scene.shapes = { "cube", "sphere", "cylinder" }

local shade_of = {}
for _, c in ipairs(scene.colours) do shade_of[c.name] = c end

--- Sizes 15 to 24, the height; a cylinder is narrower.  The thing and its shadow stay inside the cell.
local function place(r, cell, shape, colour)
  local row, column = math.floor((cell - 1) / scene.cells), (cell - 1) % scene.cells
  local size = r:int(15, 24)
  local width = shape == "cylinder" and math.floor(size * 0.8) or size
  local x = column * scene.cell + r:int(1, scene.cell - width - 2)
  local y = row * scene.cell + r:int(1, scene.cell - size - 3)
  return { shape = shape, colour = colour, size = size, box = { x, y, x + width, y + size }, cell = cell,
    row = row + 1, column = column + 1 }
end

--- Things in reading order.  least, most: how many (3, 9); distinct: no two of the same shape and colour (12 at most).
function scene.things(r, options)
  local o = options or {}
  local free, list, seen = {}, {}, {}
  for i = 1, scene.cells * scene.cells do free[i] = i end
  for _ = 1, r:int(o.least or 3, o.most or 9) do
    local cell, shape, colour = table.remove(free, r:int(1, #free)), nil, nil
    repeat shape, colour = r:pick(scene.shapes), r:pick(scene.colours).name
    until not (o.distinct and seen[shape .. colour])
    seen[shape .. colour] = true
    list[#list + 1] = place(r, cell, shape, colour)
  end
  table.sort(list, function(a, b) return a.cell < b.cell end)
  return list
end

local function shadow(c, thing)
  local x1, _, x2, y2 = unpack(thing.box)
  for i = 1, 3 do
    c:smooth_ellipse((x1 + x2) / 2 + 1, y2 - 1.5, (x2 - x1) / 2 + 1.5 - i, 4 - i * 0.75, { lit = 0x303848, opacity = 0.2 })
  end
end

local figures = {}

function figures.sphere(c, x, y, s, look)
  c:smooth_ellipse(x + s / 2, y + s / 2, s / 2, s / 2,
    { lit = look.lit, dark = look.mid, x = x + s * 0.36, y = y + s * 0.3, rx = s * 0.5, ry = s * 0.5 })
  c:smooth_ellipse(x + s / 2, y + s / 2, s / 2, s / 2,
    { lit = look.mid, dark = look.dark, x = x + s * 0.36, y = y + s * 0.3, rx = s, ry = s, opacity = 0.5 })
  c:smooth_ellipse(x + s * 0.34, y + s * 0.28, s * 0.1, s * 0.08, { lit = 0xFFFFFF, opacity = 0.8 })
end

function figures.cube(c, x, y, s, look)
  local d = s * 0.3
  local w = s - d
  c:smooth_polygon({ { x, y + d }, { x + d, y }, { x + s, y }, { x + s, y + w }, { x + w, y + s }, { x, y + s } }, look.mid)
  c:smooth_polygon({ { x, y + d }, { x + d, y }, { x + s, y }, { x + w, y + d } }, look.lit)
  c:smooth_polygon({ { x + w, y + d }, { x + s, y }, { x + s, y + w }, { x + w, y + s } }, look.dark)
end

function figures.cylinder(c, x, y, s, look, width)
  local rx, ry = width / 2, s * 0.14
  local middle = x + rx
  local side = { lit = look.mid, dark = look.dark, x = middle - rx * 0.4, rx = rx * 1.5 }
  c:smooth_ellipse(middle, y + s - ry, rx, ry, side)
  c:smooth_polygon({ { x, y + ry }, { x + width, y + ry }, { x + width, y + s - ry }, { x, y + s - ry } }, side)
  c:smooth_line(middle - rx * 0.5, y + ry * 2.5, middle - rx * 0.5, y + s - ry * 1.2, rx * 0.4,
    { lit = look.lit, opacity = 0.7 })
  c:smooth_ellipse(middle, y + ry, rx, ry, look.lit)
  c:smooth_ellipse(middle, y + ry, rx - 1, ry - 0.75, { lit = look.mid, opacity = 0.35 })
end

local function new_floor()
  local c = draw.canvas(scene.size, scene.size, 0)
  local all = { { 0, 0 }, { scene.size, 0 }, { scene.size, scene.size }, { 0, scene.size } }
  c:smooth_polygon(all, { lit = 0xE6E8EA, dark = 0xB9BCC2, x = 40, y = 30, rx = 110, ry = 110 })
  return c
end

--- The picture: bytes [112, 112, 3].
function scene.draw(things)
  scene.floor = scene.floor or new_floor()
  local c = scene.floor:copy()
  for _, t in ipairs(things) do
    shadow(c, t)
    figures[t.shape](c, t.box[1], t.box[2], t.size, shade_of[t.colour], t.box[3] - t.box[1])
  end
  return c.rgb
end

return scene
