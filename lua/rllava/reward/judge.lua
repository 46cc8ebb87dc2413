--- A judge: a chat model behind an endpoint of the OpenAI form that says whether an answer means
--- what the truth means.  A judge that cannot be asked is an error, never a verdict.
local http = require "rllava.http"
local json = require "rllava.json"
local rl = require "rllava.ffi"

local judge = {}

local SYSTEM = "You grade answers. Say whether the given answer means the same as the true one. "
  .. "Your reply is one word: CORRECT or INCORRECT."

--- The endpoint that an option names: a URL; "": that of LLM_AS_A_JUDGE_BASE, if it is set;
--- "required": the same, refused if it is not; "none": nil, as where none is set.
function judge.base(option)
  if option == "none" then return nil end
  if option:find "^https?://" then return (option:gsub("/+$", "")) end
  local base = os.getenv "LLM_AS_A_JUDGE_BASE"
  if base and base ~= "" then return judge.base(base) end
  if option ~= "" then
    rl.raise("judge: expected a URL (judge=http://host:port/v1) or LLM_AS_A_JUDGE_BASE, found %s",
      option == "required" and "neither" or option)
  end
end

--- The decoded reply of an endpoint; refuses where there is none, or one that is no JSON.
local function ask(url, body)
  local headers, key = { "Content-Type: application/json" }, os.getenv "LLM_AS_A_JUDGE_KEY"
  if key and key ~= "" then headers[2] = "Authorization: Bearer " .. key end
  local reply = http.request { url = url, body = body, headers = headers }
  if reply.status ~= 200 then
    rl.raise("judge: %s: %s", url, reply.status and "status " .. reply.status or reply.error)
  end
  return json.decode(reply.body, url)
end

local models = {}

--- The first model that the endpoint offers.
local function model_of(base)
  if not models[base] then
    local list = ask(base .. "/models").data
    if type(list) ~= "table" or not list[1] then
      rl.raise("judge: %s/models: expected a model, found none", base)
    end
    models[base] = list[1].id
  end
  return models[base]
end

--- Does the judge at base hold found for the same as truth?  model: its name; "": the first that
--- it offers.
function judge.agrees(base, model, question, truth, found)
  local text = ("Question: %s\nTrue answer: %s\nGiven answer: %s\nVerdict:"):format(question, truth,
    found)
  local reply = ask(base .. "/chat/completions", json.encode {
    model = model ~= "" and model or model_of(base), temperature = 0.1, max_tokens = 16, seed = 1,
    messages = json.array { { role = "system", content = SYSTEM },
      { role = "user", content = text } },
    chat_template_kwargs = { enable_thinking = false } })
  local choice = type(reply.choices) == "table" and reply.choices[1]
  local said = choice and choice.message and choice.message.content
  if type(said) ~= "string" then
    rl.raise("judge: %s: expected choices with a message, found none", base)
  end
  said = said:upper()
  return said:find "CORRECT" ~= nil and not said:find "INCORRECT"
end

return judge
