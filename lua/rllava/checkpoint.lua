--- Checkpoints: a Hugging Face folder, the state to go on from, and a list of both with their
--- hashes.  Written aside, brought to the disk, renamed: a folder that is there is whole.
---
---   state.zst        one zstd frame: JSON (its length before it), then the moments of each
---                    parameter (optim.states), then in f32 the parameters where the model's files
---                    are not f32
---   critic/ ...      models beside the policy, each a folder of the same kind, in f32
---   checkpoint.json  { format, step, files = [{ name, bytes, hash }] }, written last
local ffi = require "ffi"
local rl = require "rllava.ffi"
local tensor = require "rllava.tensor"
local files = require "rllava.files"
local json = require "rllava.json"
local model_file = require "rllava.model_file"
local C, check = rl.C, rl.check

local checkpoint = {}

local FORMAT, LEVEL = 1, 1

--- The optimizer in C, of an updater or as it is.
local function adamw(optimizer)
  return type(optimizer) == "table" and optimizer.optimizer or optimizer
end

--- Refuses what JSON would not give back as it was.
local function check_state(v, path)
  local kind = type(v)
  if kind == "number" and (v ~= v or math.abs(v) == math.huge) then
    rl.raise("checkpoint: %s: expected a finite number, got %s", path, tostring(v))
  elseif kind == "table" and v ~= json.null then
    local n = #v
    for k, e in pairs(v) do
      local whole = type(k) == "number" and k >= 1 and k <= n and k == math.floor(k)
      if not whole and (type(k) ~= "string" or n > 0) then
        rl.raise("checkpoint: %s: expected a list or a table of names, got the key %s", path,
          tostring(k))
      end
      check_state(e, path .. "." .. tostring(k))
    end
  elseif kind == "function" or kind == "cdata" or kind == "userdata" or kind == "thread" then
    rl.raise("checkpoint: %s: expected numbers, texts and tables, got a %s", path, kind)
  end
end

local function each_moment(policy, optimizer, body)
  for i, name in ipairs(policy.model.names) do
    local n = C.rl_adamw_words(optimizer, i - 1)
    if n > 0 then
      for which = 0, 1 do body(C.rl_adamw_moment(optimizer, i - 1, which), n, name) end
    end
  end
end

local function each_parameter(policy, body)
  for _, name in ipairs(policy.model.names) do
    local p, n = policy.model.params[name], 1
    for _, d in ipairs(p.shape) do n = n * d end
    tensor.scope(function() body(p.tensor, tensor.zeros(n):data(), n) end)
  end
end

local function head_of(policy, optimizer, state, masters)
  local moments = json.array {}
  for i, name in ipairs(policy.model.names) do
    moments[i] = json.array { name, optimizer and C.rl_adamw_words(optimizer, i - 1) or 0 }
  end
  return json.encode(json.object { { "format", FORMAT }, { "state", state or {} },
    { "updates", optimizer and C.rl_adamw_count(optimizer) or 0 }, { "masters", masters },
    { "bits", optimizer and C.rl_adamw_bits(optimizer) or 32 },
    { "moments", moments } })
end

