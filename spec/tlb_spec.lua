-- tlb: against a twin that is a Lua table; flushes; refusals.
-- SPDX-License-Identifier: MIT
local tlb     = require "umbra.tlb"
local bits    = require "umbra.bits"
local example = require "spec.support.example"
local refuses = require "spec.support.refuses"
local shadow  = require "spec.support.shadow"

local PAGE = 4096ULL

-- The naive twin: direct-mapped by page number, exact keys, nothing clever.
local function new_twin(entries)
  local kinds = { r = {}, w = {}, x = {} }
  local large = { 0, 0 }                          -- bytes of the largest leaf by half, 0: none above a page
  local twin = {}
  local function index(gva) return tonumber(gva / PAGE % (0ULL + entries)) end
  local function half(gva) return gva >= 2ULL^63 and 2 or 1 end

  function twin.fill(gva, gpa, allow, page)
    for access in allow:gmatch "." do
      kinds[access][index(gva)] = { gva = gva - gva % PAGE, gpa = gpa - gpa % PAGE }
    end
    if page > 4096 and page > large[half(gva)] then large[half(gva)] = page end
  end

  function twin.lookup(gva, access, size)
    local entry = kinds[access][index(gva)]
    if entry and entry.gva == gva - gva % PAGE and gva % (0ULL + size) == 0 then return entry.gpa + gva % PAGE end
  end

  function twin.flush()
    kinds = { r = {}, w = {}, x = {} }
    large = { 0, 0 }
  end

  function twin.flush_page(gva)
    local leaf = 0ULL + math.max(4096, large[half(gva)])
    for _, access in ipairs { "r", "w", "x" } do
      for i = 0, entries - 1 do
        local entry = kinds[access][i]
        if entry and entry.gva / leaf == gva / leaf then kinds[access][i] = nil end
      end
    end
  end
  return twin
end

