--- Scenes in the manner of CLEVR: cubes, spheres and cylinders of four colours on a lit floor,
--- 112 x 112 pixels.  Each thing lies within one of 4 x 4 cells, which is 28 x 28 pixels: one
--- merged token of the vision tower.
---
---   local things = scene.things(random, { least = 3, most = 9 })
---     -> list of { shape, colour (names), size (pixels), box = { x1, y1, x2, y2 },
---                  cell (1 to 16), row, column (1 to 4) }
---   scene.draw(things) -> bytes [112, 112, 3]
local draw = require "rllava".draw

local scene = { size = 112, cell = 28, cells = 4 }

scene.colours = { "red", "green", "blue", "yellow" }
scene.shapes = { "cube", "sphere", "cylinder" }

--- What a colour looks like where the light falls, and in the shade.
local looks = { red = { lit = 0xF07060, mid = 0xD02A24, dark = 0x7A1412 },
  green = { lit = 0x7CD68A, mid = 0x259A42, dark = 0x0F5423 },
  blue = { lit = 0x86A8F6, mid = 0x2C5CD2, dark = 0x142E78 },
  yellow = { lit = 0xFCE88A, mid = 0xE8BE1E, dark = 0x8E7008 } }

--- A thing somewhere in its cell, its shadow too.  Sizes 15 to 24, the height; a cylinder is
--- narrower.
local function place(r, cell, shape, colour)
  local row, column = math.floor((cell - 1) / scene.cells), (cell - 1) % scene.cells
  local size = r:int(15, 24)
  local width = shape == "cylinder" and math.floor(size * 0.8) or size
  local x = column * scene.cell + r:int(1, scene.cell - width - 2)
  local y = row * scene.cell + r:int(1, scene.cell - size - 3)
  return { shape = shape, colour = colour, size = size, box = { x, y, x + width, y + size },
    cell = cell, row = row + 1, column = column + 1 }
end

--- Things in reading order.  least, most: how many (3, 9); colours, shapes: names to draw from
--- (all); distinct: no two of the same shape and colour (12 at most).
function scene.things(r, options)
  local o = options or {}
  local free, list, seen = {}, {}, {}
  for i = 1, scene.cells * scene.cells do free[i] = i end
  for _ = 1, r:int(o.least or 3, o.most or 9) do
    local cell, shape, colour = table.remove(free, r:int(1, #free)), nil, nil
    repeat shape, colour = r:pick(o.shapes or scene.shapes), r:pick(o.colours or scene.colours)
    until not (o.distinct and seen[shape .. colour])
    seen[shape .. colour] = true
    list[#list + 1] = place(r, cell, shape, colour)
  end
  table.sort(list, function(a, b) return a.cell < b.cell end)
  return list
end

local function shadow(c, thing)
  local x1, _, x2, y2 = unpack(thing.box)
  local x, y, rx = (x1 + x2) / 2 + 1, y2 - 1.5, (x2 - x1) / 2 + 1.5
  local paint = { lit = 0x303848, opacity = 0.2 }
  for i = 1, 3 do c:smooth_ellipse(x, y, rx - i, 4 - i * 0.75, paint) end
end

local figures = {}

function figures.sphere(c, x, y, size, _, look)
  local r, light_x, light_y = size / 2, x + size * 0.36, y + size * 0.3
  local function ball(paint)
    paint.x, paint.y = light_x, light_y
    c:smooth_ellipse(x + r, y + r, r, r, paint)
  end
  ball { lit = look.lit, dark = look.mid, rx = r, ry = r }
  ball { lit = look.mid, dark = look.dark, rx = size, ry = size, opacity = 0.5 }
  c:smooth_ellipse(x + size * 0.34, y + size * 0.28, size * 0.1, size * 0.08,
    { lit = 0xFFFFFF, opacity = 0.8 })
end

function figures.cube(c, x, y, size, _, look)
  local depth = size * 0.3
  local front, right, bottom = size - depth, x + size, y + size
  c:smooth_polygon({ { x, y + depth }, { x + depth, y }, { right, y }, { right, y + front },
    { x + front, bottom }, { x, bottom } }, look.mid)
  c:smooth_polygon({ { x, y + depth }, { x + depth, y }, { right, y },
    { x + front, y + depth } }, look.lit)
  c:smooth_polygon({ { x + front, y + depth }, { right, y }, { right, y + front },
    { x + front, bottom } }, look.dark)
end

function figures.cylinder(c, x, y, size, width, look)
  local rx, ry = width / 2, size * 0.14
  local middle, top, bottom = x + rx, y + ry, y + size - ry
  local side = { lit = look.mid, dark = look.dark, x = middle - rx * 0.4, rx = rx * 1.5 }
  c:smooth_ellipse(middle, bottom, rx, ry, side)
  c:smooth_polygon({ { x, top }, { x + width, top }, { x + width, bottom }, { x, bottom } }, side)
  c:smooth_line(middle - rx * 0.5, y + ry * 2.5, middle - rx * 0.5, y + size - ry * 1.2, rx * 0.4,
    { lit = look.lit, opacity = 0.7 })
  c:smooth_ellipse(middle, top, rx, ry, look.lit)
  c:smooth_ellipse(middle, top, rx - 1, ry - 0.75, { lit = look.mid, opacity = 0.35 })
end

local function new_floor()
  local c, s = draw.canvas(scene.size, scene.size, 0), scene.size
  c:smooth_polygon({ { 0, 0 }, { s, 0 }, { s, s }, { 0, s } },
    { lit = 0xE6E8EA, dark = 0xB9BCC2, x = 40, y = 30, rx = 110, ry = 110 })
  return c
end

local floor

--- The picture: bytes [112, 112, 3].
function scene.draw(things)
  floor = floor or new_floor()
  local c = floor:copy()
  for _, t in ipairs(things) do
    shadow(c, t)
    figures[t.shape](c, t.box[1], t.box[2], t.size, t.box[3] - t.box[1], looks[t.colour])
  end
  return c.rgb
end

return scene
