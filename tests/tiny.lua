--- Small random models for tests, and numbers that repeat.
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local policy = require "rllava.policy"
local C, check = rl.C, rl.check

-- dtype: what products of tiny.logp and tiny.engine take their operands in.
local tiny = { vocab = 203, dtype = C.RL_FLOAT }

--- A generator of whole numbers below n, the same everywhere.
function tiny.random(seed)
  local state = seed
  return function(n)
    state = (state * 16807) % 2147483647
    return math.floor(state / 2147483647 * n)
  end
end

local text = { hidden_size = 64, intermediate_size = 96, num_hidden_layers = 2,
  num_attention_heads = 4, num_key_value_heads = 2, vocab_size = tiny.vocab, rms_norm_eps = 1e-6,
  rope_theta = 1e4, tie_word_embeddings = true }

--- A text model; family: llama, qwen2 or qwen3.
function tiny.text(family, changes)
  local config = { model_type = family or "qwen2" }
  for k, v in pairs(text) do config[k] = v end
  for k, v in pairs(changes or {}) do config[k] = v end
  return policy.new(config):init(7, 0.3)
end

--- Qwen2.5-VL: windows of 2 x 2 cells, full attention in block 1.
function tiny.vision(changes)
  local config = { model_type = "qwen2_5_vl", image_token_id = 200, video_token_id = 201,
    rope_scaling = { type = "mrope", mrope_section = { 2, 3, 3 } },
    vision_config = { depth = 2, hidden_size = 32, intermediate_size = 40, num_heads = 2,
      out_hidden_size = 64, in_channels = 3, patch_size = 4, spatial_merge_size = 2,
      temporal_patch_size = 2, window_size = 16, fullatt_block_indexes = { 1 } } }
  for k, v in pairs(text) do config[k] = v end
  for k, v in pairs(changes or {}) do config[k] = v end
  return policy.new(config):init(7, 0.3)
end

local function ids(random, n, vocab)
  local list = {}
  for i = 1, n do list[i] = random(vocab) end
  return list
end

--- A prompt of n random text tokens; images: grids { 1, h, w } of pictures in its middle.
function tiny.prompt(p, random, n, images)
  local prompt = require "rllava.prompt"
  local list, vision, loaded = ids(random, n, 199), p.config.vision_config, {}
  for k, grid in ipairs(images or {}) do
    local width = vision.in_channels * vision.temporal_patch_size * vision.patch_size ^ 2
    local rows = grid[1] * grid[2] * grid[3]
    local patches = ffi.new("float[?]", rows * width)
    for i = 0, rows * width - 1 do patches[i] = random(2001) / 1000 - 1 end
    loaded[k] = { patches = patches, rows = rows, width = width, grid = grid }
    table.insert(list, math.floor(n / 2) + k, 200)
  end
  return prompt.new(p, list, loaded)
end

--- A response of n random tokens, as C takes it.
function tiny.response(random, n)
  return { ids = ffi.new("int[?]", math.max(1, n), ids(random, n, 199)), n = n }
end

--- Log-probability and entropy of each response's tokens below one prompt, by the training forward:
--- { { logp = {...}, entropy = {...} }, ... }.  train: with a backward pass planned.
function tiny.logp(p, prompt, responses, temperature, train)
  local update = require "rllava.update"
  local with_grad = train and 1 or 0
  local replay = check(C.rl_replay_new(p.model.tape, "logp entropy", with_grad, 0, tiny.dtype))
  ffi.gc(replay, C.rl_replay_free)
  local batch = ffi.gc(C.rl_batch_new(), C.rl_batch_free)
  update.pack(batch, { { prompt = prompt, responses = responses } },
    tiny.dtype == C.RL_HALF and 1 or 0)
  check(C.rl_batch_bind(batch, replay, temperature or 1))
  check(C.rl_replay_forward(replay))
  return tensor.scope(function()
    local function output(name) return tensor.own(C.rl_replay_output(replay, name)):data() end
    local logp, entropy = output "logp", output "entropy"
    local order, at, out = C.rl_batch_order(batch), 0, {}
    for k, r in ipairs(responses) do
      out[k] = { logp = {}, entropy = {} }
      for i = 1, r.n do
        out[k].logp[i], out[k].entropy[i] = logp[order[at]], entropy[order[at]]
        at = at + 1
      end
    end
    return out
  end)
end

--- An engine, and its face for tests.
function tiny.engine(p, options)
  local o = options or {}
  local e = check(C.rl_engine_new(p.model.tape, tiny.dtype, o.slots or 4096, o.at_once or 32,
    o.tokens or 256, o.banned, p.config.text_config.vocab_size))
  return ffi.gc(e, C.rl_engine_free)
end

--- A request's number.  options: fields of rl_request; stop, bias_id, bias as lists.
function tiny.submit(e, prompt, options)
  local q = ffi.new("rl_request", { prompt = prompt.ids, positions = prompt.positions, n = prompt.n,
    media = prompt.media, samples = 1, max_new = 8, temperature = 1, top_p = 1 })
  local keep = {}
  for k, v in pairs(options or {}) do
    if type(v) == "table" then
      v = ffi.new(k == "bias" and "float[?]" or "int[?]", #v, v)
      keep[#keep + 1] = v
    end
    q[k] = v
  end
  return check(C.rl_engine_submit(e, q)), keep
end

--- The next n finished samples by request, then in the order of their numbers:
--- { tokens, logp, entropy, versions: lists; n, finish, sample, ids, error }.
function tiny.collect(e, n)
  local out = {}
  for _ = 1, n do
    local r = C.rl_engine_next(e, 60)
    if r == nil then error("no sample within a minute", 2) end
    local x = { request = r.request, sample = r.sample, n = r.n, finish = r.finish, tokens = {},
      logp = {}, entropy = {}, versions = {}, ids = ffi.new("int[?]", math.max(1, r.n)),
      error = r.error ~= nil and ffi.string(r.error) or nil }
    for i = 0, r.n - 1 do
      x.tokens[i + 1], x.logp[i + 1] = r.tokens[i], r.logp[i]
      x.entropy[i + 1], x.versions[i + 1] = r.entropy[i], r.versions[i]
      x.ids[i] = r.tokens[i]
    end
    C.rl_engine_forget(e, r)
    out[x.request] = out[x.request] or {}
    table.insert(out[x.request], x)
  end
  for _, list in pairs(out) do table.sort(list, function(a, b) return a.sample < b.sample end) end
  return out
end

return tiny