describe("tlb", function()
  it("does what its page of docs begins with", function() example "docs/tlb.md" end)

  local t
  before_each(function() t = tlb.new { entries = 64 } end)
  after_each(function() t:close() end)

  it("forgets a flushed page and only that page", function()
    t:fill { gva = 0x1000, gpa = 0x81000, allow = "r" }
    t:fill { gva = 0x2000, gpa = 0x82000, allow = "rw" }
    t:flush_page(0x1000)
    assert.is_nil(t:lookup(0x1000, "r"))
    assert.equal(0x82008, t:lookup(0x2008, "w"))
    t:flush()
    assert.is_nil(t:lookup(0x2008, "w"))
  end)

  it("hits for the accesses that were allowed", function()
    t:fill { gva = 0x7123, gpa = 0x80000fff, allow = "rx" }
    assert.equal(0x80000010, t:lookup(0x7010, "r"))
    assert.equal(0x80000010, t:lookup(0x7010, "x"))
    assert.is_nil(t:lookup(0x7010, "w"))
  end)

  it("misses on what is not aligned", function()
    t:fill { gva = 0x1000, gpa = 0x81000 }
    for _, size in ipairs { 1, 2, 4, 8 } do
      for offset = 0, 15 do
        assert.equal(offset % size == 0 and 0x81000 + offset or nil, t:lookup(0x1000 + offset, "r", size))
      end
    end
  end)

  it("is empty at first, for every index and every kind", function()
    for _, entries in ipairs { 16, 64, 65536 } do
      local empty = tlb.new { entries = entries }
      for _, access in ipairs { "r", "w", "x" } do
        assert.equal(0, empty:sweep { at = 0, count = 2 * entries, access = access })
        assert.equal(0, empty:sweep { at = -0x1000, stride = -4096, count = 2 * entries, access = access })
      end
      empty:close()
    end
  end)

  it("holds one page an index", function()
    t:fill { gva = 0x1000, gpa = 0x81000 }
    t:fill { gva = 0x1000 + 64 * 4096, gpa = 0x82000 }
    assert.is_nil(t:lookup(0x1000, "r"))
    assert.equal(0x82000, t:lookup(0x1000 + 64 * 4096, "r"))
  end)

  it("keeps 64-bit addresses apart", function()
    t:fill { gva = 0xffffffc000001000ULL, gpa = 0x81000 }
    assert.equal(0x81abc, t:lookup(0xffffffc000001abcULL, "r"))
    assert.equal(0x81abc, t:lookup(-0x3ffffff000 + 0xabc, "r"))
    assert.is_nil(t:lookup(0x7fffffc000001abcULL, "r"))
  end)

  it("forgets all of a larger leaf by any address in it", function()
    t:fill { gva = 0x200000, gpa = 0x80200000, page = "2M" }
    t:fill { gva = 0x3ff000, gpa = 0x803ff000, page = "2M" }
    t:fill { gva = 0x401000, gpa = 0x1000 }
    t:fill { gva = 0xffffffff80210000ULL, gpa = 0x2000 }
    t:flush_page(0x234567)
    assert.is_nil(t:lookup(0x200000, "r"))
    assert.is_nil(t:lookup(0x3ff000, "r"))
    assert.equal(0x1000, t:lookup(0x401000, "r"))
    assert.equal(0x2000, t:lookup(0xffffffff80210000ULL, "r"))
  end)

  it("counts", function()
    t:fill { gva = 0x1000, gpa = 0x81000, allow = "rw" }
    t:lookup(0x1000, "r")
    t:lookup(0x2000, "r")
    t:lookup(0x2000, "x")
    t:flush_page(0)
    t:flush()
    t:flush()
    assert.equal(0, t:sweep { at = 0, count = 10, access = "w" })
    assert.same({ misses = { r = 1, w = 10, x = 1 }, fills = 2, flushes = 2, page_flushes = 1 }, t:counts())
  end)

  it("sweeps in C what lookup answers one by one", function()
    for page = 0, 63, 3 do t:fill { gva = page * 4096, gpa = page * 4096 } end
    assert.equal(22, t:sweep { at = 0, count = 64 })
    assert.equal(22 * 64, t:sweep { at = 0, count = 4096, stride = 64 })
  end)

  it("agrees with a table", function()
    local twin = new_twin(64)
    local tops = { 0ULL, 64ULL * 4096, 2ULL^32, 2ULL^38 - 2ULL^20, 0ULL - 2ULL^38, 0ULL - 2ULL^20, 2ULL^63, 2ULL^63 - 2ULL^20 }
    local function address() return shadow.pick(tops) + math.random(0, 130) * 4096 + math.random(0, 4095) end
    shadow.play(30000, function()
      local op = math.random(40)
      local gva = address()
      if op == 1 then
        if math.random(20) == 1 then
          t:flush()
          twin.flush()
        end
      elseif op <= 4 then
        t:flush_page(gva)
        twin.flush_page(gva)
      elseif op <= 16 then
        local gpa, allow = shadow.u64(), shadow.pick { "r", "w", "x", "rw", "rx", "rwx" }
        local page = math.random(50) == 1 and 2^math.random(13, 39) or 4096
        t:fill { gva = gva, gpa = gpa, allow = allow, page = page }
        twin.fill(gva, gpa, allow, page)
      else
        local access, size = shadow.pick { "r", "w", "x" }, 2^math.random(0, 3)
        local real = t:lookup(gva, access, size)
        shadow.same(real and bits.u64(real), twin.lookup(gva, access, size), ("lookup %s %s %d"):format(bits.hex(gva), access, size))
      end
    end)
  end)

  it("refuses what is wrong at the caller's line", function()
    refuses(function() tlb.new { entries = 63 } end, "`tlb%.entries` must be a power of two, not 63")
    refuses(function() tlb.new { entries = 8 } end, "`tlb%.entries` must be 16 to 65536, not 8")
    refuses(function() tlb.new { entrys = 64 } end, "unknown key `tlb%.entrys`, did you mean `entries`%?")
    refuses(function() t:fill { gva = 0 } end, "missing key `fill%.gpa` .*")
    refuses(function() t:fill { gva = "x", gpa = 0 } end, "`fill%.gva` must be an address like 0x80000000, not \"x\"")
    refuses(function() t:fill { gva = 0, gpa = 0, allow = "rq" } end, "`fill%.allow` must be letters of rwx, not \"rq\"")
    refuses(function() t:lookup(0, "q") end, "`access` must be \"r\", \"w\" or \"x\", not \"q\"")
    refuses(function() t:lookup(0, "r", 3) end, "`size` must be 1, 2, 4 or 8, not 3")
    refuses(function() t:lookup(1.5, "r") end, "`gva` must be an address .*, not 1%.5")
  end)

  it("is closed once and says so afterwards", function()
    local other = tlb.new()
    other:close()
    other:close()
    refuses(function() other:lookup(0, "r") end, "this tlb is closed")
  end)
end)
