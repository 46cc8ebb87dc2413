--- The nearest of some names to one that is not among them, for error messages.

--- Edit distance: letters put in, left out, replaced or swapped with their neighbour.
local function distance(a, b)
  local before, last, row = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local change = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + change)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last, row = last, row, before
  end
  return last[#b]
end

--- name, list of names -> the nearest of them, its distance; nil from an empty list.  A dotted name
--- may be meant by its last part.  Of equals the first of the list.
return function(name, names)
  local best, least
  for _, other in ipairs(names) do
    local d = distance(name, other)
    local last = other:match "[^.]*$"
    if last ~= other then d = math.min(d, distance(name:match "[^.]*$", last) + 0.5) end
    if not least or d < least then best, least = other, d end
  end
  return best, least
end
