--- The drawn scenes: the same ones everywhere, each thing in its cell.
local T = require "check"
local ffi = require "ffi"
local rl = require "rllava"
local scene, random = rl.recipe_file "data/scene.lua", rl.recipe_file "data/random.lua"

T.test("scenes: the same things and the same pixels in every process", function()
  local bytes = {}
  for i = 1, 20 do
    bytes[i] = ffi.string(scene.draw(scene.things(random.new("golden", i))), scene.size * scene.size * 3)
  end
  T.equal(rl.files.sha256_text(table.concat(bytes)),
    "86be1947eb9fb100cc9516995ea8da8292914e865cf9ea2fb4ce43c107e10b5b")
end)

T.test("scenes: a thing and its shadow change no pixel outside its cell, and its box holds the thing", function()
  local empty = scene.draw {}
  for i = 1, 60 do
    local thing = scene.things(random.new("cell", i), { least = 1, most = 1 })[1]
    local rgb, x1, y1 = scene.draw { thing }, 28 * (thing.column - 1), 28 * (thing.row - 1)
    T.equal(thing.cell, 4 * (thing.row - 1) + thing.column)
    local seen = { 112, 112, 0, 0 }
    for at = 0, 112 * 112 - 1 do
      local x, y, far = at % 112, math.floor(at / 112), 0
      for c = 0, 2 do far = math.max(far, math.abs(rgb[3 * at + c] - empty[3 * at + c])) end
      if far > 0 then assert(x >= x1 and y >= y1 and x < x1 + 28 and y < y1 + 28, "outside its cell") end
      if far > 100 then
        seen = { math.min(seen[1], x), math.min(seen[2], y), math.max(seen[3], x + 1), math.max(seen[4], y + 1) }
      end
    end
    for k = 1, 4 do T.near(seen[k], thing.box[k], 1.5) end
  end
end)

T.test("scenes: in reading order, as many as asked for, distinct if asked for", function()
  for i = 1, 100 do
    local things, seen = scene.things(random.new("order", i), { least = 5, most = 12, distinct = true }), {}
    assert(#things >= 5 and #things <= 12)
    for k, t in ipairs(things) do
      assert(k == 1 or t.cell > things[k - 1].cell, "out of order")
      assert(not seen[t.shape .. t.colour], "twice the same")
      seen[t.shape .. t.colour] = true
    end
  end
end)
