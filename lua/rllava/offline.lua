--- The variable that forbids the network ("HF_HUB_OFFLINE=1"), or nil.
local yes = { ["1"] = true, ON = true, YES = true, TRUE = true }

return function()
  for _, name in ipairs { "RLLAVA_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE" } do
    local value = os.getenv(name)
    if value and yes[value:upper()] then return name .. "=" .. value end
  end
end
