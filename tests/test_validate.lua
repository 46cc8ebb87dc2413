--- Validation: pass@k and majority@k by hand, intervals, rllava eval, and that it leaves training
--- alone.
local T = require "check"
local estimate = require "rllava.estimate"
local eval = require "rllava.eval"
local files = require "rllava.files"
local json = require "rllava.json"
local metrics = require "rllava.metrics"
local Batch = require "rllava.batch"
local recipe = require "rllava.recipe"
local records = require "rllava.records"
local train = require "rllava.train"
local warnings = require "rllava.warnings"

local scratch = os.tmpname()
os.remove(scratch)

local small = { "data.prompts_per_step=2", "rollout.n=4", "rollout.max_new_tokens=24",
  "data.val_rows=6", "data.val_apart=null", "trainer.logger=none", "trainer.save_dtype=f32" }

local function config(folder, ...)
  local overrides = { "trainer.outputs_dir=" .. files.join(scratch, folder) }
  for _, list in ipairs { small, { ... } } do
    for _, o in ipairs(list) do overrides[#overrides + 1] = o end
  end
  return recipe.load("recipes/grpo_geoqa.lua", overrides)
end

T.test("pass@k is the share of all choices of k responses that hold a right one", function()
  for n = 1, 7 do
    for c = 0, n do
      for k = 1, n do
        local all, none = 1, 1                             -- C(n, k), C(n - c, k)
        for i = 1, k do all, none = all * (n - k + i) / i, none * math.max(0, n - c - k + i) / i end
        T.near(estimate.pass_at(n, c, k), 1 - none / all, 1e-12)
      end
    end
  end
end)

T.test("majority@k: the answer given most, the first of equals, over disjoint runs", function()
  local answers, scores = { "a", "b", "b", "a", "c", "a", "c" }, { 0, 1, 1, 0, 0, 0, 0 }
  T.equal({ estimate.majority_at(answers, scores, 1), estimate.majority_at(answers, scores, 3),
    estimate.majority_at(answers, scores, 2), estimate.majority_at(answers, scores, 7) },
    { 2 / 7, 0.5, 1 / 3, 0 })
end)

T.test("what a response answers: its tag, its box, its last line", function()
  T.equal({ estimate.answer "<answer>1</answer> no, <answer> 2 </answer>", estimate.answer
    "so \\boxed{3} it is", estimate.answer "first\nlast one \n", estimate.answer "" },
    { "2", "3", "last one", "" })
end)

T.test("intervals: Wilson's of shares, the normal one of other means", function()
  local values = {}
  for i = 1, 100 do values[i] = i <= 20 and 1 or 0 end
  T.near({ estimate.interval(values) }, { 0.1334, 0.2888 }, 1e-4)
  T.near({ estimate.interval { 0, 0, 0, 0 } }, { 0, 0.4899 }, 1e-4)
  T.near({ estimate.interval { 0, 0.5, 1 } }, { 0.5 - 1.959964 * 0.5 / math.sqrt(3),
    0.5 + 1.959964 * 0.5 / math.sqrt(3) }, 1e-9)
end)

T.test("a validated batch: means over prompts under their names", function()
  local function r(score, answer)
    return { n = 3, finish = "stop", text = "<answer>" .. answer .. "</answer>", tokens = {},
      result = { overall = 0.9 * score + 0.1, parts = { accuracy = score } } }
  end
  local out = metrics.of_validation(Batch.new {
    { prompt = { n = 1 }, responses = { r(1, "x"), r(0, "y"), r(1, "x"), r(0, "z") } },
    { prompt = { n = 1 }, responses = { r(0, "x"), r(0, "y"), r(0, "y"), r(1, "w") } } }, "/s")
  T.near({ out["val/accuracy_reward/s"], out["val/reward_score/s"], out["val/pass@1/s"],
    out["val/pass@2/s"], out["val/pass@4/s"], out["val/majority@4/s"],
    out["val_response_length/mean/s"], out["val_prompt_length/max/s"] },
    { 3 / 8, 0.9 * 3 / 8 + 0.1, 3 / 8, (5 / 6 + 1 / 2) / 2, 1, 0.5, 3, 1 }, 1e-12)
  assert(out["val_ci/pass@2/s/low"] < 2 / 3 and out["val_ci/pass@2/s/high"] > 2 / 3)
end)

T.test("rllava eval writes every answer and the intervals, and not over another run", function()
  local found, folder = eval.run(config("eval", "rollout.val.n=2", "rollout.val.temperature=1"))
  T.equal(#records.read(files.join(folder, "rollouts.jsonl"), 0), 6 * 2 + 6)
  local path = files.join(folder, "summary.json")
  local noted = json.decode(files.read(path), path)["val/pass@2"]
  T.equal({ noted.value, noted.low, noted.high }, { found["val/pass@2"], found["val_ci/pass@2/low"],
    found["val_ci/pass@2/high"] })
  T.raises("holds a run already", function() eval.run(config "eval") end)
  T.raises("expected validation rows", function() eval.run(config("none", "data.val=null")) end)
end)

T.test("validating, however often and however, changes no bit of training", function()
  local function weights(folder, ...)
    local cfg = config(folder, "trainer.max_steps=2", ...)
    train.run(cfg)
    return files.hash(files.join(cfg.trainer.outputs_dir,
      "checkpoints/global_step_2/model.safetensors"))
  end
  T.equal(weights("often", "trainer.val_freq=1", "rollout.val.n=3", "rollout.val.temperature=0.7"),
    weights("never", "data.val=null", "trainer.val_before_train=false"))
end)

T.test("eval gives a checkpoint the score that its run gave it", function()
  local cfg = config("scored", "trainer.max_steps=1", "optim.lr=1e-3",
    "trainer.val_before_train=false")
  train.run(cfg)
  local folder, score = cfg.trainer.outputs_dir, nil
  for _, m in ipairs(records.read(files.join(folder, "metrics.jsonl"))) do
    score = m["val/reward_score"] or score
  end
  T.equal(eval.run(config("again", "model=" .. folder .. "/checkpoints/global_step_1"))[
    "val/reward_score"], score)
end)

T.test("warnings: a sampler apart from the trainer is named once, unless corrected", function()
  local function said(loss)
    local w, m = warnings.new(), { ["mismatch/max_abs"] = 2, ["mismatch/kl"] = 0.1 }
    local cfg = { loss = loss, rollout = { max_new_tokens = 9 } }
    return #w:step(m, cfg) + #w:step(m, cfg)
  end
  T.equal({ said { rollout_is = "none", tis_imp_ratio_cap = -1 },
    said { rollout_is = "token", tis_imp_ratio_cap = -1 } }, { 1, 0 })
end)

files.remove(scratch)
