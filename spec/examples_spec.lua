-- examples: each one does what it says, and the pages show what is there.
-- SPDX-License-Identifier: MIT
local cpu     = require "umbra.cpu"
local devices = require "devices"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local folder

setup(function() folder = umbra.folder() end)
teardown(function() folder.remove() end)

-- The Lua blocks of a page.
local function blocks(page)
  local list = {}
  for block in tree.read(page):gmatch "```lua\n(.-)```" do list[#list + 1] = block end
  return list
end

describe("01-hello-bare", function()
  it("says hello with the commands of its page", function()
    local program = folder.path .. "/hello.elf"
    local compile = tree.read("docs/machine.md"):match "    (clang.-hello%.s)\n"
    assert.is_string(compile)
    assert.is_truthy(tree.read("examples/01-hello-bare/hello.s"):gsub("\n#", "\n"):gsub("%s+", " "):find(compile:gsub("%s+", " "), 1, true))
    local text, code = tree.run((compile:gsub("\\\n", " "):gsub("build/hello%.elf", program)))
    assert.equal("", text)
    assert.equal(0, code)
    local result = umbra.run { "run", "examples/01-hello-bare/machine.lua", "kernel=" .. program }
    assert.equal("hello from a machine of fifteen lines\n", result.out)
    assert.equal("", result.err)
    assert.equal(0, result.code)
  end)

  it("is a machine of at most 20 lines", function()
    local file = tree.read "examples/01-hello-bare/machine.lua"
    assert.is_true(select(2, file:gsub("\n", "")) <= 20)
  end)
end)

describe("02-boot-linux", function()
  it("boots Linux and talks to its shell", function()
    require("umbra.fetch").ensure("debian-riscv64", {})
    local result = umbra.run({ "exec", "examples/02-boot-linux.lua" }, { seconds = 300 })
    assert.equal("", result.err)
    assert.matches("\nthe guest says: Linux 6%.[^\n]* riscv64\n", "\n" .. result.out)
    assert.matches("\nit ended with: off\n", result.out)
    assert.equal(0, result.code)
  end)
end)

describe("03-asm-hello", function()
  it("assembles a program that says hello and counts what it sent", function()
    local result = umbra.run { "exec", "examples/03-asm-hello.lua" }
    assert.equal("", result.err)
    assert.equal("hello from a program that was assembled here\n126 bytes of code and data, 45 bytes sent, ended with: off\n", result.out)
    assert.equal(0, result.code)
  end)
end)

describe("05-extend", function()
  it("runs one program in a machine and in one that extends it", function()
    local result = umbra.run { "exec", "examples/05-extend/run.lua" }
    assert.equal("", result.err)
    assert.matches("^machine hello: 1 hart [^\n]*\n0x[^\n]*power\n0x000010000000[^\n]* uart0\n0x[^\n]*ram\nhart 0 says hello\n\n" ..
      "machine extended: 2 harts [^\n]*\n0x[^\n]*power\n0x000010000000[^\n]* uart1\n0x000010001000[^\n]* uart0\n0x[^\n]*ram\n" ..
      "hart 0 says hello\nhart 1 says hello\n\n$", result.out)
    assert.equal(0, result.code)
  end)
end)

describe("06-two-machines", function()
  it("sends bytes back and forth between two machines", function()
    local result = umbra.run { "exec", "examples/06-two-machines/run.lua" }
    assert.equal("", result.err)
    assert.equal("left  sent acegikmoqsuwy and got 13 bytes; it ended with: off\nright sent bdfhjlnprtvxz and got 13 bytes; it ended with: off\n",
      result.out)
    assert.equal(0, result.code)
  end)
end)

describe("07-syscalls", function()
  it("counts the system calls of a boot", function()
    assert.is_true(select(2, tree.read("examples/07-syscalls.lua"):gsub("\n", "")) < 25)
    require("umbra.fetch").ensure("debian-riscv64", {})
    local result = umbra.run({ "exec", "examples/07-syscalls.lua" }, { seconds = 300 })
    assert.equal("", result.err)
    local total, list = result.out:match "^(%d+) system calls until it ended with: off\n(.*)$"
    assert.is_true(tonumber(total) > 500, result.out)
    assert.matches(" openat\n", list)
    assert.is_nil(list:find "number")
    assert.equal(8, select(2, list:gsub("\n", "")))
    assert.equal(0, result.code)
  end)
end)

describe("the README", function()
  it("has a machine that runs with the commands below it", function()
    local page = tree.read "README.md"
    local assemble, run = page:match "\n    build/umbra (asm [^\n]*)\n    build/umbra (run board%.lua [^\n]*)"
    local words = {
      ["board.lua"] = folder.write("board.lua", blocks("README.md")[1]), ["hello.elf"] = folder.path .. "/hello.elf",
      ["kernel=hello.elf"] = "kernel=" .. folder.path .. "/hello.elf",
    }
    local result
    for _, line in ipairs { assemble, run } do
      local list = {}
      for word in line:gmatch "%S+" do list[#list + 1] = words[word] or word end
      result = umbra.run(list)
      assert.equal("", result.err)
      assert.equal(0, result.code)
    end
    assert.equal("hello from a machine of fifteen lines\n", result.out)
  end)

  it("has a script that asks Linux its name", function()
    require("umbra.fetch").ensure("debian-riscv64", {})
    local result = umbra.run({ "exec", folder.write("shell.lua", blocks("README.md")[2]) }, { seconds = 300 })
    assert.equal("", result.err)
    assert.matches("^Linux 6%.[^\n]*\t%d+\n$", result.out)
    assert.equal(0, result.code)
  end)

  it("links to what is there", function()
    for target in tree.read("README.md"):gmatch "%]%(([^)]*)%)" do assert.is_true(tree.exists(target), target) end
  end)
end)

describe("a page", function()
  it("about machines shows the example as it is", function()
    local file = tree.read("examples/01-hello-bare/machine.lua"):gsub("^%-%-[^\n]*\n%-%-[^\n]*\n", "")
    assert.equal(file, blocks("docs/machine.md")[1])
  end)

  it("about machines has every device with its options", function()
    local text = tree.read "docs/machine.md"
    for _, model in ipairs(devices.list()) do
      local row = text:match("\n| `" .. model.name .. "` |([^\n]*)")
      assert.is_string(row, model.name)
      for _, option in ipairs(model.options) do assert.is_truthy(row:find("`" .. option[1] .. "`", 1, true), model.name .. ": " .. option[1]) end
    end
    assert.has_error(function() return devices.no_such_model end)
  end)

  it("about harts has every option", function()
    local text = tree.read "docs/cpu.md"
    for _, row in ipairs(cpu.OPTIONS) do assert.is_truthy(text:find("\n| `" .. row[1] .. "`", 1, true), row[1]) end
  end)

  it("about harts has an example that works", function()
    local path = folder.write("cpu.lua", blocks("docs/cpu.md")[1])
    local result = umbra.run { "exec", path }
    assert.equal("budget\t1000\n6000\t4096\n", result.out)
    assert.equal(0, result.code)
  end)

  it("about machines has an extension that works", function()
    local path = folder.write("mine.lua", 'local machine, dev = require "umbra.machine", require "devices"\n' .. blocks("docs/machine.md")[3])
    local rows = {}
    for _, row in ipairs(require("umbra.machine").describe(path).rows) do rows[row.name] = row end
    assert.is_nil(rows.rtc)
    assert.equal(12, rows.uart0.options.irq)
    assert.equal(0x20000000, rows.uart1.at)
  end)

  it("about device trees has an example that works", function()
    local script = folder.write("tree.lua", blocks("docs/dtb.md")[1])
    local text, code = tree.run(("build/umbra exec %s | dtc -I dtb -O dts"):format(script))
    assert.equal(0, code)
    assert.matches("riscv%-virtio", text)
    assert.is_string(loadstring(blocks("docs/dtb.md")[2] .. "\nreturn bytes")())
  end)
end)
