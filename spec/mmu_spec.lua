-- mmu: page-table walks and PMP against reference models written from the privileged manual, over random tables and every
-- combination of page-table-entry bits.
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local bits    = require "umbra.bits"
local mem     = require "umbra.mem"
local mmu     = require "umbra.mmu"
local example = require "spec.support.example"
local refuses = require "spec.support.refuses"
local shadow  = require "spec.support.shadow"

local RAM  = 0x80000000ULL
local NAPOT_MODE, NA4_MODE, TOR_MODE, OFF_MODE = 3, 2, 1, 0
local LEVELS = { bare = 0, sv39 = 3, sv48 = 4, sv57 = 5 }
local P = { U = 0, S = 1, M = 3 }

-- The reference, 3.7.1: physical memory protection, byte by byte.

-- True if entry `i` (0 to 15) of `pmp` matches the byte at `gpa`.
local function pmp_matches(pmp, i, gpa)
  local mode, word, addr = math.floor(pmp.cfg[i] / 8) % 4, gpa / 4, pmp.addr[i]
  if mode == TOR_MODE then
    local below = i > 0 and pmp.addr[i - 1] or 0ULL
    return below <= word and word < addr
  elseif mode == NA4_MODE then
    return word == addr
  elseif mode == NAPOT_MODE then
    local span = 2ULL                             -- words: yyyy0 is 8 bytes, yyy01 16, ...
    local ones = addr
    while ones % 2ULL == 1 do
      span, ones = span * 2, ones / 2
    end
    return word / span == addr / span
  end
  return false
end

local BIT_OF = { r = 1, w = 2, x = 4 }

local function pmp_allows(pmp, gpa, size, access, priv)
  if not pmp then return true end
  for i = 0, 15 do
    local matched = 0
    for byte = 0, size - 1 do
      if pmp_matches(pmp, i, gpa + byte) then matched = matched + 1 end
    end
    if matched > 0 then
      if matched < size then return false end
      if priv == P.M and pmp.cfg[i] < 128 then return true end
      return bit.band(pmp.cfg[i], BIT_OF[access]) ~= 0
    end
  end
  return priv == P.M
end

-- The reference, 10.3.2: virtual address translation.

local function field(value, low, count) return tonumber(value / 2ULL^low % 2ULL^count) end

-- Translates as the manual's numbered steps say. `o`: options as mmu.new takes them, `words[gpa]`: the page-table entries that exist
-- (uint64_t by number). Returns a gpa, bytes and dirty, or nil and the fault; sets A and D in `words`.
local function reference(o, words, pmp, gva, access, size)
  local levels, priv = LEVELS[o.mode], P[o.priv:upper()]
  if levels == 0 then
    if not pmp_allows(pmp, gva, size, access, priv) then return nil, "access fault" end
    return gva, 4096, true
  end
  local top = 12 + 9 * levels - 1                 -- bits 63 to top must be equal
  local high = gva / 2ULL^top
  if high ~= 0 and high ~= 2ULL^(64 - top) - 1 then return nil, "page fault" end
  local a, i = bits.u64(o.root), levels - 1       -- step 1
  while true do
    local at = a + field(gva, 12 + 9 * i, 9) * 8  -- step 2
    local pte = at < 2ULL^53 and words[tonumber(at)]
    if not pte or not pmp_allows(pmp, at, 8, "r", P.S) then return nil, "access fault" end
    local V, R, W, X, U = field(pte, 0, 1), field(pte, 1, 1), field(pte, 2, 1), field(pte, 3, 1), field(pte, 4, 1)
    local A, D, reserved, pbmt, N = field(pte, 6, 1), field(pte, 7, 1), field(pte, 54, 7), field(pte, 61, 2), field(pte, 63, 1)
    local ppn = pte / 2ULL^10 % 2ULL^44
    if V == 0 or (R == 0 and W == 1) or reserved ~= 0 then return nil, "page fault" end          -- step 3
    if not o.pbmt and pbmt ~= 0 or pbmt == 3 then return nil, "page fault" end
    if not o.napot and N ~= 0 then return nil, "page fault" end
    if R == 1 or X == 1 then                      -- step 5: a leaf
      if i > 0 and ppn % 512ULL^i ~= 0 then return nil, "page fault" end
      if N == 1 and (i > 0 or ppn % 16 ~= 8) then return nil, "page fault" end
      local allowed                               -- step 6
      if access == "r" then allowed = R == 1 or (o.mxr and X == 1) end
      if access == "w" then allowed = W == 1 end
      if access == "x" then allowed = X == 1 end
      if priv == P.U and U == 0 then allowed = false end
      if priv == P.S and U == 1 and (access == "x" or not o.sum) then allowed = false end
      if not allowed then return nil, "page fault" end
      if A == 0 or (access == "w" and D == 0) then                                                -- step 7
        if not o.update_ad then return nil, "page fault" end
        if not pmp_allows(pmp, at, 8, "w", P.S) then return nil, "access fault" end
        if A == 0 then pte = pte + 64 end
        if access == "w" and D == 0 then
          pte = pte + 128
          D = 1
        end
        words[tonumber(at)] = pte
      end
      local page = 4096ULL * 512ULL^i             -- step 8
      if N == 1 then page = page * 16 end
      local base = ppn * 4096
      local gpa = base - base % page + gva % page
      if not pmp_allows(pmp, gpa, size, access, priv) then return nil, "access fault" end
      return gpa, tonumber(page), D == 1
    end
    if U + A + D > 0 or pbmt ~= 0 or N ~= 0 then return nil, "page fault" end                     -- step 4: a pointer
    i = i - 1
    if i < 0 then return nil, "page fault" end
    a = ppn * 4096
  end
