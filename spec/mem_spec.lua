-- mem: the address space against a twin made of a Lua table; its refusals; and, from C, windows, DMA and code pages.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local mem     = require "umbra.mem"
local example = require "spec.support.example"
local refuses = require "spec.support.refuses"
local shadow  = require "spec.support.shadow"
local tree    = require "spec.support.tree"

local RAM, ROM = 0x80000000, 0x1000

describe("mem", function()
  it("does what its page of docs begins with", function() example "docs/mem.md" end)

  local m
  before_each(function() m = mem.new() end)
  after_each(function() m:close() end)

  it("reads back what was written, and zeros elsewhere", function()
    m:add_ram { at = RAM, size = "1M" }
    m:write(RAM + 4094, "across a page")
    assert.equal("across a page", m:read(RAM + 4094, 13))
    assert.equal(("\0"):rep(4094), m:read(RAM, 4094))
    assert.equal("", m:read(RAM, 0))
    m:store(RAM + 8, 8, 0x8899aabbccddeeffULL)
    assert.equal(0x8899aabbccddeeffULL, m:load(RAM + 8, 8))
    assert.equal(0xccddeeff, m:load(RAM + 8, 4))
    assert.equal(0xaabb, m:load(RAM + 12, 2))
    assert.equal(0xff, m:load(RAM + 8, 1))
    m:store(RAM + 8, 8, -1)
    assert.equal(("\255"):rep(8), m:read(RAM + 8, 8))
  end)

  it("lets the host fill a ROM that the guest only reads", function()
    m:add_rom { at = ROM, size = 8192, name = "firmware" }
    m:write(ROM + 16, "\1\2\3\4")
    assert.equal(0x04030201, m:load(ROM + 16, 4))
    refuses(function() m:store(ROM + 16, 4, 0) end, "nothing answers a store of 4 bytes at 0x1010")
    assert.equal(0x04030201, m:load(ROM + 16, 4))
  end)

  it("lists its regions by address", function()
    m:add_ram { at = RAM, size = "2M", name = "ram" }
    m:add_rom { at = ROM, size = "4K", name = "rom" }
    m:add_ram { at = 0x40000000, size = "1M", name = "low" }
    local rows = m:rows()
    assert.same({ at = ROM, size = 4096, kind = "rom", name = "rom", reads = 0, writes = 0 }, rows[1])
    assert.same({ "rom", "low", "ram" }, { rows[1].name, rows[2].name, rows[3].name })
    assert.matches("0x40000000 +%.%. 0x400fffff +ram +1M +low", tostring(m))
  end)

  it("gives a view of RAM that both sides see", function()
    m:add_ram { at = RAM, size = "1M" }
    local view = m:view(RAM + 100, 50)
    view[3] = 77
    assert.equal(77, m:load(RAM + 103, 1))
    m:store(RAM + 104, 1, 78)
    assert.equal(78, view[4])
    refuses(function() m:view(RAM + 2^20 - 4, 8) end, "no memory of one piece at 0x800ffffc %(asked for 8 bytes%)")
  end)

  it("crosses from one region into the next in bulk only", function()
    m:add_ram { at = RAM, size = "1M", name = "first" }
    m:add_ram { at = RAM + 2^20, size = "1M", name = "second" }
    m:write(RAM + 2^20 - 3, "abcdef")
    assert.equal("abcdef", m:read(RAM + 2^20 - 3, 6))
    refuses(function() m:load(RAM + 2^20 - 4, 8) end, "nothing answers a load of 8 bytes at 0x800ffffc")
  end)

  it("does all of a bulk access or nothing", function()
    m:add_ram { at = RAM, size = "64K" }
    refuses(function() m:write(RAM + 65530, "0123456789") end, "no memory at 0x80010000 %(asked for 10 bytes at 0x8000fffa%)")
    assert.equal(("\0"):rep(6), m:read(RAM + 65530, 6))
    refuses(function() m:read(RAM - 1, 2) end, "no memory at 0x7fffffff .*")
    refuses(function() m:read(RAM, 2^31 - 1) end, "no memory at 0x80010000 .*")
    refuses(function() m:read(0xfffffffffffffffeULL, 4) end, "no memory at 0xfffffffffffffffe .*")
  end)

  it("reaches the last address and not beyond", function()
    m:add_ram { at = RAM, size = "4K" }
    local ptr, why = m.ptr, ffi.new "struct um_fault"
    local C = require("umbra.clib").C
    assert.equal(0, C.um_mem_add_ram(ptr, 0xfffffffffffff000ULL, 4096, 0, "top", why))
    m:write(0xfffffffffffffffeULL, "ab")
    assert.equal("ab", m:read(-2, 2))
    refuses(function() m:write(-2, "abc") end, "no memory at 0x0 .*")
    assert.is_true(C.um_mem_add_ram(ptr, 0xfffffffffffff000ULL, 8192, 0, "far", why) < 0)
    assert.equal("far: 8K at 0xfffffffffffff000 reaches beyond the last address", ffi.string(why.text))
  end)

  it("refuses regions in one clear line", function()
    local function refused(pattern, options) refuses(function() m:add_ram(options) end, pattern) end
    m:add_ram { at = RAM, size = "1M" }
    refused("twin %(0x800ff000 to 0x801fefff%) overlaps ram %(0x80000000 to 0x800fffff%)", { at = RAM + 0xff000, size = "1M", name = "twin" })
    refused("ram %(0x7ff00000 to 0x80ffffff%) overlaps .*", { at = RAM - 2^20, size = "17M" })
    refused("ram: 900T is more than this host can map %(limit %d+%u%)", { at = 2^40, size = "900T" })
    refused("`ram.size` must be at least 4K, not 0", { at = 0, size = 0 })
    refused("`ram.size` must be a size .*, not %-1", { at = 0, size = -1 })
    refused("`ram.size` must be a multiple of 4K, not 5000", { at = 0, size = 5000 })
    refused("`ram.at` must be a multiple of 0x1000, not 12", { at = 12, size = 4096 })
    refused("missing key `ram.at`.*", { size = 4096 })
    refused("unknown key `ram.sise`, did you mean `size`%?", { at = 0, sise = 4096 })
    assert.equal(1, #m:rows())
  end)

  it("refuses arguments that are none", function()
    m:add_ram { at = RAM, size = "1M" }
    refuses(function() m:read("RAM", 1) end, "`gpa` must be an address like 0x80000000, not \"RAM\"")
    refuses(function() m:read(RAM, -1) end, "`size` must be a whole number from 0 to 2147483647, not %-1")
    refuses(function() m:write(RAM, 7) end, "`bytes` must be a string, not 7")
    refuses(function() m:load(RAM, 3) end, "an access has 1, 2, 4 or 8 bytes, not 3")
    refuses(function() m:store(RAM, 4, "x") end, "`value` must be an address like 0x80000000, not \"x\"")
  end)

  it("is closed once and says so afterwards", function()
    local other = mem.new()
    other:close()
    other:close()
    assert.equal("mem (closed)", tostring(other))
    refuses(function() other:read(0, 1) end, "this mem is closed")
  end)

  it("agrees with a table of bytes", function()
    local SIZE = 3 * 4096
    local bases = { 0x10000000, 0x10000000 + SIZE, 0x20000000 }     -- two that touch, one alone
    local bytes = {}
    for i, at in ipairs(bases) do
      m:add_ram { at = at, size = SIZE, name = "ram" .. i }
      for a = at, at + SIZE - 1 do bytes[a] = 0 end
    end
    local function region(a)
      for i, at in ipairs(bases) do if a >= at and a < at + SIZE then return i end end
    end
    local function try(f, ...)
      local ok, value = pcall(f, m, ...)
      return ok and (value == nil and true or value) or nil
    end
    local function range(a, size)
      for i = a, a + size - 1 do if not bytes[i] then return false end end
      return true
    end
    shadow.play(20000, function()
      local base = shadow.pick(bases)
      local a = base + math.random(-20, SIZE + 20)
      if shadow.flip() then a = base + shadow.pick { 0, 4096, 8192, SIZE } + math.random(-9, 9) end
      local op, size = math.random(4), 2^math.random(0, 3)
      if op == 1 then
        local value = shadow.u64()
        local fits = range(a, size) and region(a) == region(a + size - 1)
        shadow.same(try(m.store, a, size, value), fits or nil, ("store %x %d"):format(a, size))
        for i = 0, fits and size - 1 or -1 do bytes[a + i] = tonumber(value / 256ULL^i % 256ULL) end
      elseif op == 2 then
        local twin
        if range(a, size) and region(a) == region(a + size - 1) then
          twin = 0ULL
          for i = size - 1, 0, -1 do twin = twin * 256 + bytes[a + i] end
        end
        local real = try(m.load, a, size)
        shadow.same(real and 0ULL + real, twin, ("load %x %d"):format(a, size))
      else
        size = math.random(0, 40)
        if op == 3 then
          local text = {}
          for i = 1, size do text[i] = string.char(math.random(0, 255)) end
          shadow.same(try(m.write, a, table.concat(text)), range(a, size) or nil, ("write %x %d"):format(a, size))
          for i = 1, range(a, size) and size or 0 do bytes[a + i - 1] = text[i]:byte() end
        else
          local twin
          if range(a, size) then
            twin = {}
            for i = 1, size do twin[i] = string.char(bytes[a + i - 1]) end
            twin = table.concat(twin)
          end
          shadow.same(try(m.read, a, size), twin, ("read %x %d"):format(a, size))
        end
      end
    end)
  end)
end)

describe("mem in C", function()
  it("keeps windows, DMA and code pages apart", function()
    local program = os.tmpname()
    local sources = "spec/support/mem_test.c csrc/mem/*.c csrc/tlb/*.c csrc/mmu/*.c csrc/base/fault.c"
    local text, code = tree.run(("cc -std=gnu11 -D_GNU_SOURCE -g -Icsrc -o %s %s && %s"):format(program, sources, program))
    os.remove(program)
    assert.equal("", text)
    assert.equal(0, code)
  end)
end)
