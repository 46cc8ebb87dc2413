--- The whole run of a search agent: overall = acc_weight f1 + format_weight format + tool_weight
--- tool.  gate = true: the tool bonus only with an f1 above 0.5.  See rllava.reward.agentic.
return require("rllava.reward.agentic").reward(false)
