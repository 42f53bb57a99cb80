-- terminal: what a terminal sends (Ctrl-C, Ctrl-Z, Ctrl-\) reaches a process as it would a native one, and a shell sees what became of it.
-- SPDX-License-Identifier: MIT
local fetch = require "umbra.fetch"
local riscv = require "spec.support.riscv"
local tree  = require "spec.support.tree"
local umbra = require "spec.support.umbra"

local folder, program
setup(function()
  folder = umbra.folder()
  program = riscv.compile("spec/guest/linux/terminal.c", folder.path .. "/tick")
end)
teardown(function() folder.remove() end)

-- `shell` on a terminal, and what is typed there and waited for: a line "> TEXT" is typed (^X is control-X, \n return, nothing is added),
-- at "< TEXT" that text must come. Returns all that was shown.
local function talk(shell, steps)
  if os.getenv "LD_PRELOAD" then return pending "a shell on a terminal does not live with a preloaded sanitizer" end
  local lines = { "send PS1='ready''> '\\n", "expect ready>" }
  for kind, text in steps:gmatch "([<>]) ([^\n]*)" do
    lines[#lines + 1] = (kind == ">" and "send " or "expect ") .. text:gsub("%^([A-Z\\])", function(key) return ("\\x%02x"):format(key:byte() - 64) end)
  end
  lines[#lines + 1] = "close"
  local shown = tree.run(("python3 spec/support/typist.py 80 %s < %s"):format(shell, folder.write("steps", table.concat(lines, "\n"))))
  assert.is_nil(shown:match "%(never came[^\n]*", shown)
  return shown
end

describe("a program on a terminal", function()
  it("is stopped, goes on, and is interrupted, which its shell sees", function()
    talk("bash --norc --noprofile -i", ([[
> build/umbra exec %s\n
< tick 3
> ^Z
< Stopped
< ready>
> jobs; fg\n
< Stopped
< tick 6
> ^C
< ready>
> echo "code $?"\n
< code 130
> build/umbra exec %s\n
< tick 2
> ^\
< Quit
< ready>
> echo "code $?"\n
< code 131
> build/umbra exec %s & sleep 0.5; kill -TERM $!; wait $!; echo "code $?"\n
< code 143
]]):format(program, program, program))
  end)

  it("may handle what the terminal sends, and read from it", function()
    talk("bash --norc --noprofile -i", ([[
> build/umbra exec %s handle\n
< tick 2: 0 0 0 0.
> ^\
< : 0 1 0 0.
> ^C
< : 1 1 0 0.
> ^Z
< Stopped
< ready>
> fg\n
< : 1 1 1 1.
> ^Z
< Stopped
< ready>
> fg\n
< : 1 1 2 2.
> ^C
< at the terminal 1 1
< line?
> some text\n
< got some text
< ready>
> echo "code $?"\n
< code 5
]]):format(program))
  end)

  it("may be a shell with jobs of its own", function()
    local sysroot = fetch.ensure("debian-riscv64-sysroot").sysroot
    local text = talk(("build/umbra exec --sysroot %s bash --norc --noprofile -i"):format(sysroot), ([[
> %s\n
< tick 3
> ^Z
< Stopped
< ready>
> sleep 50 &\n
< ready>
> jobs\n
< Stopped
< Running
< ready>
> fg %%1\n
< tick 5
> ^C
< ready>
> echo "code $?"; kill %%2; wait %%2; echo "job $?"\n
< code 130
< job 143
> uname -m; cat\n
< riscv64
> ^C
< ready>
> exit 7\n
]]):format(program))
    assert.is_nil(text:find("cannot set terminal", 1, true))
    assert.is_nil(text:find("no job control", 1, true))
  end)
end)