end

-- Random worlds.

local PAGES = 12

local function random_options()
  return {
    mode = shadow.pick { "sv39", "sv39", "sv48", "sv57", "bare" }, priv = shadow.pick { "u", "s" },
    root = tonumber(RAM) + 4096 * math.random(0, 3),
    sum = shadow.flip(), mxr = shadow.flip(), update_ad = shadow.flip(), napot = shadow.flip(), pbmt = shadow.flip(),
  }
end

-- An entry that is likely to lead on: mostly a pointer to a table of ours, or a leaf that is nearly right.
local function random_pte()
  local roll = math.random(100)
  if roll == 1 then return shadow.u64() end
  if roll == 2 then return 0ULL end
  local pointer = math.random(100) <= 55
  local pte
  if pointer then
    pte = (RAM / 4096 + math.random(0, PAGES - 1)) * 1024 + 1
    if math.random(40) == 1 then pte = pte + shadow.pick { 16, 64, 128, 4, 32, 256 } end
    if math.random(60) == 1 then pte = shadow.u64() / 2ULL^10 * 2ULL^10 % 2ULL^54 + 1 end      -- to nowhere
  else
    local aligned = 512ULL^math.random(0, 4) * shadow.pick { 1ULL, 8ULL, 16ULL }
    local ppn = shadow.u64() % 2ULL^44
    pte = (ppn - ppn % aligned) * 1024 + bit.bor(math.random(0, 255), 1) + math.random(0, 3) * 256
    if math.random(3) > 1 then pte = bit.bor(pte, 0xc0ULL) end
  end
  if math.random(8) == 1 then pte = bit.bor(pte, 2ULL^63) end
  if math.random(8) == 1 then pte = bit.bor(pte, math.random(1, 3) * 2ULL^61) end
  if math.random(25) == 1 then pte = bit.bor(pte, 2ULL^math.random(54, 60)) end
  if bit.band(pte, 2ULL^63) ~= 0 and math.random(4) > 1 then        -- Svnapot's one size
    pte = bit.bor(bit.band(pte, bit.bnot(15ULL * 1024)), 8ULL * 1024)
  end
  return pte
end

-- Fills the tables; `words` mirrors them.
local function random_tables(m, words)
  local ffi = require "ffi"
  local host = ffi.cast("uint64_t *", m:view(RAM, PAGES * 4096))
  for i = 0, PAGES * 512 - 1 do
    local pte = random_pte()
    host[i] = pte
    words[tonumber(RAM) + 8 * i] = pte
  end
  return host
end

local function random_gva(levels)
  local gva = shadow.u64()
  if math.random(30) == 1 or levels == 0 then return gva end
  local width = 12 + 9 * levels
  gva = gva % 2ULL^width
  return gva >= 2ULL^(width - 1) and gva - 2ULL^width or gva
end