local function write_state(path, policy, optimizer, state, masters)
  local head = head_of(policy, optimizer, state, masters)
  files.stream(path, LEVEL, function(out)
    check(C.rl_output_write(out, ffi.new("double[1]", #head), 8))
    check(C.rl_output_write(out, head, #head))
    if optimizer then
      each_moment(policy, optimizer, function(p, n) check(C.rl_output_floats(out, p, n, 0)) end)
    end
    if masters then
      each_parameter(policy, function(w, buffer, n)
        check(C.rl_param_get(w, buffer))
        check(C.rl_output_floats(out, buffer, n, 0))
      end)
    end
  end)
end

local function list_files(folder, prefix, list)
  for _, name in ipairs(files.list(folder)) do
    local path = files.join(folder, name)
    if files.kind(path) == "folder" then
      list_files(path, prefix .. name .. "/", list)
    else
      list[#list + 1] = json.object { { "name", prefix .. name }, { "bytes", files.size(path) },
        { "hash", files.hash(path) } }
    end
  end
  return list
end

local function write_list(folder, step)
  local list = list_files(folder, "", json.array {})
  files.write(files.join(folder, "checkpoint.json"),
    json.encode(json.object { { "format", FORMAT }, { "step", step }, { "files", list } }))
end

--- Models beside the policy: list of { name, policy, optimizer or nil }, each in its own folder.
local function write_beside(folder, beside)
  for _, m in ipairs(beside or {}) do
    local own = files.join(folder, m.name)
    files.make_folder(own)
    model_file.save(own, m.policy, "f32")
    if m.optimizer then
      write_state(files.join(own, "state.zst"), m.policy, adamw(m.optimizer), {}, false)
    end
  end
end

--- Writes folder.  options: { step, dtype = "f32" | "bf16" | nil, model_only, shard, beside }.
--- Where it cannot be written whole, nothing appears and what was there stays.
function checkpoint.save(folder, policy, optimizer, state, options)
  check_state(state or {}, "state")
  local aside = folder .. ".tmp"
  files.remove(aside)
  files.make_folder(aside)
  local ok, why = pcall(function()
    local exact = model_file.save(aside, policy, options.dtype, options.shard)
    if not options.model_only then
      write_state(files.join(aside, "state.zst"), policy, adamw(optimizer), state, not exact)
      write_beside(aside, options.beside)
    end
    write_list(aside, options.step)
    check(C.rl_folder_sync(aside))
    check(C.rl_folder_replace(aside, folder))
  end)
  if not ok then
    pcall(files.remove, aside)
    error(("checkpoint %s: not written: %s; earlier ones are as they were"):format(folder,
      tostring(why)), 0)
  end
end

--- Is v what write_list writes?
local function is_list(v)
  if type(v) ~= "table" or v.format ~= FORMAT or type(v.files) ~= "table" then return false end
  for _, f in ipairs(v.files) do
    if type(f) ~= "table" or type(f.name) ~= "string" or type(f.bytes) ~= "number" then
      return false
    end
  end
  return true
end

--- Is a checkpoint whole?  -> true, its step; or nil and the reason why not.
function checkpoint.verify(folder)
  local path = files.join(folder, "checkpoint.json")
  if files.kind(path) ~= "file" then return nil, "no checkpoint.json" end
  local ok, list = pcall(function() return json.decode(files.read(path), path) end)
  if not ok then return nil, list end
  if not is_list(list) then return nil, "checkpoint.json of another format" end
  for _, f in ipairs(list.files) do
    local at = files.join(folder, f.name)
    local size = files.size(at)
    if not size then return nil, f.name .. " is absent" end
    if size ~= f.bytes then
      return nil, ("%s has %d bytes instead of %d"):format(f.name, size, f.bytes)
    end
    if files.hash(at) ~= f.hash then return nil, f.name .. " is damaged" end
  end
  return true, list.step
end

local function read_head(input, path)
  local length = ffi.new "double[1]"
  check(C.rl_input_read(input, length, 8))
  if not (length[0] >= 2 and length[0] < 2 ^ 30) then
    rl.raise("%s: damaged: its head has %g bytes", path, length[0])
  end
  local text = ffi.new("char[?]", length[0])
  check(C.rl_input_read(input, text, length[0]))
  local head = json.decode(ffi.string(text, length[0]), path)
  if head.format ~= FORMAT then
    rl.raise("%s: expected format %d, found %s", path, FORMAT, tostring(head.format))
  end
  return head
end

local function expect_moments(head, policy, optimizer, path)
  if #head.moments ~= #policy.model.names then
    rl.raise("%s: expected %d parameters as in the model, found %d", path, #policy.model.names,
      #head.moments)
  end
  local bits, own = head.bits or 32, C.rl_adamw_bits(optimizer)
  if bits ~= own then
    rl.raise("%s: expected moments of %d bits, as optim.states asks, found %d", path, own, bits)
  end
  for i, name in ipairs(policy.model.names) do
    local found, n = head.moments[i][1], head.moments[i][2]
    local want = C.rl_adamw_words(optimizer, i - 1)
    if found ~= name or n ~= want then
      rl.raise("%s: parameter %d: expected %s with %d numbers, found %s with %d", path, i, name,
        want, found, n)
    end
  end
end

local function read_state(path, folder, policy, optimizer)
  local input = ffi.gc(check(C.rl_input_open(path)), C.rl_input_close)
  local head = read_head(input, path)
  expect_moments(head, policy, optimizer, path)
  model_file.load(folder, policy)
  each_moment(policy, optimizer, function(p, n) check(C.rl_input_read(input, p, 4 * n)) end)
  if head.masters then
    each_parameter(policy, function(w, buffer, n)
      check(C.rl_input_read(input, buffer, 4 * n))
      check(C.rl_param_set(w, buffer))
    end)
  end
  check(C.rl_input_end(input))
  check(C.rl_adamw_set_count(optimizer, head.updates))
  return head.state
end

local function read_beside(folder, beside)
  for _, m in ipairs(beside or {}) do
    local own = files.join(folder, m.name)
    if files.kind(own) ~= "folder" then
      rl.raise("%s: expected a folder '%s', which this run needs, found none", folder, m.name)
    end
    if m.optimizer then
      read_state(files.join(own, "state.zst"), own, m.policy, adamw(m.optimizer))
    else
      model_file.load(own, m.policy)
    end
  end
end

--- Brings policy, optimizer and the models beside the policy to where the checkpoint was written
--- -> its state.  Refuses damaged ones, those of another model, and those without a state.
function checkpoint.restore(folder, policy, optimizer, beside)
  local whole, why = checkpoint.verify(folder)
  if not whole then rl.raise("%s: not a whole checkpoint: %s", folder, why) end
  local path = files.join(folder, "state.zst")
  if not files.kind(path) then
    rl.raise("%s: expected a state.zst, found a model alone; start from it with model=%s", folder,
      folder)
  end
  local state = read_state(path, folder, policy, adamw(optimizer))
  read_beside(folder, beside)
  return state
end

return checkpoint
