-- privileged: traps, interrupts, returns and counters, by programs that run here and under QEMU.
-- SPDX-License-Identifier: MIT
local guest      = require "spec.support.guest"
local machine    = require "umbra.machine"
local privileged = require "spec.support.privileged"

local both, notes = privileged.both, privileged.notes

describe("traps", function()
  it("have the cause, value and place that the manual says, from every mode", function()
    both [[
        .equ    HOLE, 0x08000000
main:   open_memory
        li      s0, HOLE
        li      s1, SPACE
        try     .4byte 0
        try     .4byte 0xffffffff
        try     .2byte 0
        try     ebreak
        try     ecall
        try     lb a0, 3(s0)
        try     ld a0, 0(s0)
        try     sw a0, 4(s0)
        try     amoadd.d a0, a0, (s1)
        try     sc.w a0, a0, (s1)
        try     jr s0
        try     csrr a0, 0x5c0
        try     csrw mhartid, a0
        .macro  everywhere mode
        in_mode \mode, wrong1
        in_mode \mode, wrong2
        in_mode \mode, wrong3
        in_mode \mode, wrong4
        in_mode \mode, wrong5
        in_mode \mode, wrong6
        in_mode \mode, wrong7
        in_mode_at \mode, HOLE
        .endm
        everywhere S
        everywhere U
        li      t0, 0xb1ff                      # all but the ecall of S
        csrw    medeleg, t0
        everywhere S
        everywhere U
        li      t0, -1
        csrw    medeleg, t0
        note_csr mideleg
        csrw    medeleg, zero
        j       finish
        .balign 4
wrong1: .4byte  0x0000707b
wrong2: ebreak
wrong3: ecall
wrong4: li      a0, HOLE
        lhu     a1, 4(a0)
wrong5: li      a0, HOLE
        sd      a1, 8(a0)
wrong6: csrr    a0, mscratch
wrong7: mret
]]
  end)

  it("go to the vector of an interrupt, and to the base for exceptions", function()
    both [[
main:   open_memory
        la      t0, table + 1
        csrw    stvec, t0
        la      s2, trap
        li      t0, 0x222
        csrw    mideleg, t0
        li      t0, 1 << 2
        csrw    medeleg, t0
        li      t0, 0x222
        csrw    mie, t0
        li      t0, 2
        csrw    mip, t0
        in_mode U, spin
        li      t0, 0x20
        csrw    mip, t0
        in_mode U, spin
        li      t0, 0x200
        csrw    mip, t0
        in_mode U, spin
        csrw    mip, zero
        in_mode U, wrong
        la      t0, mtable + 1
        csrw    mtvec, t0
        csrw    mideleg, zero
        la      s10, 1f
        li      t0, 2
        csrw    mip, t0
        csrsi   mstatus, 8
        j       spin
1:      la      t0, trap
        csrw    mtvec, t0
        j       finish
spin:   j       spin
wrong:  .4byte  0
        .balign 256
table:  j       supervisor_trap
        j       other
        j       supervisor_trap
        j       supervisor_trap
        j       supervisor_trap
        j       other2
        j       supervisor_trap
        j       supervisor_trap
        j       supervisor_trap
        j       other3
other:  li      t0, 0x1111
        note    t0
        j       supervisor_trap
other2: li      t0, 0x2222
        note    t0
        j       supervisor_trap
other3: li      t0, 0x3333
        note    t0
        j       supervisor_trap
        .balign 256
mtable: j       trap
        j       1f
        j       trap
1:      li      t0, 0x4444
        note    t0
        csrw    mip, zero
        j       trap
]]
  end)

  it("that trap again at once use up a budget and a time, and nothing else", function()
    local path = guest.build [[
main:   li      t0, 0x08000000
        csrw    mtvec, t0
        ecall
]]
    local m = machine.load("machines/bare.lua", { kernel = path })
    assert.equal("time", (m.hart:run(nil, 0.05)))
    local before = m:counters()
    local reason, executed = m.hart:run(200000, 20)
    assert.same({ "budget", 0 }, { reason, executed })
    assert.equal(before.instructions, m:counters().instructions)
    assert.equal(0x08000000, m.hart:pc())
    m:close()
  end)
end)

