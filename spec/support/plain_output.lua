-- plain_output: a busted output handler that ends with `N passed, N failed, N skipped` alone on the last line.
-- One line a spec file as it goes, what failed at the end. A run without a single test is a failed run: a misspelt filter or an
-- empty folder must not look like success.
-- SPDX-License-Identifier: MIT
local pretty = require "pl.pretty"

local function text_of(message)
  if message == nil then return "error without a message" end
  return type(message) == "string" and message or pretty.write(message)
end

local function place_of(result)
  local trace = result.element.trace
  if trace and trace.short_src then return ("%s:%d: "):format(trace.short_src, trace.currentline) end
  return ""
end

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local file_start, tests_before = 0, 0

  local function ran() return handler.successesCount + handler.failuresCount + handler.errorsCount end

  local function print_results(title, results)
    for _, result in ipairs(results) do
      io.write(("\n%s %s%s\n"):format(title, place_of(result), result.name))
      io.write("  ", (text_of(result.message):gsub("\n", "\n  ")), "\n")
      if result.isError and result.trace and result.trace.traceback then
        io.write("  ", (result.trace.traceback:gsub("\n", "\n  ")), "\n")
      end
    end
  end

  function handler.fileStart(file)
    file_start, tests_before = busted.gettime(), ran()
    io.write(("%-40s "):format(file.name))
    io.flush()
    return nil, true
  end

  function handler.fileEnd()
    io.write(("%4d tests  %6.1f s\n"):format(ran() - tests_before, busted.gettime() - file_start))
    io.flush()
    return nil, true
  end

  function handler.suiteEnd()
    for _, pending in ipairs(handler.pendings) do
      local why = pending.message and ": " .. text_of(pending.message) or ""
      io.write(("skipped %s%s%s\n"):format(place_of(pending), pending.name, why))
    end
    print_results("FAILED", handler.failures)
    print_results("ERROR", handler.errors)
    if ran() == 0 then io.write("\nno test ran\n") end
    io.write(("\n"):rep(handler.failuresCount + handler.errorsCount > 0 and 1 or 0))
    io.write(("%d passed, %d failed, %d skipped\n"):format(
      handler.successesCount, handler.failuresCount + handler.errorsCount, handler.pendingsCount))
    io.flush()
    return nil, true
  end

  -- luajit makes Ctrl-C an error, which busted takes for one of the test: the run would go on.
  function handler.interrupted(_, _, message)
    if type(message) == "string" and message:find "interrupted!$" then os.exit(130, true) end
    return nil, true
  end

  -- busted's own exit code is the number of failures, of which a shell sees the low eight bits, and 0 when nothing ran.
  function handler.exit()
    if ran() == 0 or handler.failuresCount + handler.errorsCount > 0 then os.exit(1, true) end
    return nil, true
  end

  busted.subscribe({ "file", "start" }, handler.fileStart)
  busted.subscribe({ "file", "end" }, handler.fileEnd)
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  busted.subscribe({ "error" }, handler.interrupted)
  busted.subscribe({ "exit" }, handler.exit)
  return handler
end
