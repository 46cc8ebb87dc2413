--- What the tests of pictures share.
local ffi = require "ffi"

local pictures = {}

--- The largest difference of n bytes or floats.
function pictures.apart(got, want, n)
  local worst = 0
  for i = 0, n - 1 do worst = math.max(worst, math.abs(got[i] - want[i])) end
  return worst
end

--- A picture of pseudorandom bytes 0 or 255.
function pictures.noise(width, height, seed)
  local rgb = ffi.new("unsigned char[?]", 3 * width * height)
  for i = 0, 3 * width * height - 1 do
    seed = seed * 16807 % 2147483647
    rgb[i] = seed % 2 * 255
  end
  return { width = width, height = height, rgb = rgb, name = "noise" }
end

--- Two pictures of the same pixels?
function pictures.same(a, b)
  return a.width == b.width and a.height == b.height
    and pictures.apart(a.rgb, b.rgb, 3 * a.width * a.height) == 0
end

--- body must be refused; the message, which names file, what was expected and what was found.
function pictures.refused(name, body)
  local ok, message = pcall(body)
  if ok then error("expected an error, got a picture", 0) end
  for _, part in ipairs { name .. ": image: ", "expected ", "found " } do
    if not message:find(part, 1, true) then
      error(("expected %q in %q"):format(part, message), 0)
    end
  end
  return message
end

return pictures
