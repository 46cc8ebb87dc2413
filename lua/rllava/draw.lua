--- Drawing in integers, the same pixels on every machine: pictures of the embedded tasks.
---   local c = draw.canvas(112, 112, 0xFFFFFF);  c:line(4, 4, 60, 4, 2, 0x285AC8);  c.rgb
local ffi = require "ffi"
local rl = require "rllava.ffi"
local C = rl.C

local draw = {}
local Canvas = {}
Canvas.__index = Canvas

--- A picture { rgb = bytes [height, width, 3], width, height } of one colour (0xRRGGBB).
function draw.canvas(width, height, colour)
  local rgb = ffi.new("unsigned char[?]", width * height * 3)
  local c = { rgb = rgb, width = width, height = height }
  C.rl_draw_fill(c.rgb, width, height, colour)
  return setmetatable(c, Canvas)
end

--- Another picture with the same pixels.
function Canvas:copy()
  local c = draw.canvas(self.width, self.height, 0)
  ffi.copy(c.rgb, self.rgb, self.width * self.height * 3)
  return c
end

--- A filled rectangle.
function Canvas:rect(x, y, w, h, colour)
  C.rl_draw_rect(self.rgb, self.width, self.height, x, y, w, h, colour)
end

--- A line with round ends, thick pixels wide.
function Canvas:line(x0, y0, x1, y1, thick, colour)
  C.rl_draw_line(self.rgb, self.width, self.height, x0, y0, x1, y1, thick, colour)
end

--- A filled polygon; points: { {x, y}, ... }.
function Canvas:polygon(points, colour)
  local flat = {}
  for _, p in ipairs(points) do flat[#flat + 1], flat[#flat + 2] = p[1], p[2] end
  local corners = ffi.new("int[?]", #flat, flat)
  C.rl_draw_polygon(self.rgb, self.width, self.height, corners, #points, colour)
end

--- A disc, or with thick a ring of that thickness inside radius r.
function Canvas:circle(x, y, r, colour, thick)
  C.rl_draw_circle(self.rgb, self.width, self.height, x, y, r, thick or 0, colour)
end

--- Digits, capitals and ?+-=.,: in a 5 x 7 font, dots of scale pixels, letters advance pixels
--- apart.
function Canvas:text(x, y, text, scale, advance, colour)
  C.rl_draw_text(self.rgb, self.width, self.height, x, y, text, scale, advance, colour)
end

--- ---- smooth shapes: soft edges, shading; in pixels, fractions down to an eighth ----

local function eighths(v) return math.floor(8 * v + 0.5) end

--- paint: a colour, or what rl_brush has, in pixels: { lit = colour, dark = colour, x, y, rx, ry,
--- opacity = 0 to 1 }.
local function brush(paint)
  if type(paint) == "number" then paint = { lit = paint } end
  local p = ffi.new("rl_brush", { paint.lit, paint.dark or paint.lit })
  for _, k in ipairs { "x", "y", "rx", "ry" } do p[k] = eighths(paint[k] or 0) end
  p.opacity = math.floor(256 * (paint.opacity or 1))
  return p
end

--- A filled polygon; points: { {x, y}, ... }.
function Canvas:smooth_polygon(points, paint)
  local flat = {}
  for _, p in ipairs(points) do flat[#flat + 1], flat[#flat + 2] = eighths(p[1]), eighths(p[2]) end
  C.rl_draw_smooth_polygon(self.rgb, self.width, self.height, ffi.new("int[?]", #flat, flat),
    #points, brush(paint))
end

--- A filled ellipse of radii rx, ry.
function Canvas:smooth_ellipse(x, y, rx, ry, paint)
  C.rl_draw_smooth_ellipse(self.rgb, self.width, self.height, eighths(x), eighths(y), eighths(rx),
    eighths(ry), brush(paint))
end

--- A line with round ends, thick pixels wide.
function Canvas:smooth_line(x0, y0, x1, y1, thick, paint)
  C.rl_draw_smooth_line(self.rgb, self.width, self.height, eighths(x0), eighths(y0), eighths(x1),
    eighths(y1), eighths(thick), brush(paint))
end

return draw
