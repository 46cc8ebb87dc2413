--- The rollout beside its plain form: stop texts.
local ffi = require "ffi"
local T = require "check"
local tiny = require "tiny"
local rl = require "rllava.ffi"
local rollout = require "rllava.rollout"
local C = rl.C

--- A tokenizer of as many tokens as the tiny models have ids: letters, then pairs of them.
local function letters()
  local vocab = {}
  for i = 0, 25 do vocab[#vocab + 1] = string.char(97 + i) end
  for i = 0, tiny.vocab - 27 do
    vocab[#vocab + 1] = string.char(97 + i % 26, 97 + (math.floor(i / 26) + i) % 26)
  end
  for i, token in ipairs(vocab) do vocab[i] = ('"%s":%d'):format(token, i - 1) end
  return require("tiny_tokenizer").make { decoder = '{"type":"Fuse"}',
    model = '"type":"BPE","vocab":{' .. table.concat(vocab, ",") .. '},"merges":[]' }
end

local function speaker()
  local p = tiny.text()
  p.tokenizer = letters()
  return p
end

--- The responses to a prompt, by sample, and how many tokens were drawn for them.
local function respond(p, options, how)
  local r = rollout.new(p, options)
  how.seed = 5
  local number = r:submit(how.prompt, how)
  local found = r:drain()[number]
  local drawn = C.rl_engine_count(r.engine, 1)
  r:close()
  return found, drawn
end

--- ---- stop texts ----

--- How many tokens lie before the end of the first stop text; nil where there is none.
local function stopped_at(p, r, stop)
  for i = 1, r.n do
    local text = p.tokenizer:decode_ints(r.ids, i, false)
    for _, s in ipairs(stop) do if text:find(s, 1, true) then return i end end
  end
end

T.test("a stop text ends a sample at the token that completes it, and changes nothing before", function()
  local p, options = speaker(), { n = 6, max_new = 60, max_prompt = 16 }
  local prompt = tiny.prompt(p, tiny.random(3), 9)
  local free = respond(p, options, { prompt = prompt, n = 6 })
  local text = p.tokenizer:decode_ints(free[1].ids, free[1].n, false)
  local stop = { "never said", text:sub(20, 22), text:sub(31, 31) }
  local found, drawn = respond(p, options, { prompt = prompt, n = 6, stop = stop })
  local sum, ended = 0, 0
  for k, r in ipairs(found) do
    local n = stopped_at(p, free[k], stop)
    T.equal({ r.n, r.finish }, { n or 60, n and "stop" or "length" })
    for i = 1, r.n do
      T.equal({ r.ids[i - 1], r.tokens.old_logp[i] }, { free[k].ids[i - 1], free[k].tokens.old_logp[i] })
    end
    sum, ended = sum + r.n, ended + (n and 1 or 0)
  end
  if ended == 0 then error "no sample ended by a text" end
  T.equal(drawn, sum)                                       -- none was drawn behind an end
end)

T.test("a stop text needs some text", function()
  local p = speaker()
  T.raises("stop_text 0: expected some text, got none", function()
    respond(p, { max_new = 4, max_prompt = 4 }, { prompt = tiny.prompt(p, tiny.random(3), 3), stop = { "" } })
  end)
end)
