--- The plan in words: its table, what a run that does not fit may change, the refusal.
local text = {}

local function gib(bytes)
  if bytes >= 2 ^ 30 then return ("%.2f GiB"):format(bytes / 2 ^ 30) end
  return ("%.1f MiB"):format(bytes / 2 ^ 20)
end
text.bytes = gib

local function cell(bytes, unit)
  return bytes == 0 and "-" or ("%." .. unit[2] .. "f"):format(bytes / unit[1])
end

--- What the plan assumes, on a few lines.
local function facts(p)
  local w, lines = p.worst, {}
  lines[1] = ("%s: prompts of up to %d tokens%s, %d responses of up to %d"):format(p.cfg.model,
    w.max_prompt, w.cells > 0 and (" (%d of them pictures)"):format(w.cells) or "", w.n, w.max_new)
  if p.chosen then lines[#lines + 1] = "chosen by the plan: " .. p.chosen end
  if w.pieces > 1 then
    lines[#lines + 1] = ("a group of that size exceeds trainer.micro_tokens = %d: it is cut in %d, "
      .. "and its prompt is computed %d times"):format(w.micro_tokens, w.pieces, w.pieces)
  end
  return lines
end

--- The table: classes by phases, in MiB or GiB; its last lines name the peak and the limit.
function text.table(p, limit, source)
  local phases = require("rllava.plan").phases
  local unit = p.peak.bytes >= 8 * 2 ^ 30 and { 2 ^ 30, 2, "GiB" } or { 2 ^ 20, 1, "MiB" }
  local lines, row = facts(p), "%-28s" .. ("%11s"):rep(#phases) .. "   %s"
  lines[#lines + 1] = row:format(unit[3], phases[1], phases[2], phases[3], phases[4], phases[5], "")
  local function add(name, bytes, why)
    local cells = {}
    for i, phase in ipairs(phases) do cells[i] = cell(bytes[phase], unit) end
    lines[#lines + 1] = (row:format(name, cells[1], cells[2], cells[3], cells[4], cells[5], why)
      :gsub("%s+$", ""))
  end
  for _, class in ipairs(p.classes) do add(class.name, class.bytes, class.why or "") end
  add("all", p.total, "")
  lines[#lines + 1] = ("peak: %s in %s; most of it: %s, %s"):format(gib(p.peak.bytes), p.peak.phase,
    p.peak.class.name, gib(p.peak.class.bytes[p.peak.phase]))
  if limit then lines[#lines + 1] = ("limit: %s (%s)"):format(gib(limit), source) end
  return table.concat(lines, "\n")
end

--- ---- advice ----

--- cfg with keys set, given as { ["trainer.micro_tokens"] = 1024, ... }.
local function with(cfg, changes)
  local out = setmetatable({}, { __index = cfg })
  for path, value in pairs(changes) do
    local room, key = path:match "^(%w+)%.([%w_]+)$"
    out[room] = rawget(out, room) or setmetatable({}, { __index = cfg[room] })
    out[room][key] = value
  end
  return out
end

--- Changes that may save memory: list of { key, value }, each tried alone, then all together.
local function choices(p)
  local cfg, w, list = p.cfg, p.worst, {}
  local function add(key, value) list[#list + 1] = { key, value } end
  if not cfg.trainer.recompute then add("trainer.recompute", true) end
  local least = w.max_prompt + w.max_new
  for _, rows in ipairs { math.floor(w.micro.rows / 2), math.floor(w.micro.rows / 4), least } do
    local last = list[#list]
    if rows >= least and rows < w.micro.rows and not (last and last[2] == rows) then
      add("trainer.micro_tokens", rows)
    end
  end
  for _, k in ipairs { 2, 4 } do
    local at_once = math.floor(cfg.rollout.at_once / k)
    if at_once >= w.n then add("rollout.at_once", at_once) end
  end
  add("trainer.dtype", cfg.trainer.dtype == "f32" and "bf16" or "f32")
  if cfg.optim.states == "f32" then add("optim.states", "int8") end
  if w.max_new > 64 then add("rollout.max_new_tokens", math.floor(w.max_new / 2)) end
  if cfg.trainer.updates_per_step < w.prompts then
    add("trainer.updates_per_step", math.min(w.prompts, 2 * cfg.trainer.updates_per_step))
  end
  return list
end

--- Lines that say what single changes would give, and all those that help and change no result.
function text.advice(p, limit)
  local plan, lines, together, words = require "rllava.plan", {}, {}, {}
  local function try(changes) return plan.of(with(p.cfg, changes), p.models).peak.bytes end
  local function line(what, bytes, free)
    lines[#lines + 1] = ("  %-44s %10s%s%s"):format(what, gib(bytes),
      bytes <= limit and ", fits" or "", free and "" or " (another run: its results change)")
  end
  for _, c in ipairs(choices(p)) do
    local key, value = c[1], c[2]
    local bytes = try { [key] = value }
    if bytes < p.peak.bytes then
      local free = key == "trainer.recompute" or key == "trainer.micro_tokens"
        or key == "rollout.at_once"
      line(key .. "=" .. tostring(value), bytes, free)
      if free then
        if together[key] == nil then words[#words + 1] = key end
        together[key] = value
      end
    end
  end
  if #words > 1 then
    local said = {}
    for i, key in ipairs(words) do said[i] = key .. "=" .. tostring(together[key]) end
    line(table.concat(said, " "), try(together), true)
  end
  if #lines == 0 then return "nothing but a smaller model would need less" end
  return "what would need less:\n" .. table.concat(lines, "\n")
end

--- Why a run is not begun.
function text.refusal(p, limit, source)
  return ("memory: expected at most %s (%s), the run needs %s in %s\n%s\n%s"):format(gib(limit),
    source, gib(p.peak.bytes), p.peak.phase, text.table(p), text.advice(p, limit))
end

return text
