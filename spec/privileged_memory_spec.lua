-- privileged: protection, page tables, code and accesses, by programs that run here and under QEMU.
-- SPDX-License-Identifier: MIT
local guest      = require "spec.support.guest"
local privileged = require "spec.support.privileged"

local both, notes, NONE, PAGING = privileged.both, privileged.notes, privileged.NONE, privileged.PAGING

describe("physical memory protection", function()
  it("holds machine mode to a locked entry, whose registers stay", function()
    both [[
        .equ    HERE, SPACE + 0x1000
main:   li      s0, SPACE
        li      t0, HERE >> 2
        csrw    pmpaddr2, t0
        li      t0, (HERE + 0x1000) >> 2
        csrw    pmpaddr3, t0
        li      t0, SPACE >> 2
        csrw    pmpaddr5, t0
        li      t0, 0x91 << 40 | 0x89 << 24     # 3: TOR, locked, read; 5: NA4, locked, read
        csrw    pmpcfg0, t0
        note_csr pmpcfg0
        li      t0, -1
        csrw    pmpcfg0, zero
        note_csr pmpcfg0
        csrw    pmpaddr2, zero                  # the base of a locked TOR
        note_csr pmpaddr2
        csrw    pmpaddr3, zero
        note_csr pmpaddr3
        csrw    pmpaddr5, zero
        note_csr pmpaddr5
        csrw    pmpaddr4, zero
        note_csr pmpaddr4
        li      s1, HERE
        try     ld a0, 0(s1)
        try     sd a0, 0(s1)
        try     jr s1
        try     ld a0, -8(s1)
        try     sd a0, -8(s1)
        try     lw a0, 0(s0)
        try     sw a0, 0(s0)
        try     ld a0, 0(s0)                    # half of it matches
        try     ld a0, 8(s0)
        li      s2, 0x1000
        add     s2, s1, s2
        try     sd a0, 0(s2)
        try     sd a0, -8(s2)
        try     lw a0, -4(s2)
        try     sb a0, -1(s2)
        j       finish
]]
  end)

  it("forbids fetches within a page too, for each half of an instruction", function()
    local ours = guest.run(guest.build [[
        .macro  code at
        li      t0, \at
        li      t1, 0x0001000100000073          # ecall; c.nop; c.nop
        sd      t1, 0(t0)
        .endm
main:   code    SPACE
        code    SPACE + 8
        code    SPACE + 16
        fence.i
        li      t0, (SPACE + 8) >> 2
        csrw    pmpaddr0, t0
        li      t0, 0x0c                        # TOR up to there: execute only
        csrw    pmpcfg0, t0
        in_mode_at S, SPACE
        in_mode_at U, SPACE
        in_mode_at S, SPACE + 8
        in_mode_at S, SPACE + 16
        in_mode_at S, SPACE + 4                 # c.nop; c.nop; forbidden
        li      t0, SPACE + 6
        li      t1, 0x00000013                  # a nop whose second half is forbidden
        sh      t1, 0(t0)
        fence.i
        in_mode_at S, SPACE + 6
        csrw    pmpcfg0, zero
        in_mode_at S, SPACE
        open_memory
        in_mode_at S, SPACE + 16                # allowed now, and no longer known as forbidden
        li      t0, (SPACE + 4096) >> 2
        csrw    pmpaddr0, t0
        li      t0, (SPACE + 4100) >> 2
        csrw    pmpaddr1, t0
        li      t0, 0x0f | 0x09 << 8
        csrw    pmpcfg0, t0                     # an instruction across two pages, one forbidden
        li      s0, SPACE + 4094
        li      t0, 0x00000013
        sw      t0, 0(s0)
        fence.i
        in_mode_at S, SPACE + 4094
        j       finish
]])
    local seen = {}
    for i = 1, #ours.notes, 4 do
      for k = 0, 2 do seen[#seen + 1] = tonumber(ours.notes[i + k], 16) end
    end
    local at = 0x80400000
    assert.same({ 9, 0, at, 8, 0, at, 1, at + 8, at + 8, 1, at + 16, at + 16, 1, at + 8, at + 8, 1, at + 8, at + 6, 1, at, at,
      9, 0, at + 16, 1, at + 4096, at + 4094 }, seen)
  end)
end)

describe("page tables", function()
  it("fault without A, and without D on a store, unless menvcfg.ADUE lets hardware set them", function()
    local text = PAGING .. [[
main:   paging
        leaf    0, 0, 0x0f                      # no A
        leaf    1, 1, 0x4f                      # no D
        leaf    2, 2, 0x8f                      # D alone
        through_tables
        li      s0, PAGES
        li      s1, PAGES + 0x1000
        li      s2, PAGES + 0x2000
        try     lw a0, 0(s0)
        through_tables
        try     lw a0, 8(s1)
        try     sw a0, 8(s1)
        through_tables
        try     lw a0, 0(s2)
        directly
        li      t0, LEAVES
        ld      t1, 0(t0)
        andi    t1, t1, 0xff
        note    t1
        ld      t1, 8(t0)
        andi    t1, t1, 0xff
        note    t1
        li      t1, 1 << 61
        csrs    menvcfg, t1
        csrr    t1, menvcfg
        srli    t1, t1, 61
        note    t1
        through_tables
        try     lw a0, 0(s0)
        directly
        li      t0, LEAVES
        ld      t1, 0(t0)
        andi    t1, t1, 0xff
        note    t1
        through_tables
        try     sw a0, 0(s0)
        try     sw a0, 8(s1)
        try     sw a0, 8(s2)
        directly
        li      t0, LEAVES
        ld      t1, 0(t0)
        andi    t1, t1, 0xff
        note    t1
        ld      t1, 8(t0)
        andi    t1, t1, 0xff
        note    t1
        ld      t1, 16(t0)
        andi    t1, t1, 0xff
        note    t1
        j       finish
]]
    local ours = guest.run(guest.build(text))
    local seen = {}
    for _, note in ipairs(ours.notes) do seen[#seen + 1] = tonumber(note, 16) end
    -- Of a trap: cause, value, place, status. Places are not repeated here.
    local i = 0
    local function trap(cause, value)
      assert.same({ cause, value }, { seen[i + 1], seen[i + 2] })
      i = i + 4
    end
    local function is(...)
      for _, value in ipairs { ... } do
        i = i + 1
        assert.equal(value, seen[i], "note " .. i)
      end
    end
    trap(13, 0x10000000)
    is(NONE)
    trap(15, 0x10001008)
    trap(13, 0x10002000)
    is(0x0f, 0x4f, 1, NONE, 0x4f, NONE, NONE, NONE, 0xcf, 0xcf, 0xcf)
    assert.equal(#seen, i)
  end)

  it("fault on every reserved bit and encoding", function()
    local lines = { PAGING, "main: paging\n" }
    local bits = { 54, 55, 56, 57, 58, 59, 60, 61, 62, 63 }
    for _, n in ipairs(bits) do
      lines[#lines + 1] = ("        leaf 0, 0, 0xcf | 1 << %d\n        sfence.vma\n        through_tables\n"):format(n)
      lines[#lines + 1] = "        li s0, PAGES\n        try lw a0, 0(s0)\n        directly\n"
    end
    lines[#lines + 1] = [[
        li      t1, 1 << 62
        csrs    menvcfg, t1
        .macro  look flags
        leaf    0, 0, \flags
        sfence.vma
        through_tables
        li      s0, PAGES
        try     lw a0, 0(s0)
        directly
        .endm
        look    0xcf | 1 << 61
        look    0xcf | 2 << 61
        look    0xcf | 3 << 61
        look    0xc5
        look    0xcd
        look    0xce
        li      t0, TABLES + 0x1000
        li      t1, (LEAVES / 4096 << 10) | 1 | 1 << 61
        sd      t1, 0x400(t0)
        look    0xcf
        j       finish
]]
    local ours = guest.run(guest.build(table.concat(lines)))
    local i, causes = 1, {}
    while ours.notes[i] do
      local cause = tonumber(ours.notes[i], 16)
      causes[#causes + 1] = cause
      i = i + (cause == NONE and 1 or 4)
    end
    local F = 13
    assert.same({ F, F, F, F, F, F, F, F, F, F, NONE, NONE, F, F, F, F, F }, causes)
  end)

  it("are walked with the checks that the PMP makes of supervisor mode", function()
    local ours = guest.run(guest.build(PAGING .. [[
main:   paging
        leaf    0, 0, 0xcf
        li      t0, (LEAVES >> 2) | 0x1ff
        csrw    pmpaddr0, t0
        li      t0, (1 << 53) - 1
        csrw    pmpaddr1, t0
        li      t0, 0x1f18
        csrw    pmpcfg0, t0
        sfence.vma
        through_tables
        li      s0, PAGES + 0x123
        try     lb a0, 0(s0)
        through_tables
        try     sb a0, 0(s0)
        directly
        j       finish
]]))
    assert.same({ "0000000000000005", "0000000010000123" }, { ours.notes[1], ours.notes[2] })
    assert.same({ "0000000000000007", "0000000010000123" }, { ours.notes[5], ours.notes[6] })
  end)

  it("of more levels than the machine has cannot be chosen", function()
    notes({ "8000000000000001", "8000000000000001", 0 }, [[
main:   li      t0, 8 << 60 | 1
        csrw    satp, t0
        li      t0, 9 << 60 | 2
        csrw    satp, t0
        note_csr satp
        li      t0, 10 << 60 | 2
        csrw    satp, t0
        note_csr satp
        csrw    satp, zero
        note_csr satp
        j       finish
]], { mmu = "sv39" })
  end)

  it("are seen anew after sfence.vma and sinval.vma, by address and by ASID, in small and large pages", function()
    both(PAGING .. [[
        .macro  see
        through_tables
        li      s0, PAGES + 0x10
        ld      a0, 0(s0)
        directly
        note    a0
        .endm
main:   li      t0, SPACE + 0x10
        li      t1, 0x1111
        sd      t1, 0(t0)
        li      t2, 0x1000
        add     t0, t0, t2
        li      t1, 0x2222
        sd      t1, 0(t0)
        li      t2, 0x200000 - 0x1000
        add     t0, t0, t2
        li      t1, 0x3333
        sd      t1, 0(t0)
        paging
        leaf    0, 0, 0xcf
        see
        leaf    0, 1, 0xcf
        li      t0, PAGES + 0xff8
        sfence.vma t0, zero
        see
        leaf    0, 0, 0xcf
        sfence.vma zero, zero
        see
        leaf    0, 1, 0xcf
        li      t0, PAGES
        sfence.w.inval
        sinval.vma t0, zero
        sfence.inval.ir
        see
        leaf    0, 0, 0xcf
        li      t0, PAGES
        sfence.vma t0, zero
        see
        li      t0, TABLES + 0x1000             # a 2 MiB page instead
        li      t1, ((SPACE + 0x200000) / 4096 << 10) | 0xcf
        sd      t1, 0x400(t0)
        li      t0, PAGES + 0x1ff000
        sfence.vma zero, zero
        see
        li      t0, TABLES + 0x1000
        li      t1, (SPACE / 4096 << 10) | 0xcf
        sd      t1, 0x400(t0)
        li      t0, PAGES + 0x1ff000            # another address of the same leaf
        sfence.vma t0, zero
        see
        li      t0, 8 << 60 | 7 << 44 | TABLES / 4096
        csrw    satp, t0
        sfence.vma
        see
        li      t0, TABLES + 0x1000
        li      t1, ((SPACE + 0x200000) / 4096 << 10) | 0xcf
        sd      t1, 0x400(t0)
        li      t0, 7
        sfence.vma zero, t0
        see
        j       finish
]])
  end)

  it("apply to both parts of what crosses a page, and nothing is half stored", function()
    both(PAGING .. [[
main:   paging
        leaf    0, 0, 0xcf
        leaf    1, 3, 0xcf
        leaf    2, 1, 0xc3                      # read only
        through_tables
        li      s0, PAGES + 0x1000
        li      a1, 0x1122334455667788
        try     sd a1, -3(s0)
        try     ld a0, -3(s0)
        note    a0
        try     lw a0, -1(s0)
        note    a0
        li      s0, PAGES + 0x2000
        li      a1, -1
        try     sd a1, -5(s0)                   # the second part is refused
        through_tables
        try     ld a0, -8(s0)
        note    a0
        try     ld a0, -5(s0)
        note    a0
        li      s0, PAGES + 0x3000
        try     lhu a0, -1(s0)
        through_tables
        try     sw a0, -2(s0)
        through_tables
        li      s0, PAGES
        try     ld a0, -2(s0)
        directly
        j       finish
]])
  end)
end)

describe("code", function()
  it("that is stored runs after fence.i: in this block, in another, where no instruction was, by another mapping", function()
    both(PAGING .. [[
        .macro  patch at, word
        la      t0, \at
        li      t1, \word
        sw      t1, 0(t0)
        .endm
        .option norvc
main:   li      a0, 0
        patch   1f, 0x00150513                  # addi a0, a0, 1
        fence.i
1:      nop
        note    a0
        li      s0, 3                           # the loop rewrites itself
2:      addi    a0, a0, 16
        note    a0
        patch   2b, 0x10050513                  # addi a0, a0, 256
        fence.i
        addi    s0, s0, -1
        bnez    s0, 2b
        try     .4byte 0                        # no instruction first, then one
        la      t0, 3f
        jalr    ra, t0
        note    a0
        la      s10, 4f
        la      t0, 5f
        jr      t0                              # traps
4:      patch   5f, 0x00008067                  # ret
        fence.i
        la      t0, 5f
        jalr    ra, t0
        note    ra
        la      s10, 6f
        jal     ra, 7f                          # the second half is what makes it none
6:      la      t0, 7f
        li      t1, 0x00a5                      # add a0, a0, a0
        sh      t1, 2(t0)
        fence.i
        jal     ra, 7f
        note    a0
        j       more
3:      addi    a0, a0, 5
        ret
        .balign 64
5:      .4byte  0
        .balign 64
7:      .4byte  0xffff0533
        ret
        .balign 4
more:   paging
        li      t0, SPACE                       # 12: in S at PAGES, stored to through the identity map
        li      t1, 0x00700513                  # li a0, 7
        sw      t1, 0(t0)
        li      t1, 0x00000073
        sw      t1, 4(t0)
        leaf    0, 0, 0xcb
        leaf    1, 0, 0xcf
        sfence.vma
        in_mode_at S, PAGES
        note    a0
        li      t0, SPACE
        li      t1, 0x00900513
        sw      t1, 0(t0)
        fence.i
        in_mode_at S, PAGES
        note    a0
        in_mode_at S, PAGES + 0x1000
        note    a0
        la      s1, stores                      # S stores to the page it runs in, by another address of it
        li      t0, SPACE + 0x100
        la      t2, stores_end
        sub     t2, t2, s1
        add     t2, t2, t0
8:      lw      t1, 0(s1)
        sw      t1, 0(t0)
        addi    s1, s1, 4
        addi    t0, t0, 4
        bltu    t0, t2, 8b
        fence.i
        in_mode_at S, PAGES + 0x100
        note    a0
        leaf    0, 1, 0xcb                      # the mapping changes under the code
        sfence.vma
        li      t0, SPACE + 0x1000
        li      t1, 0x00b00513
        sw      t1, 0(t0)
        li      t1, 0x00000073
        sw      t1, 4(t0)
        fence.i
        in_mode_at S, PAGES
        note    a0
        j       finish
stores: li      a0, 1
        li      t0, PAGES + 0x1100
        lui     t1, 0x2150
        addi    t1, t1, 0x513                   # addi a0, a0, 33
        sw      t1, 28(t0)                      # the nop, seven words on
        fence.i
stores_here:
        nop
        ecall
stores_end:
]])
  end)

  it("across two pages faults with the address of the second, and sees changes of either", function()
    both(PAGING .. [[
        .equ    EDGE, SPACE + 0xffe
main:   paging
        leaf    0, 0, 0xcf
        li      t0, EDGE
        li      t1, 0x0513
        sh      t1, 0(t0)
        li      t1, 0x0070
        sh      t1, 2(t0)                       # li a0, 7
        li      t1, 0x00000073
        sw      t1, 4(t0)
        li      a0, 0
        in_mode_at S, PAGES + 0xffe                # no second page
        note    a0
        leaf    1, 1, 0xcf
        sfence.vma
        in_mode_at S, PAGES + 0xffe
        note    a0
        li      t0, EDGE
        li      t1, 0x0090
        sh      t1, 2(t0)
        fence.i
        in_mode_at S, PAGES + 0xffe
        note    a0
        li      t0, SPACE + 0x2000
        li      t1, 0x00b0
        sh      t1, 0(t0)
        li      t1, 0x0073
        sh      t1, 2(t0)
        sh      zero, 4(t0)
        leaf    1, 2, 0xcf
        sfence.vma
        in_mode_at S, PAGES + 0xffe
        note    a0
        leaf    1, 2, 0xc7                      # may not be executed
        sfence.vma
        in_mode_at S, PAGES + 0xffe
        leaf    1, 2, 0xdf                      # belongs to user mode
        sfence.vma
        in_mode_at S, PAGES + 0xffe
        leaf    1, 2, 0xcf
        leaf    0, 0, 0xdf
        sfence.vma
        in_mode_at U, PAGES + 0xffe
        in_mode_at S, PAGES + 0xffe
        j       finish
]])
  end)

  it("jumps to nowhere in every way and traps there, the jump itself being done", function()
    both(PAGING .. [[
main:   paging
        li      s0, 0x08000000
        li      s1, 0x0800000000000000
        li      s2, -2
        .macro  jump to
        la      s10, 9f
        li      ra, 0
        jalr    ra, \to
9:      la      t0, 9b
        sub     ra, ra, t0
        note    ra
        .endm
        jump    s0
        jump    s1
        jump    s2
        in_mode_at S, 0x1000000
        in_mode_at S, 0x100000000
        in_mode_at U, 0x80000000
        li      t0, 0x1fffffffc
        csrw    mepc, t0
        la      s10, 1f
        mret
1:      li      t0, -1 << 40
        csrw    mepc, t0
        li      t1, 1 << 11
        csrs    mstatus, t1
        la      s10, 1f
        mret
1:      j       finish
]])
  end)

  it("without C a jump to half a word traps at the jump, its link unwritten", function()
    local text = [[
        .option norvc
main:   li      ra, 77
        la      s0, target + 2
        la      s10, 1f
j1:     jalr    ra, s0
1:      note    ra
        la      s10, 2f
        li      t0, 0x0020_0000
j2:     .4byte  0x002000ef                      # jal ra, .+2
2:      note    ra
        la      s10, 3f
j3:     .4byte  0x00000163                      # beq zero, zero, .+2
3:      la      s10, 4f
j4:     .4byte  0x00001163                      # bne zero, zero, .+2
4:      la      t0, j1
        note    t0
        la      t0, j2
        note    t0
        la      t0, j3
        note    t0
        la      t0, target + 2
        note    t0
        j       finish
        .balign 4
target: nop
]]
    text = text:gsub("0x0020_0000", "0")
    -- The prelude is assembled with C; only what it shares with this program runs here.
    local path = guest.build(text, "rv64g_zicsr_zifencei")
    local n = guest.run(path, { isa = "rv64g_sstc" }).notes
    local j1, j2, j3, target = n[#n - 3], n[#n - 2], n[#n - 1], n[#n]
    local zero, link = ("0"):rep(16), "000000000000004d"
    assert.same({ zero, target, j1, link }, { n[1], n[2], n[3], n[5] })
    assert.same({ zero, j2, link }, { n[6], n[8], n[10] })
    assert.same({ zero, j3 }, { n[11], n[13] })
    assert.equal(18, #n)
  end)
end)

describe("loads and stores", function()
  local MISALIGNED = [[
main:   li      s0, SPACE + 1
        li      a1, 0x8877665544332211
        try     sd a1, 0(s0)
        try     ld a0, 0(s0)
        try     lh a0, 2(s0)
        try     sw a1, 5(s0)
        li      s1, SPACE
        ld      a0, 0(s1)
        note    a0
        ld      a0, 8(s1)
        note    a0
        j       finish
]]
  it("that are misaligned are done in RAM", function() both(MISALIGNED) end)

  it("that are misaligned trap where the machine says so", function()
    local n = guest.run(guest.build(MISALIGNED), { misaligned = "trap" }).notes
    local causes = {}
    for i = 1, 16, 4 do causes[#causes + 1] = { tonumber(n[i], 16), tonumber(n[i + 1], 16) } end
    assert.same({ { 6, 0x80400001 }, { 4, 0x80400001 }, { 4, 0x80400003 }, { 6, 0x80400006 } }, causes)
    assert.equal(("0"):rep(16), n[17])
  end)

  it("by blocks (Zicboz, Zicbom) need menvcfg, and in user mode senvcfg", function()
    local ours = guest.run(guest.build [[
main:   open_memory
        li      a1, SPACE + 100                 # in the second block
        sd      a1, -40(a1)
        sd      a1, -36(a1)
        sd      a1, 20(a1)
        sd      a1, 28(a1)
        in_mode S, zero                         # 2
        li      t0, 1 << 7
        csrw    menvcfg, t0
        in_mode U, zero                         # 2
        ld      a0, -36(a1)
        snez    a0, a0
        note    a0                              # 1
        in_mode S, zero                         # 9
        ld      a0, -36(a1)
        note    a0                              # 0
        ld      a0, 20(a1)
        note    a0                              # 0
        ld      a0, -44(a1)
        snez    a0, a0
        note    a0                              # 1: the upper half of what lies before the block
        ld      a0, 28(a1)
        snez    a0, a0
        note    a0                              # 1
        csrw    senvcfg, t0
        in_mode U, zero                         # 8
        in_mode U, flush                        # 2
        li      t0, 0xf0
        csrw    menvcfg, t0
        in_mode S, flush                        # 9
        in_mode U, flush                        # 2
        in_mode U, inval                        # 2
        csrw    senvcfg, t0
        in_mode U, flush                        # 8
        in_mode U, inval                        # 8
        li      a1, 0x08000000
        try     cbo.zero 0(a1)                  # 7
        try     cbo.inval 0(a1)                 # 7
        li      t0, 0x20
        csrw    menvcfg, t0                     # CBIE = 2 is reserved: it stays 3
        note_csr menvcfg
        j       finish
        .balign 4
zero:   cbo.zero (a1)
        ecall
flush:  cbo.flush (a1)
        cbo.clean (a1)
        ecall
inval:  cbo.inval (a1)
        ecall
]])
    local seen, i = {}, 1
    local function take(count)                   -- causes of so many traps
      for _ = 1, count do
        seen[#seen + 1] = tonumber(ours.notes[i], 16)
        i = i + 4
      end
    end
    local function plain(count)
      for _ = 1, count do
        seen[#seen + 1] = tonumber(ours.notes[i], 16)
        i = i + 1
      end
    end
    take(2) plain(1) take(1) plain(4) take(9) plain(1)
    assert.same({ 2, 2, 1, 9, 0, 0, 1, 1, 8, 2, 9, 2, 2, 8, 8, 7, 7, 0x30 }, seen)
    assert.equal(#ours.notes, i - 1)
  end)

  it("reserve and condition: sc fails without its lr, elsewhere, twice, and after a change", function()
    both [[
main:   li      s0, SPACE
        li      s1, SPACE + 64
        li      a1, 5
        sd      a1, 0(s0)
        li      a0, 9
        sc.d    a0, a1, (s0)
        note    a0
        lr.d    a2, (s0)
        addi    a2, a2, 1
        sc.d    a0, a2, (s0)
        note    a0
        sc.d    a0, a2, (s0)
        note    a0
        ld      a0, 0(s0)
        note    a0
        lr.w    a2, (s0)
        sc.w    a0, a2, (s1)
        note    a0
        lr.w    a2, (s0)
        sw      s0, 0(s0)
        sc.w    a0, a2, (s0)
        note    a0
        lw      a0, 0(s0)
        note    a0
        lr.w    zero, (s1)
        sc.w    zero, s1, (s1)
        lwu     a0, 0(s1)
        note    a0
        j       finish
]]
  end)
end)
