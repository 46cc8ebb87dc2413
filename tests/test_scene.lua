--- The drawn scenes: the same ones everywhere, each thing in its cell.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava"
local scene, random = rl.recipe_file "data/scene.lua", rl.recipe_file "data/random.lua"

T.test("scenes: the same things and the same pixels in every process", function()
  local bytes = {}
  for i = 1, 20 do
    bytes[i] = ffi.string(scene.draw(scene.things(random.new("golden", i))), 112 * 112 * 3)
  end
  T.equal(rl.files.sha256_text(table.concat(bytes)),
    "86be1947eb9fb100cc9516995ea8da8292914e865cf9ea2fb4ce43c107e10b5b")
end)

--- Left, top, right, bottom of the pixels that are far from those of another picture.
local function extent(rgb, empty, far)
  local e = { 112, 112, 0, 0 }
  for at = 0, 112 * 112 - 1 do
    local x, y, most = at % 112, math.floor(at / 112), 0
    for c = 3 * at, 3 * at + 2 do most = math.max(most, math.abs(rgb[c] - empty[c])) end
    if most > far then
      e = { math.min(e[1], x), math.min(e[2], y), math.max(e[3], x + 1), math.max(e[4], y + 1) }
    end
  end
  return e
end

T.test("scenes: a thing and its shadow stay in its cell, and its box is around it", function()
  local empty = scene.draw {}
  for i = 1, 60 do
    local thing = scene.things(random.new("cell", i), { least = 1, most = 1 })[1]
    local rgb, x, y = scene.draw { thing }, 28 * (thing.column - 1), 28 * (thing.row - 1)
    T.equal(thing.cell, 4 * (thing.row - 1) + thing.column)
    local all = extent(rgb, empty, 0)
    assert(all[1] >= x and all[2] >= y and all[3] <= x + 28 and all[4] <= y + 28)
    T.near(extent(rgb, empty, 100), thing.box, 1.5)
  end
end)

T.test("scenes: in reading order, as many as asked for, distinct if asked for", function()
  for i = 1, 100 do
    local options, seen = { least = 5, most = 12, distinct = true }, {}
    local things = scene.things(random.new("order", i), options)
    assert(#things >= 5 and #things <= 12)
    for k, t in ipairs(things) do
      assert(k == 1 or t.cell > things[k - 1].cell, "out of order")
      assert(not seen[t.shape .. t.colour], "twice the same")
      seen[t.shape .. t.colour] = true
    end
  end
end)