describe("interrupts", function()
  -- Each handler notes the cause and switches that interrupt off.
  local HANDLER = [[
handler:
        csrr    t6, mcause
        bgez    t6, finish
        note    t6
        li      t5, 1
        sll     t5, t5, t6
        csrc    mie, t5
        mret
]]
  it("are taken in the manual's order of priority", function()
    notes({ "8000000000000003", "8000000000000007", "8000000000000009", "8000000000000001", "8000000000000005" }, [[
main:   la      t0, handler
        csrw    mtvec, t0
        li      t0, CLINT
        li      t1, 1
        sw      t1, 0(t0)
        li      t0, CLINT + 0x4000
        sd      zero, 0(t0)
        li      t0, 0x222
        csrw    mip, t0
        li      t0, 0xaaa
        csrw    mie, t0
        csrsi   mstatus, 8
        nop
        csrci   mstatus, 8
        j       finish
        .balign 4
]] .. HANDLER)
  end)

  it("of machine mode come before delegated ones, whatever their numbers", function()
    notes({ "8000000000000005", "8000000000000009", 0, 0x80000000 + 0, 0 }, [[
main:   open_memory
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 0x202
        csrw    mideleg, t0
        li      t0, 0x222
        csrw    mip, t0
        csrw    mie, t0
        csrsi   sstatus, 2
        la      t0, stop
        csrw    stvec, t0
        li      t0, 1 << 11
        csrs    mstatus, t0
        li      t0, 2 << 11
        csrc    mstatus, t0
        la      t0, spin
        csrw    mepc, t0
        mret
        .balign 4
spin:   j       spin
        .balign 4
stop:   csrr    t6, scause
        note    t6
        csrr    t6, stval
        note    t6
        csrr    t6, sepc
        la      t5, spin
        sub     t6, t6, t5
        li      t5, 0x80000000
        add     t6, t6, t5
        note    t6
        csrr    t6, sstatus                     # SIE went to SPIE
        andi    t6, t6, 2
        note    t6
        ecall
        .balign 4
]] .. HANDLER)
  end)

  it("need mstatus.SIE only in their own mode, and mie always", function()
    both [[
main:   open_memory
        li      t0, 2
        csrw    mideleg, t0
        csrw    mip, t0
        in_mode U, calls                        # not enabled in mie
        csrw    mie, t0
        csrci   sstatus, 2
        in_mode S, calls                        # SIE is off
        in_mode U, calls                        # below S it does not count
        csrsi   sstatus, 2
        in_mode S, calls
        csrw    mideleg, zero
        in_mode S, calls                        # for machine mode now
        csrw    mip, zero
        in_mode S, calls
        j       finish
calls:  ecall
]]
  end)

  it("by stimecmp arrive, wake wfi, and stay until stimecmp moves", function()
    both [[
main:   open_memory
        li      t0, 1 << 63
        csrs    menvcfg, t0
        li      t0, 0x20
        csrw    mideleg, t0
        csrw    mie, t0
        li      t0, -1
        csrw    stimecmp, t0
        csrr    t0, mip
        andi    t0, t0, 0x20
        note    t0
        csrr    t0, time
        addi    t0, t0, 1000
        csrw    stimecmp, t0
        wfi
        csrr    t1, time
        sltu    t0, t1, t0
        note    t0
        csrr    t0, mip
        andi    t0, t0, 0x20
        note    t0
        in_mode U, calls
        li      t0, 0x20
        csrc    mip, t0                         # it is read-only now
        csrr    t0, mip
        andi    t0, t0, 0x20
        note    t0
        in_mode S, sets                         # not allowed: mcounteren.TM is 0
        li      t0, 2
        csrw    mcounteren, t0
        in_mode S, sets
        csrr    t0, mip
        andi    t0, t0, 0x20
        note    t0
        li      t0, 1 << 63
        csrc    menvcfg, t0
        in_mode S, sets
        j       finish
        .balign 4
calls:  ecall
sets:   li      t0, -1
        csrw    stimecmp, t0
        ecall
]]
  end)

  it("by the CLINT's timer and software bit wake wfi", function()
    both [[
main:   li      t0, CLINT
        li      t1, 0x88
        csrw    mie, t1
        li      t2, 0xbff8
        add     t2, t2, t0
        ld      t3, 0(t2)
        addi    t3, t3, 2000
        li      t4, 0x4000
        add     t4, t4, t0
        sd      t3, 0(t4)
        wfi
        ld      t5, 0(t2)
        sltu    t5, t5, t3
        note    t5
        csrr    t5, mip
        note    t5
        li      t5, -1
        sd      t5, 0(t4)
        csrr    t5, mip
        note    t5
        li      t1, 1
        sw      t1, 0(t0)
        csrr    t5, mip
        note    t5
        wfi
        sw      zero, 0(t0)
        csrr    t5, mip
        note    t5
        j       finish
]]
  end)

  it("let wfi sleep until the host's time is up, at no cost in instructions", function()
    local m = machine.load("machines/bare.lua", { kernel = guest.build "main: li t0, 0x80\n csrw mie, t0\n wfi\n j finish\n" })
    local result = m:run { timeout = 0.1 }
    assert.equal("timeout", result.reason)
    assert.is_true(result.executed < 100)
    m:close()
  end)
end)

