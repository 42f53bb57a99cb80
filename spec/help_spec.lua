-- help: pages and calls agree, and what is asked about is shown with types, units and defaults.
-- SPDX-License-Identifier: MIT
local block   = require "umbra.block"
local devices = require "devices"
local dev     = require "umbra.dev"
local device  = require "umbra.device"
local help    = require "umbra.help"
local irq     = require "umbra.irq"
local linux   = require "umbra.linux"
local machine = require "umbra.machine"
local mmu     = require "umbra.mmu"
local refuses = require "spec.support.refuses"
local symbols = require "umbra.symbols"
local tlb     = require "umbra.tlb"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

-- Methods for the toolkit's own parts, which no page tells of.
local INTERNAL = {
  machine = "new_line new_chardev new_block slice need_bus", hart = "check", console = "drain feed room find", gdb = "after holds",
}

local folder, m, objects

setup(function()
  folder = umbra.folder { ["disk.img"] = ("\0"):rep(512) }
  m = machine.build(machine {
    name = "tested", ram = { size = "1M" }, clock = "virtual",
    map = { { at = 0x10000000, name = "uart0", devices.ns16550a {} }, { at = 0x0c000000, name = "plic", devices.plic { sources = 7 } } },
  })
  local port = dev.chardev()
  objects = {
    block = block.open { path = folder.path .. "/disk.img" }, chardev = port, clock = m.clock, console = m.console, dev = dev.ns16550a { chardev = port },
    gdb = m:gdb { port = 0 }, hart = m.hart,
    hook = m:hook { pc = 0x80000000, call = function() end }, irq = irq.new(), machine = m,
    linux = linux.new { elf = umbra.assemble("_start: ecall\n", folder.path .. "/program") }, mem = m.mem,
    mmu = mmu.new { mem = m.mem }, symbols = symbols.new(), tlb = tlb.new(),
  }
end)
teardown(function()
  for _, name in ipairs { "dev", "chardev", "block", "irq", "linux", "mmu", "tlb" } do objects[name]:close() end
  m:close()
  folder.remove()
end)

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

describe("the pages", function()
  for _, noun in ipairs(sorted(help.OBJECTS)) do
    it("tell of every call of a " .. noun .. ", and of no other", function()
      local object, about = objects[noun], help.OBJECTS[noun]
      assert.equal(noun, help.noun(object))
      local told, methods = {}, {}
      for _, row in ipairs(help.calls(about.page)) do
        if row.as == about.as and row.is_method then told[row.name] = true end
      end
      for name, value in pairs(getmetatable(object)) do
        if type(value) == "function" and not name:find "^__" then methods[name] = true end
      end
      for name in (INTERNAL[noun] or ""):gmatch "%S+" do
        assert(methods[name] and not told[name], noun .. ":" .. name)
        methods[name] = nil
      end
      for name in pairs(methods) do assert(told[name], ("docs/%s.md has no row for %s:%s"):format(about.page, about.as, name)) end
      for name in pairs(told) do assert(methods[name], ("docs/%s.md tells of %s:%s, which is not there"):format(about.page, about.as, name)) end
    end)
  end

  it("tell of every option of every model", function()
    local text = tree.read "docs/machine.md"
    for _, model in ipairs(devices.list()) do
      local row = text:match("\n| `" .. model.name .. "` |([^|]*)|[^|]*|")
      assert(row, model.name)
      for _, option in ipairs(model.options) do assert(row:find("`" .. option[1] .. "`", 1, true), model.name .. ": " .. option[1]) end
    end
  end)
end)

