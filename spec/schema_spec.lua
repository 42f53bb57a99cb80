-- schema: what option tables may hold.
-- SPDX-License-Identifier: MIT
local schema = require "umbra.schema"
local units  = require "umbra.units"

local ROWS = {
  { "entries", type = "integer", default = 512, min = 16, max = 65536, power_of_two = true },
  { "size", type = "size", min = 4096, multiple_of = 4096 },
  { "kind", type = "enum", values = { "fast", "trap", 8 } },
  { "at", type = "address" },
  { "on", type = "boolean" },
  { "ratio", type = "number" },
  { "path", type = "path" },
  { "name", type = "string" },
}

local function refuses(options, text)
  local ok, message = pcall(schema.check, options, ROWS, "tlb")
  assert.is_false(ok)
  assert.equal(text, (message:gsub("^[^:]*schema_spec%.lua:%d+: ", "")))
  assert.matches("^[^:]*schema_spec%.lua:%d+: ", message)
end

describe("a schema", function()
  it("fills in defaults and leaves the caller's table alone", function()
    local given = { size = "64K" }
    assert.same({ entries = 512, size = 65536 }, schema.check(given, ROWS, "tlb"))
    assert.same({ size = "64K" }, given)
    assert.same({ entries = 512 }, schema.check(nil, ROWS, "tlb"))
  end)

  it("converts the text of a command line", function()
    local got = schema.check({ entries = "0x40", size = "1M", kind = "8", at = "0x80000000", on = "off", ratio = "1.5" }, ROWS)
    assert.same({ entries = 64, size = 2^20, kind = 8, at = 0x80000000, on = false, ratio = 1.5 }, got)
  end)

  it("names an unknown key and the one that was meant", function()
    refuses({ entreis = 64 }, "unknown key `tlb.entreis`, did you mean `entries`?")
    refuses({ foo = 64 }, "unknown key `tlb.foo`; known: entries, size, kind, at, on, ratio, path, name")
    refuses({ 64 }, "`tlb` takes named keys only: what is 64 doing there?")
  end)

  it("names a value that does not fit, and what would", function()
    refuses({ entries = 8 }, "`tlb.entries` must be 16 to 65536, not 8")
    refuses({ entries = 100 }, "`tlb.entries` must be a power of two, not 100")
    refuses({ entries = 1.5 }, "`tlb.entries` must be an integer, not 1.5")
    refuses({ entries = "many" }, "`tlb.entries` must be an integer, not \"many\"")
    refuses({ entries = 0 / 0 }, "`tlb.entries` must be an integer, not nan")
    refuses({ size = -1 }, "`tlb.size` must be a size in bytes, or text like \"512M\", not -1")
    refuses({ size = 5000 }, "`tlb.size` must be a multiple of 4K, not 5000")
    refuses({ size = "12Q" }, "`tlb.size` must be a size like 65536, 64K, 512M or 2G, not \"12Q\"")
    refuses({ kind = "slow" }, "`tlb.kind` must be one of \"fast\", \"trap\", 8, not \"slow\"")
    refuses({ at = -4096 }, "`tlb.at` must be an address like 0x80000000, not -4096")
    refuses({ on = "maybe" }, "`tlb.on` must be true or false, not \"maybe\"")
    refuses({ ratio = {} }, "`tlb.ratio` must be a number, not a table")
    refuses({ path = "" }, "`tlb.path` must be the path of a file, not \"\"")
    refuses({ name = 3 }, "`tlb.name` must be a string, not 3")
    refuses(7, "`tlb` must be a table, not 7")
  end)

  it("asks for what is required", function()
    local rows = { { "isa", type = "string", required = true, help = "instruction set" } }
    assert.error_matches(function() schema.check({}, rows, "cpu") end, "missing key `cpu.isa` %(instruction set%)")
  end)

  it("blames the same key every time", function()
    for _ = 1, 20 do refuses({ zebra = 1, ape = 2, mule = 3 }, "unknown key `tlb.ape`; known: entries, size, kind, at, on, ratio, path, name") end
  end)
end)

describe("the nearest name", function()
  local names = { "kernel", "initrd", "append", "firmware", "ram" }

  it("is found through a slip, a swap, or its beginning", function()
    assert.equal("kernel", schema.nearest("kernle", names))
    assert.equal("kernel", schema.nearest("Kernel", names))
    assert.equal("firmware", schema.nearest("fimware", names))
    assert.equal("append", schema.nearest("app", names))
    assert.is_nil(schema.nearest("zzz", names))
  end)
end)

describe("a size", function()
  it("is read in powers of 1024", function()
    assert.equal(0, units.parse "0")
    assert.equal(65537, units.parse "65537")
    assert.equal(0x1000, units.parse "0x1000")
    assert.equal(512 * 2^20, units.parse "512M")
    assert.equal(2^31, units.parse " 2GiB ")
    assert.equal(1.5 * 2^30, units.parse "1.5G")
    assert.equal(units.MiB(512), units.parse "512MB")
    assert.equal(units.GiB(1), units.KiB(1024 * 1024))
  end)

  it("is refused when it is none", function()
    for _, text in ipairs { "", "M", "-1", "1e3", "12Q", "0.3", "3 4", "1i", "1B", "9P", "0x", "nan", "inf" } do
      assert.is_nil((units.parse(text)), text)
    end
  end)

  it("is written so that it reads back the same", function()
    for _, bytes in ipairs { 0, 1, 4095, 4096, 65537, 2^20, 2^20 + 4096, 3 * 2^30, 2^53 } do
      assert.equal(bytes, units.parse(units.format(bytes)))
    end
    assert.equal("512M", units.format(2^29))
  end)
end)