describe("returns and what may be forbidden", function()
  it("mret and sret restore privilege and enables", function()
    both [[
main:   open_memory
        .macro  returning status
        li      t0, 0x219aa
        csrc    mstatus, t0
        li      t0, \status
        csrs    mstatus, t0
        la      s10, 9f
        la      t0, calls
        csrw    mepc, t0
        mret
9:
        .endm
        returning 0x0000
        returning 0x0080
        returning 0x0800
        returning 0x0882
        returning 0x09a0
        li      t0, 0x1800
        csrs    mstatus, t0
        .macro  s_returning status
        li      t0, 0x122
        csrc    mstatus, t0
        li      t0, \status
        csrs    mstatus, t0
        in_mode S, goes_back
        .endm
        s_returning 0x000
        s_returning 0x020
        s_returning 0x120
        s_returning 0x100
        la      s10, 1f                         # sret in machine mode
        la      t0, calls
        csrw    sepc, t0
        sret
1:      j       finish
goes_back:
        la      t0, calls
        csrw    sepc, t0
        sret
        .balign 4
calls:  ecall
]]
  end)

  it("mret and sret drop MPRV below machine mode", function()
    notes({ 0, 0, 0x20000 }, [[
main:   open_memory
        .macro  bits
        csrr    t0, mstatus
        li      t1, 1 << 17
        and     t0, t0, t1
        note    t0
        .endm
        la      t0, quiet
        csrw    mtvec, t0
        li      t0, 0x20800
        csrs    mstatus, t0
        in_mode S, calls
        bits
        li      t0, 0x20000
        csrs    mstatus, t0
        la      s10, 1f
        la      t0, calls
        csrw    sepc, t0
        sret
1:      bits
        li      t0, 0x21800
        csrs    mstatus, t0
        la      t0, 1f
        csrw    mepc, t0
        li      t1, 1 << 17
        mret
1:      csrr    t0, mstatus                     # MPP is user mode now: no store before MPRV is gone
        csrc    mstatus, t1
        and     t0, t0, t1
        note    t0
        j       finish
        .balign 4
quiet:  jr      s10
        .balign 4
calls:  ecall
]])
  end)

  it("TSR, TVM and TW take away from supervisor mode, and user mode never had it", function()
    both [[
main:   open_memory
        .macro  in_both
        in_mode S, try1
        in_mode S, try2
        in_mode S, try3
        in_mode S, try4
        in_mode S, try5
        in_mode S, try6
        in_mode U, try1
        in_mode U, try2
        in_mode U, try3
        in_mode U, try6
        .endm
        li      t0, 2                           # so that no wfi waits
        csrw    mie, t0
        csrw    mip, t0
        csrw    mideleg, t0
        in_both
        li      t0, 1 << 20
        csrs    mstatus, t0
        in_both
        li      t0, 1 << 21
        csrs    mstatus, t0
        in_both
        li      t0, 1 << 22
        csrs    mstatus, t0
        in_both
        try     wfi
        try     sfence.vma
        try     csrr a0, satp
        j       finish
        .balign 4
try1:   sfence.vma
        ecall
try2:   csrr    a0, satp
        ecall
try3:   la      t0, calls
        csrw    sepc, t0
        sret
try4:   csrwi   satp, 0
        ecall
try5:   sfence.w.inval
        sfence.inval.ir
        ecall
try6:   wfi
        ecall
calls:  ecall
]]
  end)

  it("TVM takes sinval.vma away, and user mode has no fence at all", function()
    local ours = guest.run(guest.build [[
main:   open_memory
        in_mode S, 1f
        li      t0, 1 << 20
        csrs    mstatus, t0
        in_mode S, 1f
        in_mode U, 1f
        in_mode U, 2f
        in_mode U, 3f
        in_mode S, 2f
        j       finish
1:      sinval.vma zero, zero
        ecall
2:      sfence.w.inval
3:      sfence.inval.ir
        ecall
]])
    local causes = {}
    for i = 1, #ours.notes, 4 do causes[#causes + 1] = tonumber(ours.notes[i], 16) end
    assert.same({ 9, 2, 2, 2, 2, 9 }, causes)
  end)
end)