local function random_pmp()
  local pmp = { cfg = {}, addr = {} }
  for i = 0, 15 do
    local mode = shadow.pick { OFF_MODE, OFF_MODE, TOR_MODE, NA4_MODE, NAPOT_MODE }
    pmp.cfg[i] = math.random(0, 7) + mode * 8 + (math.random(4) == 1 and 128 or 0)
    local addr = RAM / 4 + math.random(0, PAGES * 1024)
    local roll = math.random(4)
    if roll == 1 then addr = addr - addr % 1024 end
    if mode == NAPOT_MODE then
      local ones = math.random(0, 18)
      addr = addr - addr % 2ULL^(ones + 1) + 2ULL^ones - 1
      if math.random(12) == 1 then addr = 2ULL^54 - 1 end
    end
    if roll == 2 and mode == TOR_MODE then addr = shadow.u64() % 2ULL^54 end
    pmp.addr[i] = addr
  end
  if shadow.flip() then pmp.cfg[15], pmp.addr[15] = 0x1f, 2ULL^54 - 1 end       -- all of memory, as firmware leaves it
  return pmp
end

local function set_pmp(w, pmp)
  for i = 0, 15 do w:set_pmp(i, pmp.cfg[i], pmp.addr[i]) end
end

local function show(o, gva, access, size)
  return ("%s %s sum=%s mxr=%s update_ad=%s napot=%s pbmt=%s: %s %s %d"):format(o.mode, o.priv, tostring(o.sum), tostring(o.mxr),
    tostring(o.update_ad), tostring(o.napot), tostring(o.pbmt), access, bits.hex(gva), size)
end

local NO_TOPS = { 0ULL }

