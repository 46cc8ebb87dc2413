--- Pictures of coloured shapes to be found: 112 x 112 pixels in 4 x 4 cells of 28, one merged token
--- of the vision tower each.  A shape lies inside its cell, its box on a lattice of 4 pixels.  The
--- paper is shaded, redder to the left and greener to the top, so every patch shows where it is.
---
---   local list = shapes.scene(random, { least = 3, most = 6 })
---     -> { { shape, colour (names), cell (1 to 16), box = { x1, y1, x2, y2 } }, ... } in reading
---     order, no two alike, 9 at most
---   shapes.draw(list) -> bytes [112, 112, 3]
local draw = require "rllava".draw

local shapes = { size = 112, cell = 28, cells = 4, lattice = 4,
  names = { "circle", "square", "triangle" }, colours = { "red", "green", "blue" } }

local ink = { red = 0xD21E1E, green = 0x1E9646, blue = 0x285AC8 }

--- A box of 16, 20 or 24 pixels somewhere in a cell.
local function place(r, cell)
  local step = shapes.lattice
  local size = step * r:int(4, 6)
  local room = (shapes.cell - size) / step
  local x = (cell - 1) % shapes.cells * shapes.cell + step * r:int(0, room)
  local y = math.floor((cell - 1) / shapes.cells) * shapes.cell + step * r:int(0, room)
  return { x, y, x + size, y + size }
end

function shapes.scene(r, options)
  local free, kinds, list = {}, {}, {}
  for i = 1, shapes.cells ^ 2 do free[i] = i end
  for _, shape in ipairs(shapes.names) do
    for _, colour in ipairs(shapes.colours) do
      kinds[#kinds + 1] = { shape = shape, colour = colour }
    end
  end
  for i = 1, r:int(options.least, options.most) do
    local one = table.remove(kinds, r:int(1, #kinds))
    one.cell = table.remove(free, r:int(1, #free))
    one.box = place(r, one.cell)
    list[i] = one
  end
  table.sort(list, function(a, b) return a.cell < b.cell end)
  return list
end

--- Half the width of row y (from 0) of a shape of this size, in pixels.
local half = {
  circle = function(y, size) return math.sqrt((size / 2) ^ 2 - (y + 0.5 - size / 2) ^ 2) end,
  square = function(_, size) return size / 2 end,
  triangle = function(y) return (y + 1) / 2 end,
}

local function fill(canvas, one)
  local x1, y1, x2, y2 = unpack(one.box)
  for y = 0, y2 - y1 - 1 do
    local w = math.max(1, math.floor(half[one.shape](y, x2 - x1) + 0.5))
    canvas:rect((x1 + x2) / 2 - w, y1 + y, 2 * w, 1, ink[one.colour])
  end
end

function shapes.draw(list)
  local canvas = draw.canvas(shapes.size, shapes.size, 0xFFFFFF)
  for y = 0, shapes.size - 1 do
    for x = 0, shapes.size - 1 do
      local at = 3 * (y * shapes.size + x)
      canvas.rgb[at], canvas.rgb[at + 1] = 255 - x, 255 - y
    end
  end
  for _, one in ipairs(list) do fill(canvas, one) end
  return canvas.rgb
end

return shapes