describe("help", function()
  it("shows what an object is, its calls and options", function()
    local text = help.text(m)
    for _, part in ipairs { "machine tested: 1 hart (rv64gc), 1M of RAM; clock: 0 ticks of 10000000 a second", "\n  m:run { instructions, until_text",
      "\n      runs until the first of these", "\n  timebase               integer, 1 to 1000000000, default 10000000: ticks of the guest's clock a second",
      "\n  size                   size, 4K to 1T, a multiple of 4096, required: bytes", "default 0x80000000: first address", "\nsee docs/machine.md" } do
      assert(text:find(part, 1, true), part .. "\n" .. text)
    end
    text = help.text(m.hart)
    assert(text:find("hart 0: rv64gc, mmu sv48; machine mode, pc 0x80000000, 0 instructions", 1, true), text)
    assert(text:find("\n  hart:set_csr(name, value)\n      CSRs by name or number, as machine mode sees them\n", 1, true), text)
    for noun, object in pairs(objects) do
      assert(#help.text(object) > 100 and help.text(object):find("see docs/" .. help.OBJECTS[noun].page .. ".md", 1, true), noun)
      assert(not help.text(object):find "`" , noun)
    end
  end)

  it("shows a model's options, and devices and classes in Lua", function()
    assert.equal("dev.plic: interrupt controller; of hart i, context 2i is machine mode and 2i + 1 supervisor mode\noptions\n" ..
      "  sources                integer, 1 to 1023, default 95: interrupt inputs, numbered from 1\n\nsee docs/machine.md", help.text(devices.plic))
    assert.equal(help.text(devices.plic), help.text "plic")
    for _, model in ipairs(devices.list()) do assert(help.text(model.name):find("dev." .. model.name .. ": ", 1, true)) end
    local Class = device { name = "lamp", help = "shines", config = { { "watts", type = "number", default = 5, unit = "W" } },
      regs = { { at = 0, name = "level", unit = "lm" } } }
    assert.matches("lamp: shines\noptions\n  watts +W +5 +number\nregisters\n  level +lm +rw +0x0 +0x000, 4 bytes\n\nsee docs/device.md", help.text(Class))
    local lit = machine.build(machine { ram = { size = "1M" }, map = { { at = 0x10005000, name = "lamp0", Class { watts = 7 } } } })
    assert.matches("lamp0: lamp: shines\noptions\n  watts +W +7 +number", help.text(lit:device "lamp0"))
    assert.equal(lit:device("lamp0"):describe(), lit:describe "lamp0")
    lit:close()
  end)

  it("shows pages and modules by name, and lists them", function()
    assert.matches("^clock: guest time\n\ncalls\n  clock.new { hertz, rate }\n", help.text "clock")
    assert.equal(help.text "clock", help.text(require "umbra.clock"))
    for _, path in ipairs(tree.files("docs", { ".md" })) do
      local page = path:match "^docs/([%w-]+)%.md$"
      if page then
        assert(#help.text(page) > 20)
        assert(help.text():find("\n  " .. page .. " ", 1, true), page)
      end
    end
    local lines = {}
    local old = print
    _G.print = function(text) lines[#lines + 1] = text end
    help "clock"
    _G.print = old
    assert.same({ help.text "clock" }, lines)
  end)

  it("says what it does not know", function()
    refuses(function() help.text "clok" end, 'help: there is no page "clok", did you mean `clock`.')
    refuses(function() help.text {} end, "help: nothing is known about a table; help%(%) lists what is")
    refuses(function() help.text(7) end, "help: nothing is known about 7; help%(%) lists what is")
  end)

  it("is there where umbra is installed, with its pages", function()
    local script = folder.write("asks.lua", 'print((require("umbra.help").text "mem"):match "^[^\\n]*")')
    assert.equal("mem: guest-physical memory\n", umbra.run({ "exec", script }).out)
  end)
end)

describe("describe", function()
  it("shows a device of a machine: window, options, accesses and state", function()
    m.mem:store(0x0c000004, 4, 3)
    local text = m:describe "plic"
    assert.matches("^plic: plic, 0xc000000 to 0xc201fff\n  sources = 7 %(integer: interrupt inputs, numbered from 1%)\n0 reads, 1 writes\nstate\n", text)
    assert.matches("\n  priority +1024 of 1 bytes  set\n  pending +32 of 4 bytes  zeros", text)
    refuses(function() m:describe "plc" end, 'no device "plc" in the map, did you mean `plic`.')
  end)

  it("tells time with its units", function()
    assert.equal("clock: 0 ticks of 10000000 a second (0.000000 s); virtual: 0 instructions so far", m.clock:describe())
    assert.equal("console uart0: 0 bytes printed, the last 0 kept; 0 bytes sent and not yet taken", m.console:describe())
  end)
end)