describe("mmu", function()
  it("does what its page of docs begins with", function() example "docs/mmu.md" end)

  local m
  before_each(function()
    m = mem.new()
    m:add_ram { at = tonumber(RAM), size = PAGES * 4096 }
  end)
  after_each(function() m:close() end)

  -- Compares one translation; returns what came of it.
  local function compare(w, o, words, pmp, gva, access, size)
    local what = show(o, gva, access, size)
    local gpa, page, dirty = w:translate(gva, access, size)
    local want_gpa, want_page, want_dirty = reference(o, words, pmp, gva, access, size)
    shadow.same(gpa and bits.u64(gpa), want_gpa, what)
    shadow.same(page, want_page, what)
    shadow.same(dirty, want_dirty, what)
    return want_gpa and "ok" or want_page
  end

  local function compare_tables(host, words)
    for i = 0, PAGES * 512 - 1 do shadow.same(host[i], words[tonumber(RAM) + 8 * i], "entry " .. i) end
  end

  it("translates pages and superpages", function()
    m:store(RAM + 0x0000, 8, mmu.pte(RAM + 0x1000, "v"))
    m:store(RAM + 0x0008, 8, mmu.pte(0x40000000, "vrxa"))
    m:store(RAM + 0x1000, 8, mmu.pte(RAM + 0x2000, "v"))
    m:store(RAM + 0x2008, 8, mmu.pte(0x12345000, "vrwad"))
    local w = mmu.new { mem = m, mode = "sv39", root = tonumber(RAM), priv = "s" }
    assert.same({ 0x12345678, 4096, true }, { w:translate(0x1678, "w", 8) })
    assert.same({ 0x40000000 + 0x2345678, 2^30, false }, { w:translate(2^30 + 0x2345678, "x") })
    assert.same({ nil, "page fault" }, { w:translate(2^30, "w") })
    assert.same({ nil, "page fault" }, { w:translate(2^38, "r") })
    assert.same({ nil, "page fault" }, { w:translate(0x2000, "r") })
    assert.equal(4, w:walks())                    -- 2^38 is not canonical: no walk
    assert.equal(3 + 1 + 1 + 3, w:steps())
    w:close()
  end)

  it("agrees with the manual's algorithm on random tables", function()
    local seen = {}
    shadow.play(220, function()
      local words, o = {}, random_options()
      local host = random_tables(m, words)
      local pmp = shadow.flip() and random_pmp() or nil
      local w = mmu.new { mem = m, mode = o.mode, priv = o.priv, root = o.root, sum = o.sum, mxr = o.mxr,
        update_ad = o.update_ad, napot = o.napot, pbmt = o.pbmt }
      if pmp then set_pmp(w, pmp) end
      for _ = 1, 120 do
        local size = 2^math.random(0, 3)
        local gva = random_gva(LEVELS[o.mode])
        gva = gva - gva % (0ULL + size)
        local result = compare(w, o, words, pmp, gva, shadow.pick { "r", "w", "x" }, size)
        seen[result] = (seen[result] or 0) + 1
      end
      compare_tables(host, words)
      w:close()
    end)
    for _, result in ipairs { "ok", "page fault", "access fault" } do
      assert.is_true((seen[result] or 0) > 1000, ("only %d translations end in %s"):format(seen[result] or 0, result))
    end
  end)

  it("agrees on every combination of an entry's bits at every level", function()
    local words, root = {}, tonumber(RAM)
    local host = require("ffi").cast("uint64_t *", m:view(RAM, PAGES * 4096))
    local function put(gpa, pte)
      host[(gpa - root) / 8] = pte
      words[gpa] = pte
    end
    for i = 0, PAGES * 512 - 1 do put(root + 8 * i, 0ULL) end
    local o = { mode = "sv39", root = root }
    local tops = {}                               -- N, PBMT, a reserved bit
    for n = 0, 1 do
      for pbmt = 0, 3 do
        for reserved = 0, 1 do tops[#tops + 1] = n * 2ULL^63 + pbmt * 2ULL^61 + reserved * 2ULL^54 end
      end
    end
    local compared = 0
    for setting = 0, 127 do
      local function on(n) return bit.band(setting, n) ~= 0 end
      o.priv, o.sum, o.mxr, o.update_ad = on(1) and "u" or "s", on(2), on(4), on(8)
      o.napot, o.pbmt = on(16), on(32)
      local tops_now = on(64) and tops or NO_TOPS
      local w = mmu.new { mem = m, mode = "sv39", priv = o.priv, root = root, sum = o.sum, mxr = o.mxr, update_ad = o.update_ad,
        napot = o.napot, pbmt = o.pbmt }
      for level = 0, 2 do
        -- root -> table at +1000 -> table at +2000; the entry under test is the first one of its table
        put(root, mmu.pte(RAM + 0x1000, "v"))
        put(root + 0x1000, mmu.pte(RAM + 0x2000, "v"))
        local at = root + 0x1000 * (2 - level)
        for _, top in ipairs(tops_now) do
          -- with `top` bits only some of the low ones: they were all seen without
          for low = 0, 255, tops_now == NO_TOPS and 1 or 17 do
            -- a superpage of any level, 64 KiB, a table (of zeros) of ours
            for _, base in ipairs { 0x40000000ULL, 0x40008000ULL, RAM + 0x3000 } do
              local access = ("rwx"):sub(compared % 3 + 1, compared % 3 + 1)
              put(at, top + base / 4096 * 1024 + low)
              compare(w, o, words, nil, 0x2a8ULL, access, 8)
              shadow.same(host[(at - root) / 8], words[at], show(o, 0x2a8ULL, access, 8))
              compared = compared + 1
            end
          end
        end
      end
      w:close()
    end
    assert.is_true(compared > 100000)
  end)

  it("checks PMP as the manual says, byte by byte", function()
    local allowed, denied = 0, 0
    shadow.play(300, function()
      local pmp = random_pmp()
      local w = mmu.new { mem = m, mode = "bare" }
      set_pmp(w, pmp)
      for _ = 1, 60 do
        local i = math.random(0, 15)
        local gpa = RAM + math.random(0, PAGES * 4096)
        if shadow.flip() then gpa = pmp.addr[i] * 4 + math.random(-9, 9) end
        if math.random(20) == 1 then gpa = shadow.u64() % 2ULL^56 end
        local size = shadow.pick { 1, 2, 4, 8, 8, 16, 64 }
        if gpa > 0ULL - 64 then gpa = 0ULL end
        local access, priv = shadow.pick { "r", "w", "x" }, shadow.pick { "u", "s", "m" }
        local want = pmp_allows(pmp, gpa, size, access, P[priv:upper()])
        shadow.same(w:pmp_allows(gpa, size, access, priv), want, ("%s %d %s %s"):format(bits.hex(gpa), size, access, priv))
        if want then allowed = allowed + 1 else denied = denied + 1 end
      end
      w:close()
    end)
    assert.is_true(allowed > 4000 and denied > 4000)
  end)

  it("knows whether one answer holds for a page", function()
    local uniform, mixed = 0, 0
    shadow.play(60, function()
      local pmp = random_pmp()
      for i = 0, math.random(0, 15) do pmp.cfg[i] = 0 end           -- many entries leave no page whole
      local w = mmu.new { mem = m, mode = "bare" }
      set_pmp(w, pmp)
      for _ = 1, 6 do
        local page = RAM + math.random(0, PAGES - 1) * 4096
        local first, same                         -- which entry decides each word
        for word = 0, 4095, 4 do
          local decides = "none"
          for i = 0, 15 do
            if pmp_matches(pmp, i, page + word) then
              decides = i
              break
            end
          end
          if word == 0 then first, same = decides, true elseif decides ~= first then same = false end
        end
        shadow.same(w:pmp_uniform(page + math.random(0, 4095)), same, bits.hex(page))
        if same then uniform = uniform + 1 else mixed = mixed + 1 end
      end
      w:close()
    end)
    assert.is_true(uniform > 20 and mixed > 20, ("%d uniform, %d mixed"):format(uniform, mixed))
  end)

  it("denies to u and s what no entry matches, once there is PMP", function()
    local w = mmu.new { mem = m, mode = "bare", priv = "s" }
    assert.equal(RAM, bits.u64(w:translate(RAM, "r")))
    w:set_pmp(3, 0, 0)
    assert.same({ nil, "access fault" }, { w:translate(RAM, "r") })
    assert.is_true(w:pmp_allows(RAM, 8, "w", "m"))
    w:set_pmp(3, 0x1f, 2ULL^54 - 1)
    assert.equal(RAM + 7, bits.u64(w:translate(RAM + 7, "x")))
    w:close()
  end)

  it("blames an access for tables that it may not read or mark", function()
    m:store(RAM, 8, mmu.pte(0x40000000, "vrw"))
    local w = mmu.new { mem = m, root = tonumber(RAM), update_ad = true }
    w:set_pmp(0, 0x19, RAM / 4 + 511)             -- the table: read only
    w:set_pmp(1, 0x1f, 2ULL^54 - 1)
    assert.same({ nil, "access fault" }, { w:translate(0, "r") })
    assert.equal(mmu.pte(0x40000000, "vrw"), bits.u64(m:load(RAM, 8)))
    w:set_pmp(0, 0x1b, RAM / 4 + 511)
    assert.equal(0x40000123, (w:translate(0x123, "r")))
    assert.equal(mmu.pte(0x40000000, "vrwa"), bits.u64(m:load(RAM, 8)))
    assert.is_true((select(3, w:translate(0x123, "w"))))
    assert.equal(mmu.pte(0x40000000, "vrwad"), bits.u64(m:load(RAM, 8)))
    w:close()
  end)

  it("sweeps in C what translate does one by one", function()
    m:store(RAM, 8, mmu.pte(RAM + 0x1000, "v"))
    m:store(RAM + 0x1000, 8, mmu.pte(RAM + 0x2000, "v"))
    for page = 0, 511, 2 do m:store(RAM + 0x2000 + 8 * page, 8, mmu.pte(RAM, "vra")) end
    local w = mmu.new { mem = m, root = tonumber(RAM) }
    assert.equal(256, w:sweep { at = 0, count = 512 })
    assert.equal(512, w:walks())
    assert.equal(3 * 512, w:steps())
    w:close()
  end)

  it("refuses what is wrong at the caller's line", function()
    local w = mmu.new { mem = m }
    refuses(function() mmu.new {} end, "missing key `mmu%.mem` .*")
    refuses(function() mmu.new { mem = {} } end, "`mmu%.mem` must be an address space from umbra%.mem")
    refuses(function() mmu.new { mem = m, mode = "sv32" } end, "`mmu%.mode` must be one of \"bare\", .*, not \"sv32\"")
    refuses(function() mmu.new { mem = m, root = 100 } end, "`mmu%.root` must be a multiple of 0x1000, not 100")
    refuses(function() mmu.new { mem = m, rot = 0 } end, "unknown key `mmu%.rot`, did you mean `root`%?")
    refuses(function() mmu.new { mem = m, priv = "m" } end, "privilege 3 cannot be translated for: .*")
    refuses(function() w:translate(0, "q") end, "`access` must be \"r\", \"w\" or \"x\", not \"q\"")
    refuses(function() w:translate(4095, "r", 2) end, "`size` must be a whole number from 1 to 1, not 2")
    refuses(function() w:translate("top", "r") end, "`gva` must be an address .*, not \"top\"")
    refuses(function() w:set_pmp(16, 0, 0) end, "`index` must be a whole number from 0 to 15, not 16")
    refuses(function() w:pmp_allows(0, 1, "r", "h") end, "`priv` must be \"u\", \"s\" or \"m\", not \"h\"")
    refuses(function() mmu.pte(0, "vz") end, "`flags` must be letters of vrwxugad, not \"z\"")
    w:close()
  end)

  it("is closed once, and does not outlive its memory", function()
    local other = mem.new()
    local w = mmu.new { mem = other }
    other:close()
    refuses(function() w:translate(0, "r") end, "this mem is closed")
    w:close()
    w:close()
    refuses(function() w:walks() end, "this mmu is closed")
  end)
end)
