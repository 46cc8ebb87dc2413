--- A judge of answers behind an HTTP endpoint, asked of a server of our own on this machine.
local T = require "check"
local ffi = require "ffi"
local files = require "rllava.files"
local json = require "rllava.json"
local keys = require "rllava.keys"
local reward = require "rllava.reward"
local rewards = require "rewards"
local rl = require "rllava.ffi"

ffi.cdef [[ int setenv(const char *, const char *, int); int unsetenv(const char *); ]]

local scratch = os.tmpname()
os.remove(scratch)
local root, port_file = scratch .. "/root", scratch .. "/port"
files.make_folder(root .. "/v1/chat")
os.execute(("%s tests/http_server.lua %s %s >%s/server.out 2>&1 &"):format(arg[0], port_file, root,
  scratch))
for _ = 1, 100 do
  if files.kind(port_file) then break end
  rl.C.rl_sleep(0.05)
end
local base = "http://127.0.0.1:" .. files.read(port_file) .. "/v1"
files.write(root .. "/v1/models", '{"data":[{"id":"a-judge"}]}')

local function verdict(text)
  files.write(root .. "/v1/chat/completions", json.encode { choices = json.array {
    { message = { role = "assistant", content = text } } } })
end

local response = "<think>t</think><answer>a red car</answer>"
local row = { extra_info = { question = "What stands there?" } }

T.test("a judge decides, asked with the question, the truth and the answer", function()
  local f = rewards.open("deepeyes_visual", { judge = base .. "/" })
  for said, right in pairs { ["Correct."] = 1, INCORRECT = 0, ["I cannot say"] = 0 } do
    verdict(said)
    T.equal(f(response, "the car, which is red", row).accuracy, right)
  end
  local posted = json.decode(files.read(root .. "/v1/chat/completions.posted"))
  T.equal({ posted.model, posted.max_tokens, posted.temperature, #posted.messages },
    { "a-judge", 16, 0.1, 2 })
  for _, part in ipairs { "What stands there?", "the car, which is red", "a red car" } do
    assert(posted.messages[2].content:find(part, 1, true), part)
  end
  verdict "CORRECT"
  T.equal({ f("<think>t</think>", "x", row).accuracy,
    f("<think>t</think><answer>" .. ("x"):rep(1000) .. "</answer>", "x", row).accuracy }, { 0, 0 })
end)

T.test("LLM_AS_A_JUDGE_BASE names the judge; without one the answer must be the truth", function()
  verdict "CORRECT"
  local f = rewards.open "deepeyes_visual"
  T.equal(f(response, "A red CAR", row).accuracy, 1)
  T.equal(f(response, "a vehicle", row).accuracy, 0)
  T.raises("judge: expected a URL (judge=http://host:port/v1) or LLM_AS_A_JUDGE_BASE, "
    .. "found neither", function()
    rewards.open("deepeyes_visual", { judge = "required" })(response, "a vehicle", row)
  end)
  T.raises("found localhost:1", function()
    rewards.open("deepeyes_visual", { judge = "localhost:1" })(response, "a vehicle", row)
  end)
  ffi.C.setenv("LLM_AS_A_JUDGE_BASE", base, 1)
  T.equal(f(response, "a vehicle", row).accuracy, 1)
  local plain = rewards.open("deepeyes_visual", { judge = "none" })
  T.equal(plain(response, "a vehicle", row).accuracy, 0)
  ffi.C.unsetenv "LLM_AS_A_JUDGE_BASE"
end)

T.test("a judge that cannot be asked is an error, never a verdict", function()
  local options = { workers = 1, max_failures = 1, timeout = 20 }
  local o = keys.resolve({ reward_options = options }).reward_options
  local pool = reward.open({ "rewards/deepeyes_visual.lua", 1, judge = base, judge_model = "m" }, o)
  local function why()
    pool:submit(1, response, "a vehicle", row)
    return pool:finish()[1].error or "no error"
  end
  files.write(root .. "/v1/chat/completions", "{}")
  assert(why():find("expected choices with a message, found none", 1, true), why())
  files.write(root .. "/v1/chat/completions", "<html>")
  assert(why():find("/chat/completions", 1, true), why())
  files.write(root .. "/v1/chat/completions.http", "status 500")
  assert(why():find("status 500", 1, true), why())
  files.remove(port_file)                                       -- the server ends
  for _ = 1, 40 do
    if why():find "connect" then break end
    rl.C.rl_sleep(0.05)
  end
  assert(why():find "connect", why())
  pool:close()
end)

files.remove(scratch)
