--- The whole run of an image-repair agent: overall = acc_weight f1 + format_weight format +
--- tool_weight tool; Chinese answers by their characters.  gate = true: the tool bonus only with an
--- f1 above 0.5.
return require("rllava.reward.agentic").reward(true)