describe("counters", function()
  it("are given to lower modes bit by bit", function()
    both [[
main:   open_memory
        .macro  look
        in_mode S, c0
        in_mode S, c1
        in_mode S, c2
        in_mode U, c0
        in_mode U, c1
        in_mode U, c2
        .endm
        .macro  allow machine, supervisor
        li      t0, \machine
        csrw    mcounteren, t0
        li      t0, \supervisor
        csrw    scounteren, t0
        look
        .endm
        allow   0, 7
        allow   7, 0
        allow   1, 7
        allow   2, 3
        allow   4, 6
        allow   7, 5
        j       finish
c0:     csrr    a0, cycle
        ecall
c1:     csrr    a0, time
        ecall
c2:     csrr    a0, instret
        ecall
]]
  end)

  it("count every instruction once, stop where mcountinhibit says, and take what is written", function()
    notes({ 0, 100, 3, 0, 1005, 1005, 1000, 0, "ffffffffffffffff", 1 }, [[
main:   csrwi   minstret, 0
        csrr    a0, minstret
        note    a0
        li      t0, 100
        csrw    mcycle, t0
        csrr    a0, mcycle
        note    a0
        csrr    a0, instret
        nop
        nop
        csrr    a1, instret
        sub     a1, a1, a0
        note    a1
        csrr    a0, instret                     # a trap is not retired, neither is what trapped
        la      s10, 1f
        la      t0, silent
        csrw    mtvec, t0
        ecall
        .balign 4
silent: csrr    a1, instret
        sub     a1, a1, a0
        addi    a1, a1, -4 - 2
        jr      s10
1:      snez    a1, a1
        note    a1
        li      t0, 1005
        li      t1, 4
        csrw    mcountinhibit, t1
        csrw    minstret, t0
        nop
        csrr    a0, minstret
        note    a0
        csrr    a0, instret
        note    a0
        li      t0, 1000
        csrw    minstret, t0
        csrw    mcountinhibit, zero
        csrr    a0, minstret
        andi    a0, a0, -8
        note    a0
        csrr    a0, mhpmcounter3
        note    a0
        li      t0, -1
        csrw    minstret, t0
        csrr    a0, minstret
        note    a0
        csrr    a0, minstret                    # over the edge: note took two, and this
        slti    a0, a0, 4
        note    a0
        j       finish
]])
  end)
end)
