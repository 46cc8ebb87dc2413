--- Drawing in integers.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava.ffi"
local draw = require "rllava.draw"

--- Rows of '#' where a canvas has colour 1, drawn by body(rgb).
local function drawn(width, height, body)
  local rgb, rows = ffi.new("unsigned char[?]", 3 * width * height), {}
  body(rgb, width, height)
  for y = 0, height - 1 do
    local row = {}
    for x = 0, width - 1 do row[x + 1] = rgb[3 * (y * width + x) + 2] == 1 and "#" or "." end
    rows[y + 1] = table.concat(row)
  end
  return rows
end

T.test("drawing: rectangles and fills, cut at the edge", function()
  T.equal(drawn(5, 3, function(rgb, w, h) rl.C.rl_draw_rect(rgb, w, h, 3, 1, 9, 9, 1) end),
    { ".....", "...##", "...##" })
  T.equal(drawn(3, 2, function(rgb, w, h)
    rl.C.rl_draw_fill(rgb, w, h, 1)
    rl.C.rl_draw_rect(rgb, w, h, -2, -2, 3, 3, 0)
  end), { ".##", "###" })
end)

T.test("drawing: lines have their thickness and round ends", function()
  T.equal(drawn(7, 5, function(rgb, w, h) rl.C.rl_draw_line(rgb, w, h, 1, 2, 5, 2, 2, 1) end),
    { ".......", ".#####.", "#######", ".#####.", "......." })
  T.equal(drawn(4, 4, function(rgb, w, h) rl.C.rl_draw_line(rgb, w, h, 0, 0, 3, 3, 1, 1) end),
    { "#...", ".#..", "..#.", "...#" })
end)

T.test("drawing: a polygon is filled by the even-odd rule", function()
  T.equal(drawn(6, 5, function(rgb, w, h)
    rl.C.rl_draw_polygon(rgb, w, h, ffi.new("int[6]", 0, 0, 4, 0, 0, 4), 3, 1)
  end), { "#####.", "####..", "###...", "##....", "......" })
end)

T.test("drawing: discs and rings", function()
  T.equal(drawn(5, 5, function(rgb, w, h) rl.C.rl_draw_circle(rgb, w, h, 2, 2, 2, 0, 1) end),
    { "..#..", ".###.", "#####", ".###.", "..#.." })
  T.equal(drawn(5, 5, function(rgb, w, h) rl.C.rl_draw_circle(rgb, w, h, 2, 2, 2, 1, 1) end),
    { "..#..", ".#.#.", "#...#", ".#.#.", "..#.." })
end)

T.test("drawing: text of 5 x 7 dots, unknown letters left out", function()
  T.equal(drawn(11, 7, function(rgb, w, h) rl.C.rl_draw_text(rgb, w, h, 0, 0, "1~", 1, 6, 1) end),
    { "..#........", ".##........", "..#........", "..#........", "..#........", "..#........",
      ".###......." })
end)

T.test("drawing: what lies far outside changes nothing", function()
  T.equal(drawn(2, 2, function(rgb, w, h)
    rl.C.rl_draw_rect(rgb, w, h, 100, -100, 5, 5, 1)
    rl.C.rl_draw_line(rgb, w, h, -90, -90, -80, -90, 3, 1)
    rl.C.rl_draw_circle(rgb, w, h, -50, 50, 9, 2, 1)
    rl.C.rl_draw_text(rgb, w, h, -90, 0, "A", 2, 12, 1)
  end), { "..", ".." })
end)

--- What a smooth shape gives of 255 in each pixel, in rows.
local function covered(width, height, body)
  local c, rows = draw.canvas(width, height, 0), {}
  body(c)
  for y = 0, height - 1 do
    rows[y + 1] = {}
    for x = 0, width - 1 do rows[y + 1][x + 1] = c.rgb[3 * (y * width + x)] end
  end
  return rows
end

T.test("smooth drawing: a pixel takes the share of the shape that covers it", function()
  local function box(x0, y0, x1, y1)
    return { { x0, y0 }, { x1, y0 }, { x1, y1 }, { x0, y1 } }
  end
  T.equal(covered(4, 3, function(c) c:smooth_polygon(box(0.5, 1, 3.25, 2.5), 0xFFFFFF) end),
    { { 0, 0, 0, 0 }, { 128, 255, 255, 64 }, { 64, 128, 128, 32 } })
  T.equal(covered(3, 1, function(c)
    c:smooth_polygon(box(-9, -9, 9, 9), { lit = 0xFFFFFF, opacity = 0.5 })
  end), { { 128, 128, 128 } })
  T.equal(covered(4, 2, function(c) c:smooth_ellipse(2, 1, 2, 1, 0xFFFFFF) end),
    { { 143, 255, 255, 143 }, { 143, 255, 255, 143 } })
  T.equal(covered(4, 2, function(c) c:smooth_line(1, 1, 3, 1, 1, 0xFFFFFF) end),
    { { 48, 128, 128, 48 }, { 48, 128, 128, 48 } })
end)

T.test("smooth drawing: shading runs from lit to dark with the squared distance", function()
  local row = covered(4, 1, function(c)
    c:smooth_polygon({ { 0, 0 }, { 4, 0 }, { 4, 1 }, { 0, 1 } },
      { lit = 0xFF0000, dark = 0, x = 0.5, rx = 2 })
  end)
  T.equal(row, { { 255, 191, 0, 0 } })
end)

T.test("smooth drawing: what lies outside changes nothing; a copy is apart", function()
  local function far(c)
    c:smooth_ellipse(-50, 50, 9, 9, 0xFFFFFF)
    c:smooth_line(900, 3, 950, 90, 4, 0xFFFFFF)
    c:smooth_polygon({ { -9, -9 }, { -3, -9 }, { -3, -2 } }, 0xFFFFFF)
    c:smooth_polygon({ { 0, 0 }, { 9, 9 } }, 0xFFFFFF)
    c:copy():rect(0, 0, 2, 2, 0xFFFFFF)
  end
  T.equal(covered(2, 2, far), { { 0, 0 }, { 0, 0 } })
end)

T.test("the geometry problems have the pixels that tiny-vl was taught with", function()
  local geoqa, bytes = require "rllava.recipe_file" "data/geoqa.lua", {}
  for i = 1, 40 do bytes[i] = ffi.string(geoqa.problem(11, i).rgb, geoqa.size * geoqa.size * 3) end
  T.equal(require("rllava.files").sha256_text(table.concat(bytes)),
    "f9dd310f84405587ee6f7ca4c8fe4d6369f1b205a5cf9f822d9eb90e5cc7981f")
end)
