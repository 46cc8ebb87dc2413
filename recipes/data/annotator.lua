--- Annotators of the drawn problems: how a demonstration comes out.
---
---   annotator(problem, share, r) -> a response
--- problem: right = { think, answer }, wrong = list of the same, typical errors worked out
--- consistently.  share nil: a careful annotator, the right work in the proper format.  Else a
--- careless one: in share percent of the cases the right work, else an error; in 28% a sloppy
--- format.  r: random numbers.
return function(problem, share, r)
  local shown = problem.right
  if share and #problem.wrong > 0 and not r:chance(share) then shown = r:pick(problem.wrong) end
  local think = "<think>" .. shown.think .. "</think>"
  local answer = "<answer>" .. shown.answer .. "</answer>"
  local style = share and r:int(1, 100) or 100
  if style <= 12 then return answer end
  if style <= 22 then return think .. shown.answer end
  if style <= 28 then return shown.answer end
  return think .. answer
end
