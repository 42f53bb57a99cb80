-- repl: sessions at a prompt and from pipes, as a person meets them.
-- SPDX-License-Identifier: MIT
local help  = require "umbra.help"
local show  = require "umbra.repl.show"
local tree  = require "spec.support.tree"
local umbra = require "spec.support.umbra"
local words = require "umbra.repl.words"

local folder, program, board

-- Says "go", then answers each byte with itself plus one; "x" ends it with exit code 7, "r" resets the machine.
local NEXT = [[
        .globl _start
_start: lui   s0, 0x10000
        lui   s1, 0x100
        li    t1, 'g'
        sb    t1, 0(s0)
        li    t1, 'o'
        sb    t1, 0(s0)
read:   addi  s5, s5, 1
        lbu   t0, 5(s0)
        andi  t0, t0, 1
        beqz  t0, read
        lbu   t1, 0(s0)
        li    t2, 'x'
        beq   t1, t2, fail
        li    t2, 'r'
        beq   t1, t2, reset
        addi  t1, t1, 1
        sb    t1, 0(s0)
        j     read
fail:   li    t1, 0x73333
        sw    t1, 0(s1)
reset:  li    t1, 0x7777
        sw    t1, 0(s1)
1:      j     1b
text:   .asciz "some\033text"
]]

setup(function()
  folder = umbra.folder()
  program = umbra.assemble(NEXT, folder.path .. "/next.elf")
  board = folder.write("board.lua", [[
    local machine, dev = require "umbra.machine", require "devices"
    return machine {
      name = "board",
      ram = { size = "1M" },
      map = { { at = 0x100000, name = "power", dev.syscon {} }, { at = 0x10000000, name = "uart0", dev.ns16550a {} } },
      boot = { kernel = machine.param "kernel" },
    }
  ]])
end)
teardown(function() folder.remove() end)

-- A session of the board that is given `lines`.
local function piped(lines, more)
  return umbra.run({ "repl", board, "kernel=" .. program, unpack(more or {}) }, { input = table.concat(lines, "\n") .. "\n" })
end

-- Runs a session on a pseudo-terminal. steps: { word, text } each (spec/support/typist.py). Returns what it showed, and the exit code.
local function typed(steps, options)
  options = options or {}
  local lines = {}
  for i, step in ipairs(steps) do
    local text = tostring(step[2] or ""):gsub("[%c\\\127-\255]", function(c) return ("\\x%02x"):format(c:byte()) end)
    lines[i] = step[1] .. " " .. text
  end
  local input = folder.write("steps", table.concat(lines, "\n"))
  local preload = umbra.quote(os.getenv "LD_PRELOAD" or "")          -- a sanitizer is for umbra, not for what types
  local shown = tree.run(("LD_PRELOAD= XDG_STATE_HOME=%s TERM=%s timeout -s KILL 100 python3 spec/support/typist.py %d env LD_PRELOAD=%s %s < %s"):format(
    folder.path, options.term or "xterm", options.columns or 80, preload, options.command or ("build/umbra repl %s kernel=%s"):format(board, program), input))
  assert.is_nil(shown:match "%(never came[^\n]*", shown)
  return shown, tonumber(shown:match "\ncode=(%d+)\n$")
end

-- Steps that type a line once there is a prompt.
local function line(text) return { "expect", "umbra> " }, { "send", text .. "\r" } end

