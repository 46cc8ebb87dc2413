--- rllava tests/run.lua [-v] [NAME ...]: runs tests/test_*.lua; NAMEs are parts of a test's name or
--- of its file's.
package.path = "tests/?.lua;" .. package.path
local T = require "check"
for _, name in ipairs { ... } do
  if name == "-v" then T.verbose = true else T.only[#T.only + 1] = name end
end
for _, name in ipairs(T.list "tests") do
  if name:find "^test_.*%.lua$" then
    T.file = name
    local ok, message = xpcall(function() dofile("tests/" .. name) end, debug.traceback)
    if not ok then
      T.failed = T.failed + 1
      print(("not ok  %s: %s"):format(name, message))
    end
  end
end
print(("%d passed, %d failed, %d skipped"):format(T.passed, T.failed, T.skipped))
return T.failed == 0 and 0 or 1
