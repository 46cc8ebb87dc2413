--- Rewards of a response's length, in tokens (its end token counts).
local length = {}

--- row.response_length, a number; raises where a row has none.
function length.of(row)
  local n = row and row.response_length
  if type(n) ~= "number" then
    error(("reward: row.response_length: expected a number, got %s"):format(tostring(n)), 0)
  end
  return n
end

--- Soft overlong punishment, 0 .. -1.  n, max_length, buffer: tokens, buffer > 0.
---   0 up to max_length - buffer, then (max_length - buffer - n) / buffer, -1 from max_length on.
--- DAPO, arXiv:2503.14476, eq. 13.
function length.overlong_penalty(n, max_length, buffer)
  if not (buffer > 0) then
    error("reward: buffer: expected a number above 0, got " .. tostring(buffer), 0)
  end
  return math.max(-1, math.min(0, (max_length - buffer - n) / buffer))
end

--- 1 from least to most tokens, falling in a line to 0 over slack tokens on either side.
function length.window(n, least, most, slack)
  local outside = math.max(least - n, n - most, 0)
  if outside == 0 then return 1 end
  return slack > 0 and math.max(0, 1 - outside / slack) or 0
end

return length