local function session(lines, tail)
  local steps = {}
  for _, each in ipairs(lines) do
    if type(each) == "table" then
      steps[#steps + 1] = each
    else
      steps[#steps + 1], steps[#steps + 2] = line(each)
    end
  end
  for _, each in ipairs(tail or { { "expect", "umbra> " }, { "send", "\4" } }) do steps[#steps + 1] = each end
  return steps
end

describe("a session from a pipe", function()
  it("shows what expressions give and nothing else", function()
    local result = piped {
      "=1+1", "2 * 3, nil, 'x'", "local a = 4", "b = 5", "=b", "= { b = 1, a = { 2 }, bytes = 2048 }", "for i = 1, 2 do", "print(i, b)", "end",
    }
    assert.same({ code = 0, err = "", out = '2\n6\nnil\n"x"\n5\n{ a = { [1] = 2 }, b = 1, bytes = 2048 (2 KiB) }\n1\t5\n2\t5\n' }, result)
  end)

  it("ends with the first error, its line and exit code 126", function()
    assert.same({ code = 126, err = "umbra: stdin:2: no\n", out = "1\n" }, piped { "=1", "error 'no'", "=3" })
    assert.same({ code = 126, err = "umbra: stdin:3: unfinished\n", out = "" }, piped { "", "for i = 1, 2 do", "print(i)" })
    local result = piped { "x = = 2" }
    assert.equal(126, result.code)
    assert.matches("^umbra: stdin:1: [^\n]*near '='\n$", result.err)
    assert.matches("^umbra: raised [^\n]+\n$", piped({ "error { a = 1 }" }).err)
  end)

  it("ends with the code of quit", function()
    assert.same({ code = 9, err = "", out = "" }, piped { "quit(9)", "=1" })
    assert.same({ code = 0, err = "", out = "" }, piped { "quit", "=1" })
    assert.equal(126, piped({ "quit(256)" }).code)
  end)

  it("has the machine run meanwhile, or not with -S", function()
    local result = piped { 'm.console:expect("go", 10)', 'm.console:send "a"', '=m.console:expect("b", 10)', "=m:running()" }
    assert.same({ code = 0, err = "", out = '"go"\n"b"\ntrue\n' }, result)
    assert.matches("^standing still, 0 instructions, pc 0x80000000 <_start>\n", piped({ "info status" }, { "-S" }).out)
  end)

  it("takes the words of monitors, as functions and as they are typed elsewhere", function()
    local result = piped({
      "x _start 2i", 'x("_start", "2i")', "x/2xw 0x80000000", "xp/1xg 0x80000000", "str text", "reg 0 pc", "reg pc", "whatis 0x10000004",
      "sysbus.WhatIsAt 0x100000", "peripherals", "until pc 0 8000001a", "step 1", "rs 4", "stop", "info mtree", "cont", "=m:running()", "system_reset",
    }, { "-S" })
    assert.equal("", result.err)
    local code = "80000000:  10000437  lui s0, 0x10000  <_start>\n80000004:  001004b7  lui s1, 0x100  <_start+0x4>\n"
    assert.equal(code .. code .. [[
0x80000000 <_start>: 0x10000437 0x001004b7
0x80000000 <_start>: 0x001004b710000437
"some\x1btext"
0x80000000 <_start>
0x80000000 <_start>
0x10000004
uart0: mmio, offset 0x4
0x100000
power: mmio, offset 0x0
power        syscon         0x100000
uart0        ns16550a       0x10000000
]], result.out:match "^(.-uart0        ns16550a       0x10000000\n)")
    assert.matches("\npc at 0x8000001a <read[^\n]*\n8000001a:  [^\n]*\ninstructions at [^\n]*\nstanding still, [^\n]*\n", result.out)
    assert.matches("\n0x000010000000[^\n]* mmio  uart0 [^\n]*\n", result.out)
    assert.matches("\ntrue\n$", result.out)
  end)

  it("names what a word was given wrong", function()
    for text, wanted in pairs {
      ["info nothing"] = "info: nothing is known about \"nothing\"", ["x/3z 0"] = "x: \"3z\" is no format", ["x nosuch"] = "x: no symbol \"nosuch\"",
      ["reg 3"] = "reg: hart must be 0 to 0", ["reg zz"] = "no register or CSR \"zz\"", ["rs many"] = "rs: must be a whole number from 1",
      ["until reg 0"] = "until: until pc %[HART%] ADDRESS", ["gdbserver nowhere"] = "gdbserver: \"nowhere\": must be PORT", ["console"] = "no terminal",
      ["x/70000b 0"] = "x: count: must be a whole number from 1 to 65536", ["m = nil; info()"] = "info: m is no machine",
    } do
      local result = piped { text }
      assert.equal(126, result.code, text)
      assert.matches("^umbra: [^\n]*" .. wanted .. "[^\n]*\n$", result.err, text)
    end
  end)

  it("refuses what cannot be a session", function()
    for _, case in ipairs {
      { { "--nonsense" }, "unknown option `%-%-nonsense`" }, { { "linux-user", "elf=" .. program }, "is a process" },
      { { "--none", board }, "goes with no machine" },
      { { board, "kernel=a", "kernel=b" }, "is given twice" }, { { board, board }, "two machines" }, { { board, "kernal=x" }, "unknown parameter `kernal`" },
    } do
      local result = umbra.run { "repl", unpack(case[1]) }
      assert.equal(126, result.code)
      assert.matches("^umbra: [^\n]*" .. case[2] .. "[^\n]*\n$", result.err)
    end
    assert.equal(127, umbra.run({ "repl", "no/such.lua" }).code)
    assert.same({ code = 0, err = "", out = "2\n" }, umbra.run({ "repl", "--none" }, { input = "=1+1\n" }))
  end)

  it("tells of what ends the guest, and goes on", function()
    local result = piped { 'm.console:send "x"', "local r = m:wait { timeout = 10 }", "=m.ended.code" }
    assert.same({ code = 0, err = "", out = "7\n" }, result)
  end)

  it("helps with words, functions, objects and pages", function()
    local result = piped { 'help "whatis"', "help(print)", "help(string.format)", "function f() end", "help(f)", "help(m.console)", 'help "hook"', "help(nil)" }
    assert.equal("", result.err)
    assert.matches("^whatis%(place%), sysbus.WhatIsAt%(place%)\n    the symbol, ", result.out)
    assert.matches("\nstring.format: a function of Lua's library\n", result.out)
    assert.matches("\nfunction at stdin:4\n", result.out)
    assert.matches("\nconsole uart0: ", result.out)
    assert.matches("\nwords: console cont gdbserver help info ", result.out)
  end)

  it("runs scripts with the session's words and machine", function()
    local script = folder.write("script.lua", "for i = 1, 2 do print(i, m.name) end\nmade = 5\nreturn whatis ~= nil")
    assert.same({ code = 0, err = "", out = "1\tboard\n2\tboard\ntrue\n5\n" }, piped { ('=dofile "%s"'):format(script), "=made" })
    local result = piped({ 'm.console:expect("go", 10)', 'dofile "examples/09-repl.lua"', "profile(0.2, 20)" })
    assert.equal("", result.err)
    assert.matches("\n *[%d.]+ %%  read\n", result.out)
  end)

  it("ends when a signal comes, while a line runs too", function()
    for _, text in ipairs { "while true do end", "while true do pcall(function() while true do end end) end", "m:wait { timeout = 60 }", "" } do
      local input = folder.write("lines", text .. "\n")
      local _, code = tree.run(("( ( cat %s; sleep 2 ) | timeout --signal=INT 1.5 build/umbra repl %s kernel=%s; exit $? )"):format(input, board, program))
      assert.equal(124, code, text)
    end
  end)
end)

describe("a session on a terminal", function()
  it("goes on after errors, and after Ctrl-C", function()
    local shown, code = typed(session {
      "error 'no'", { "expect", "repl:1: no\r\n" }, "while true do end", { "wait", "0.3" }, { "send", "\3" }, { "expect", "interrupted" },
      "while true do pcall(function() while true do end end) end", { "wait", "0.3" }, { "send", "\3" }, { "expect", "interrupted" },
      "stop", "m:run {}", { "wait", "0.3" }, { "send", "\3" }, { "expect", "interrupted" },
      "cont", "m:wait {}", { "wait", "0.3" }, { "send", "\3" }, { "expect", "interrupted" },
      "=6*7", { "expect", "42\r\n" }, "=m:running()", { "expect", "true\r\n" },
    })
    assert.equal(0, code, shown)
  end)

  it("completes objects, options, words and symbols", function()
    local shown, code = typed(session {
      { "expect", "umbra> " }, { "send", "m.cons\t" }, { "expect", "console" }, { "send", ":ex\t" }, { "expect", "expect" }, { "send", "\21" },
      { "send", "m:run { ti\t" }, { "expect", "timeout" }, { "send", "\21" },
      { "send", "info regi\t" }, { "expect", "registers" }, { "send", "\21" },
      { "send", 'whatis "_sta\t' }, { "expect", "_start" }, { "send", "\21" },
      { "send", "m:hook { inst\t\t" }, { "send", "\21" }, { "send", "m.console:\t" }, { "expect", "expect" }, { "send", "\21=1\r" }, { "expect", "1\r\n" },
    })
    assert.equal(0, code, shown)
  end)

  it("keeps earlier lines, of this session and of those before", function()
    local _, code = typed(session { "=11*11", { "expect", "121\r\n" }, { "expect", "umbra> " }, { "send", "\27[A\r" }, { "expect", "121\r\n" } })
    assert.equal(0, code)
    _, code = typed(session { { "expect", "umbra> " }, { "send", "\27[A\r" }, { "expect", "121\r\n" } })
    assert.equal(0, code)
  end)

  it("takes lines that go on, and gives them up", function()
    local _, code = typed(session {
      "for i = 1, 2 do", { "expect", "... " }, { "send", "print('n' .. i) end\r" }, { "expect", "n1\r\nn2\r\n" },
      "for i = 1, 2 do", { "expect", "... " }, { "send", "\3" }, "=3", { "expect", "3\r\n" },
    })
    assert.equal(0, code)
  end)

  it("shows the guest's console and comes back", function()
    local shown, code = typed(session({
      "console", { "expect", "Ctrl-A h helps\r\ngo" }, { "send", "ab" }, { "expect", "bc" }, { "send", "\1h" }, { "expect", "back to the prompt" },
      { "send", "\1c" }, 'm.console:send "d"', '=m.console:expect("e", 10)', { "expect", '"e"\r\n' }, "console()", { "expect", "helps\r\ne" },
      { "send", "\1x" },
    }, {}))
    assert.equal(0, code, shown)
  end)

  it("serves hooks and tells of what happens while it waits", function()
    local shown, code = typed(session {
      "m:hook { every = 0.2, call = function(hit) n = (n or 0) + 1 if n == 2 then print 'twice' end end }", { "expect", "twice\r\n" },
      { "send", "=n > 1\r" }, { "expect", "true\r\n" },
      "m:hook { every = 0.1, call = function() error 'oh' end }", { "expect", "the machine stands still: " }, { "expect", "oh" },
      { "send", "for _, h in ipairs(m:hooks()) do h:detach() end cont()\r" }, 'm.console:send "r"', { "expect", "the guest reset its machine" },
      { "send", "\r" }, 'm.console:send "x"', { "expect", "the machine stands still: exit with code 7" },
      { "send", "cont\r" }, { "expect", "has ended (exit)" },
    })
    assert.equal(0, code, shown)
  end)

  it("lets a debugger connect and no longer, while the machine runs", function()
    local place = folder.path .. "/gdb"
    local shown, code = typed(session {
      "gdbserver unix:" .. place, { "expect", "target remote " .. place }, "info status", { "expect", "running, " },
      "n = m:counters().instructions", { "wait", "0.3" }, "=m:counters().instructions > n, m:running()", { "expect", "true\r\nfalse\r\n" },
      "gdbserver none", "=m.debugger, m:running()", { "expect", "nil\r\ntrue\r\n" },
    })
    assert.equal(0, code, shown)
  end)

  it("works in 20 columns, in other ones later, and where nothing is known of the terminal", function()
    for _, term in ipairs { "xterm", "dumb", "vt100" } do
      local shown, code = typed(session {
        "print('1234567890' .. '1234567890')", { "expect", "\n12345678901234567890\r\n" }, { "columns", "40" }, "=2+3", { "expect", "5\r\n" },
        "while true do end", { "wait", "0.3" }, { "send", "\3" }, { "expect", "interrupted" },
      }, { term = term, columns = 20 })
      assert.equal(0, code, shown)
    end
  end)

  it("ends with its terminal", function()
    local _, code = typed { { "expect", "umbra> " }, { "close" } }
    assert.equal(129, code)
    _, code = typed { { "expect", "umbra> " }, { "send", "while true do end\r" }, { "wait", "0.3" }, { "close" } }
    assert.equal(129, code)
  end)

  it("takes no time while it waits", function()
    local steps = { { "expect", "umbra> " }, { "wait", "2" }, { "send", "=1\r" }, { "expect", "1\r\n" }, { "expect", "umbra> " }, { "send", "\4" } }
    local command = ("sh -c 'build/umbra repl %s kernel=%s -S; times'"):format(board, program)
    local shown = typed(steps, { command = command })
    local minutes, user, system = shown:match "\n(%d+)m([%d.]+)s %d+m([%d.]+)s\r?\n\ncode="
    assert(minutes, shown)
    assert.is_true(60 * minutes + user + system < 1, shown)
  end)
end)

describe("the tour", function()
  -- Types what docs/repl.md shows, and looks whether what it says is answered.
  it("of the page does what it says", function()
    require("umbra.fetch").ensure("debian-riscv64", {})
    local page = tree.read "docs/repl.md":match "\n```text\n(umbra> .-)```"
    local steps = {}
    for text in page:gmatch "([^\n]*)\n" do
      local typed_line = text:match "^umbra> (.*)$"
      if typed_line then
        steps[#steps + 1], steps[#steps + 2] = line(typed_line)
      elseif text:find "^   %.%.%. " then
        steps[#steps + 1], steps[#steps + 2] = { "expect", "... " }, { "send", text:sub(8) .. "\r" }
      elseif text ~= "..." then
        steps[#steps + 1] = { "expect", "\n" .. text:gsub("%.%.%.$", "") }
      end
    end
    assert.is_true(#steps > 30)
    local shown, code = typed(steps, { command = "build/umbra repl" })
    assert.equal(0, code, shown)
  end)
end)

describe("the page", function()
  it("has a row for every word, and no other", function()
    local known, told = { help = true }, {}
    for name, word in pairs(words.new({})) do if type(word) == "function" then known[name] = true end end
    for name in pairs(known) do assert.is_string(help.word("repl", name), name) end
    for code in tree.read("docs/repl.md"):match("\n## Words\n.-\n## "):gmatch "\n| ([^|]*) |" do
      for name in code:gmatch "`([%a_]+)[ (]" do told[name] = true end
    end
    assert.same(known, told)
  end)
end)

describe("values", function()
  it("are shown readable", function()
    local function names(at) return at == 0x80000010 and "main" or nil end
    assert.equal("65535", show.value(65535, names))
    assert.equal("65536  0x10000", show.value(65536, names))
    assert.equal("0x80000010 <main>", show.value(0x80000010, names))
    assert.equal("0xffffffff80000000", show.value(0xffffffff80000000ULL))
    assert.equal("-5", show.value(-5LL))
    assert.equal("1.5", show.value(1.5))
    assert.equal('"a\\x1b[2J"', show.value "a\27[2J")
    assert.equal("a\n\\x1bb", show.value "a\n\27b")
    assert.equal("{ ns = 1500 (1.5 us), seconds = 0.25 (250 ms) }", show.value { ns = 1500, seconds = 0.25 })
    local loop = { a = 1 }
    loop.b = loop
    assert.equal("{ a = 1, b = (shown above) }", show.value(loop))
    assert.equal("{}", show.value {})
  end)
end)
