--- What stands around a loss, in small runs: filtering, masks, punishments, controllers, epochs.
local T = require "check"
local files = require "rllava.files"
local small = require "small_run"

-- Right or wrong by the first letter of the response: scores that differ within a group.
local mixed = small.reward("mixed", [[return function(response, answer, row)
  return { overall = #response % 2, odd = #response % 2 } end]])

T.test("online filtering samples on until enough groups are worth it, and no more", function()
  small.open({ mixed, "loss.online_filtering=true", "loss.filter_key=odd" }, function(t)
    local batch = t:enough(1)
    T.equal(#batch.groups, 2)
    for _, g in ipairs(batch.groups) do
      local sum = 0
      for _, r in ipairs(g.responses) do sum = sum + r.result.overall end
      assert(sum > 0 and sum < 4, "a group without a signal was kept")
    end
    assert(t.feed.consumed >= 2 and t.feed.consumed % 2 == 0)
  end)
end)

T.test("online filtering that finds nothing is an error, and so is an unknown part", function()
  local o = { mixed, "loss.online_filtering=true", "loss.filter_low=2", "loss.filter_high=3",
    "loss.filter_rounds=2" }
  T.raises("expected 2 groups that filter_mean keeps by overall, in 2 rounds, got 0", function()
    small.open(o, function(t) t:step(1) end)
  end)
  o[#o + 1] = "loss.filter_key=colour"
  T.raises("loss.filter_key: the reward gives no part named 'colour'", function()
    small.open(o, function(t) t:step(1) end)
  end)
end)

T.test("masked truncated responses train nothing, but count in their group", function()
  small.open({ mixed, "rollout.max_new_tokens=2", "loss.mask_truncated=true", "optim.lr=1e-2" },
    function(t)
      local numbers = require("rllava.probe").numbers
      local before = numbers(t.policy, "model.norm.weight"):totable()
      local m, batch = t:step(1)
      T.equal({ m["response_length/clip_ratio"], m["group/untrained"], m["actor/loss"] }, { 1, 1 })
      T.equal(#batch.scores, 8)
      T.equal(numbers(t.policy, "model.norm.weight"):totable(), before)
    end)
end)

T.test("soft overlong punishment: the factor is off at the limit, and a part says so", function()
  local one = small.reward("one", "return function() return 1 end")
  small.open({ one, "rollout.max_new_tokens=4", "loss.overlong_buffer=2",
    "loss.overlong_factor=0.5" }, function(t)
    local m = t:step(1)
    T.equal({ m["response_length/min"], m["critic/score/mean"], m["reward/overlong"] },
      { 4, 0.5, -1 })
  end)
end)

T.test("the adaptive controller moves KL's coefficient; a restart goes on with it", function()
  local o = { mixed, "loss.use_kl_in_reward=true", "loss.kl_ctrl.type=adaptive",
    "loss.kl_ctrl.horizon=40", "loss.kl_ctrl.kl_coef=0.1", "optim.lr=1e-3" }
  local whole = small.metrics(small.run("kl", "trainer.max_steps=3", unpack(o)))
  small.run("kl_parts", "trainer.max_steps=2", unpack(o))
  T.equal(small.metrics(small.run("kl_parts", "trainer.max_steps=3", unpack(o))), whole)
  local name = "actor/reward_kl_penalty_coeff"
  T.near({ whole[1][name], whole[2][name] }, { 0.1, 0.1 * (1 - 0.2 * 8 / 40) }, 1e-12)
end)

T.test("several updates and epochs: only the first of them is on policy; a restart repeats it",
  function()
    local o = { mixed, "trainer.updates_per_step=2", "trainer.ppo_epochs=2", "optim.lr=1e-3" }
    local whole = small.metrics(small.run("epochs", "trainer.max_steps=2", unpack(o)))
    small.run("epochs_parts", "trainer.max_steps=1", unpack(o))
    T.equal(small.metrics(small.run("epochs_parts", "trainer.max_steps=2", unpack(o))), whole)
    assert(whole[1]["actor/ratio"] ~= 1 and whole[1]["mismatch/max_abs"] == 0)
  end)

T.test("old log-probs of a pass of their own are the sampler's, to the bit", function()
  local plain = small.metrics(small.run("plain", mixed, "trainer.max_steps=2"))
  local again = small.metrics(small.run("again", mixed, "trainer.max_steps=2",
    "loss.recompute_old_logp=true"))
  T.equal(again, plain)
end)

T.test("RLLaVA's micro-batch sizes change what is computed together, not what comes out", function()
  local o = { mixed, "trainer.max_steps=1", "loss.use_kl_loss=true" }
  local whole = small.metrics(small.run("whole", unpack(o)))[1]
  local apart = small.metrics(small.run("apart", "actor.ppo_micro_batch_size=1",
    "actor.log_prob_micro_batch_size=3", unpack(o)))[1]
  for _, name in ipairs { "loss", "grad_norm", "kl_loss", "entropy_loss" } do
    T.near(apart["actor/" .. name], whole["actor/" .. name], 1e-5)
  end
end)

T.test("a reward that fails: the sample is left out, counted as 0, or ends the run", function()
  local broken = small.reward("broken", [[return function(response, answer, row)
    if #response % 2 == 0 then error "even" end
    return 1 end]])
  local o = { broken, "reward_options.max_failures=1" }
  small.open(o, function(t)
    local m, batch = t:step(1)
    for _, r in ipairs(batch.responses) do T.equal(r.result.overall, 1) end
    T.equal(#batch.responses + m["reward/failed"], 8)
    assert(m["reward/failed"] > 0)
  end)
  o[3] = "reward_options.on_error=zero"
  small.open(o, function(t)
    local m, batch = t:step(1)
    T.equal({ #batch.responses, m["critic/score/mean"] }, { 8, 1 - m["reward/failed"] / 8 })
  end)
  o[3] = "reward_options.on_error=raise"
  T.raises("even", function() small.open(o, function(t) t:step(1) end) end)
end)

T.test("early stop: validations without a better score end the run, with a checkpoint", function()
  local folder = small.run("early", mixed, "trainer.max_steps=9", "trainer.val_freq=1",
    "trainer.early_stop=2", "data.val=geoqa-tiny@test", "data.val_rows=2", "optim.lr=0")
  T.equal(files.list(files.join(folder, "checkpoints")), { "global_step_3" })
end)

T.test("an advantage that is no finite number is refused, with its algorithm's name", function()
  small.open({ mixed }, function(t)
    t.algorithm.advantage = function(batch)
      local out = {}
      for i in ipairs(batch.rewards) do out[i] = i == 3 and 0 / 0 or 0 end
      return out
    end
    T.raises("algorithm grpo: advantage: expected finite numbers, got", function() t:step(1) end)
  end)
end)

T.test("recall in a run: a kept right response stands in where all fail", function()
  local fading = small.reward("fading", [[local seen = 0
    return { batch = function(list)
      seen = seen + 1
      local out = {}
      for i in ipairs(list) do out[i] = seen == 1 and i % 2 or 0 end
      return out
    end }]])
  small.open({ fading, "loss.recall=9", "data.reshuffle=false", "optim.lr=0" }, function(t)
    local first = t:step(1)
    T.equal(first["group/recalled"], 0)
    t.feed.consumed = 0                                 -- the same two prompts again
    local m, batch = t:step(2)
    T.equal({ m["group/recalled"], batch.groups[1].responses[4].result.overall }, { 1, 1 })
  end)
end)

files.remove(small.scratch)
