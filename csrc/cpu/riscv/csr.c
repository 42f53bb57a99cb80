// csr: control and status registers: which exist, what may be written, what a write sets in motion.
// SPDX-License-Identifier: MIT
//
// RISC-V Privileged Architecture 20240411, chapters 2, 3.1, 4 and 10.1. Choices the manual leaves to us:
//  - misa ignores writes: extensions cannot be switched off. mvendorid, marchid, mimpid and mconfigptr are zero.
//  - mhpmcounter3-31 and mhpmevent3-31 are read-only zero: there are no events to count. Cycles are retired
//    instructions.
//  - A write of a reserved value to a WARL field (MPP = 2, CBIE = 2) leaves the field as it was, a reserved mode
//    leaves all of mtvec, stvec or satp. pmpcfg with W and without R loses W.
//  - 16 PMP entries of granularity 4 bytes; the CSRs of entries 16 to 63 do not exist.
//  - No triggers: tselect and tdata1 are read-only zero.
#include "base/fp.h"
#include "cpu/riscv/hart.h"
#include "cpu/riscv/trace.h"
#include <stddef.h>

enum { CSR_MCYCLE = 0xb00, CSR_MINSTRET = 0xb02, CSR_MIP = 0x344, CSR_PMPCFG0 = 0x3a0, CSR_PMPADDR0 = 0x3b0 };

#define BIT(n) (1ull << (n))

#define S_INTERRUPTS (BIT(IRQ_SSI) | BIT(IRQ_STI) | BIT(IRQ_SEI))
#define M_INTERRUPTS (BIT(IRQ_MSI) | BIT(IRQ_MTI) | BIT(IRQ_MEI))
// Bits 0 to 9, 12, 13 and 15: every cause that exists, save the ecall from machine mode.
#define DELEGABLE    0xb3ffull

#define ENVCFG_FIOM  BIT(0)
#define ENVCFG_CBIE  (3ull << 4)
#define ENVCFG_CBCFE BIT(6)
#define ENVCFG_CBZE  BIT(7)
#define MENVCFG_ADUE  BIT(61)
#define MENVCFG_PBMTE BIT(62)
#define MENVCFG_STCE  BIT(63)

enum { COUNTER_CYCLE, COUNTER_TIME, COUNTER_INSTRET };

enum { PMP_FIELDS = PMP_R | PMP_W | PMP_X | PMP_A | PMP_L };

// What a CSR asks for beyond the privilege in its number.
enum { NEEDS_NOTHING, NEEDS_FP, NEEDS_COUNTER, NEEDS_STCE, NEEDS_VM, NEEDS_PMP };

// Reads come from a function or a field of the hart, writes go to a function or to the field's writable bits.
// A row with neither is read-only zero.
typedef struct Csr {
  uint16_t number;
  int8_t   extension;                // EXT_*, -1: always there
  uint8_t  needs;                    // NEEDS_*
  uint16_t field;                    // offset in Hart, 0: none
  const char *name;
  uint64_t mask;                     // bits of the field that may be written
  uint64_t (*read)(Hart *hart, unsigned number);
  void   (*write)(Hart *hart, unsigned number, uint64_t value);
} Csr;

static void leave_if_pending(Hart *hart)
{
  if (hart_pending(hart) >= 0) hart->leave = true;
}

// -- Status -----------------------------------------------------------------------------------------

#define SSTATUS_WRITABLE (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR)

static uint64_t mstatus_writable(const Hart *hart)
{
  uint64_t mask = MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP;
  if (hart_has(hart, EXT_F)) mask |= MSTATUS_FS;
  if (hart_has(hart, EXT_U)) mask |= MSTATUS_MPRV | MSTATUS_TW;
  if (!hart_has(hart, EXT_S)) return mask;
  mask |= MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_TSR;
  return hart->options.paging_levels ? mask | MSTATUS_SUM | MSTATUS_MXR | MSTATUS_TVM : mask;
}

static bool mpp_exists(const Hart *hart, uint64_t status)
{
  switch ((status & MSTATUS_MPP) >> 11) {
  case PRIV_M: return true;
  case PRIV_S: return hart_has(hart, EXT_S);
  case PRIV_U: return hart_has(hart, EXT_U);
  default: return false;
  }
}

static void set_status(Hart *hart, uint64_t value, uint64_t writable)
{
  uint64_t old = hart->mstatus, status = (old & ~writable) | (value & writable);
  if (!mpp_exists(hart, status)) status = (status & ~MSTATUS_MPP) | (old & MSTATUS_MPP);
  uint64_t changed = old ^ status;
  hart->mstatus = status;
  if (changed & MSTATUS_MXR) {
    for (int i = 0; i < ADDRESS_SPACES; i++)
      for (int c = CONTEXT_S; c < CONTEXTS; c++)
        if (hart->spaces[i].valid) tlb_flush_kind(&hart->spaces[i].tlb[c], TLB_READ);
  }
  if (changed & (MSTATUS_MPRV | MSTATUS_MPP | MSTATUS_SUM)) hart_update_context(hart);
  if (changed & MSTATUS_FS) hart_update_fp(hart);
  if (status & changed & (MSTATUS_SIE | MSTATUS_MIE)) leave_if_pending(hart);
}

static uint64_t read_mstatus(Hart *hart, unsigned number)
{
  (void)number;
  return (hart->mstatus & MSTATUS_FS) == MSTATUS_FS ? hart->mstatus | MSTATUS_SD : hart->mstatus;
}

static void write_mstatus(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  set_status(hart, value, hart->mstatus_writable);
}

static uint64_t read_sstatus(Hart *hart, unsigned number)
{
  return read_mstatus(hart, number) & (SSTATUS_WRITABLE | MSTATUS_UBE | MSTATUS_UXL | MSTATUS_SD);
}

static void write_sstatus(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  set_status(hart, value, hart->mstatus_writable & SSTATUS_WRITABLE);
}

static uint64_t read_misa(Hart *hart, unsigned number)
{
  (void)number;
  static const struct { uint8_t extension; char letter; } letters[] = {
    { EXT_A, 'A' }, { EXT_C, 'C' }, { EXT_D, 'D' }, { EXT_F, 'F' },
    { EXT_I, 'I' }, { EXT_M, 'M' }, { EXT_S, 'S' }, { EXT_U, 'U' },
  };
  uint64_t misa = 2ull << 62;
  for (unsigned i = 0; i < sizeof letters / sizeof *letters; i++)
    if (hart_has(hart, letters[i].extension)) misa |= BIT(letters[i].letter - 'A');
  return misa;
}

static void write_ignored(Hart *hart, unsigned number, uint64_t value)
{
  (void)hart, (void)number, (void)value;
}

static uint64_t read_mhartid(Hart *hart, unsigned number)
{
  (void)number;
  return hart->options.hartid;
}

// -- Trap vectors and return addresses ----------------------------------------------------------------

static void write_mtvec(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  if (!(value & 2)) hart->mtvec = value;
}

static void write_stvec(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  if (!(value & 2)) hart->stvec = value;
}

static void write_mepc(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  hart->mepc = value & hart->epc_mask;
}

static void write_sepc(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  hart->sepc = value & hart->epc_mask;
}

// -- Interrupts ---------------------------------------------------------------------------------------

uint64_t hart_mip(Hart *hart)
{
  uint64_t mip = hart->mip_soft | atomic_load_explicit(&hart->mip_lines, memory_order_acquire);
  if (!(hart->menvcfg & MENVCFG_STCE)) return mip;
  return (mip & ~BIT(IRQ_STI)) | (uint64_t)hart->stimer_pending << IRQ_STI;
}

void hart_line(void *sink, unsigned bit, bool level)
{
  Hart *hart = sink;
  if (trace_wants(hart, UM_LOG_DEV)) trace_note(hart, UM_LOG_DEV, "line %u (%s) %s", bit, um_riscv_trap_name(bit, true), level ? "raised" : "lowered");
  if (level) atomic_fetch_or(&hart->mip_lines, BIT(bit));
  else atomic_fetch_and(&hart->mip_lines, ~BIT(bit));
  if (level) leave_if_pending(hart);
}

// The comparator's level now, and when to look again.
static void stimer_update(Hart *hart)
{
  bool compares = hart->menvcfg & MENVCFG_STCE;
  hart->stimer_pending = compares && clock_now(hart->clock) >= hart->stimecmp;
  clock_arm(hart->clock, &hart->stimer, compares && !hart->stimer_pending ? hart->stimecmp : CLOCK_NEVER);
}

void hart_stimer_fire(void *owner)
{
  Hart *hart = owner;
  stimer_update(hart);
  leave_if_pending(hart);
}

// The guest may compare time with stimecmp itself and then look at STIP: it must not lag behind the next poll.
static uint64_t mip_now(Hart *hart)
{
  if (hart->stimer.deadline != CLOCK_NEVER && clock_now(hart->clock) >= hart->stimecmp) hart_stimer_fire(hart);
  return hart_mip(hart);
}

static void set_mip_soft(Hart *hart, uint64_t value, uint64_t writable)
{
  hart->mip_soft = (hart->mip_soft & ~writable) | (value & writable);
  leave_if_pending(hart);
}

static uint64_t read_mip(Hart *hart, unsigned number)
{
  (void)number;
  return mip_now(hart);
}

static void write_mip(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  uint64_t writable = hart_has(hart, EXT_S) ? S_INTERRUPTS : 0;
  if (hart->menvcfg & MENVCFG_STCE) writable &= ~BIT(IRQ_STI);
  set_mip_soft(hart, value, writable);
}

static uint64_t read_sip(Hart *hart, unsigned number)
{
  (void)number;
  return mip_now(hart) & hart->mideleg;
}

static void write_sip(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  set_mip_soft(hart, value, hart->mideleg & BIT(IRQ_SSI));
}

static void set_mie(Hart *hart, uint64_t value, uint64_t writable)
{
  hart->mie = (hart->mie & ~writable) | (value & writable);
  leave_if_pending(hart);
}

static void write_mie(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  set_mie(hart, value, hart_has(hart, EXT_S) ? M_INTERRUPTS | S_INTERRUPTS : M_INTERRUPTS);
}

static uint64_t read_sie(Hart *hart, unsigned number)
{
  (void)number;
  return hart->mie & hart->mideleg;
}

static void write_sie(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  set_mie(hart, value, hart->mideleg);
}

static void write_mideleg(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  hart->mideleg = value & S_INTERRUPTS;
  leave_if_pending(hart);
}

static void write_stimecmp(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  hart->stimecmp = value;
  if (trace_wants(hart, UM_LOG_DEV)) trace_note(hart, UM_LOG_DEV, "stimecmp 0x%llx", (unsigned long long)value);
  stimer_update(hart);
  hart->leave = true;
}

// -- Environment configuration ------------------------------------------------------------------------

static uint64_t envcfg_writable(const Hart *hart)
{
  uint64_t mask = ENVCFG_FIOM;
  if (hart_has(hart, EXT_ZICBOM)) mask |= ENVCFG_CBIE | ENVCFG_CBCFE;
  if (hart_has(hart, EXT_ZICBOZ)) mask |= ENVCFG_CBZE;
  return mask;
}

static uint64_t envcfg_merge(uint64_t old, uint64_t value, uint64_t writable)
{
  if ((value & ENVCFG_CBIE) == 2u << 4) writable &= ~ENVCFG_CBIE;
  return (old & ~writable) | (value & writable);
}

static void write_menvcfg(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  uint64_t old = hart->menvcfg, writable = envcfg_writable(hart);
  if (hart_has(hart, EXT_SVADU)) writable |= MENVCFG_ADUE;
  if (hart_has(hart, EXT_SVPBMT)) writable |= MENVCFG_PBMTE;
  if (hart_has(hart, EXT_SSTC)) writable |= MENVCFG_STCE;
  hart->menvcfg = envcfg_merge(old, value, writable);
  uint64_t changed = old ^ hart->menvcfg;
  if (changed & (MENVCFG_ADUE | MENVCFG_PBMTE)) {
    hart->mmu.update_ad = hart->menvcfg & MENVCFG_ADUE;
    hart->mmu.pbmt = hart->menvcfg & MENVCFG_PBMTE;
    hart_flush_all(hart);
    hart->leave = true;
  }
  if (changed & MENVCFG_STCE) {
    stimer_update(hart);
    hart->leave = true;
  }
}

static void write_senvcfg(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  hart->senvcfg = envcfg_merge(hart->senvcfg, value, envcfg_writable(hart));
}

static void write_satp(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  unsigned levels = hart->options.paging_levels, mode = (unsigned)(value >> 60);
  if (levels == 0) return;
  if (mode != 0 && (mode < 8 || mode - 8 + 3 > levels)) return;
  if (value != hart->satp) hart_set_satp(hart, value);
}

// -- Floating point -----------------------------------------------------------------------------------

static uint64_t read_fflags(Hart *hart, unsigned number)
{
  (void)number;
  return hart->guest_fp ? hart->fflags | fp_flags() : hart->fflags;
}

static void write_fflags(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  if (hart->guest_fp) fp_flags_clear();
  hart->fflags = value & 0x1f;
  hart_fp_dirty(hart);
}

static uint64_t read_frm(Hart *hart, unsigned number)
{
  (void)number;
  return hart->frm;
}

static void write_frm(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  hart_fp_dirty(hart);
  if (hart->frm == (value & 7)) return;
  hart->frm = value & 7;
  hart_update_fp(hart);
}

static uint64_t read_fcsr(Hart *hart, unsigned number)
{
  return read_fflags(hart, number) | (uint64_t)hart->frm << 5;
}

static void write_fcsr(Hart *hart, unsigned number, uint64_t value)
{
  write_fflags(hart, number, value);
  write_frm(hart, number, value >> 5);
}

// -- Counters -----------------------------------------------------------------------------------------
//
// A running counter is retired + offset; a stopped one (mcountinhibit) is its offset.

static uint64_t *counter_offset(Hart *hart, unsigned number)
{
  return (number & 0xff) == COUNTER_CYCLE ? &hart->cycle_offset : &hart->instret_offset;
}

static uint64_t counter_base(Hart *hart, unsigned number)
{
  return hart->mcountinhibit >> (number & 0xff) & 1 ? 0 : hart_instret(hart);
}

static uint64_t read_counter(Hart *hart, unsigned number)
{
  return counter_base(hart, number) + *counter_offset(hart, number);
}

static void write_counter(Hart *hart, unsigned number, uint64_t value)
{
  *counter_offset(hart, number) = value - counter_base(hart, number);
}

static uint64_t read_time(Hart *hart, unsigned number)
{
  (void)number;
  return clock_now(hart->clock);
}

static void write_mcountinhibit(Hart *hart, unsigned number, uint64_t value)
{
  (void)number;
  uint64_t cycle = read_counter(hart, CSR_MCYCLE), instret = read_counter(hart, CSR_MINSTRET);
  hart->mcountinhibit = value & (BIT(COUNTER_CYCLE) | BIT(COUNTER_INSTRET));
  write_counter(hart, CSR_MCYCLE, cycle);
  write_counter(hart, CSR_MINSTRET, instret);
}

static bool counter_allowed(Hart *hart, unsigned index)
{
  if (hart->priv == PRIV_M) return true;
  if (!(hart->mcounteren >> index & 1)) return false;
  return hart->priv == PRIV_S || !hart_has(hart, EXT_S) || hart->scounteren >> index & 1;
}

// -- Physical memory protection -----------------------------------------------------------------------

static void pmp_changed(Hart *hart)
{
  pmp_update(&hart->pmp);
  hart_flush_all(hart);
  hart->leave = true;
}

static uint64_t read_pmpcfg(Hart *hart, unsigned number)
{
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--) value = value << 8 | hart->pmp.cfg[(number - CSR_PMPCFG0) * 4 + i];
  return value;
}

static void write_pmpcfg(Hart *hart, unsigned number, uint64_t value)
{
  bool changed = false;
  for (int i = 0; i < 8; i++, value >>= 8) {
    uint8_t *cfg = &hart->pmp.cfg[(number - CSR_PMPCFG0) * 4 + i], fresh = value & PMP_FIELDS;
    if (!(fresh & PMP_R)) fresh &= (uint8_t)~PMP_W;
    if (*cfg & PMP_L || *cfg == fresh) continue;
    *cfg = fresh;
    changed = true;
  }
  if (changed) pmp_changed(hart);
}

static uint64_t read_pmpaddr(Hart *hart, unsigned number)
{
  return hart->pmp.addr[number - CSR_PMPADDR0];
}

static void write_pmpaddr(Hart *hart, unsigned number, uint64_t value)
{
  unsigned i = number - CSR_PMPADDR0;
  const uint8_t *cfg = hart->pmp.cfg;
  value &= BIT(54) - 1;
  if (cfg[i] & PMP_L || hart->pmp.addr[i] == value) return;
  // The address below a locked top-of-range entry is its base, and locked with it.
  if (i + 1 < PMP_ENTRIES && cfg[i + 1] & PMP_L && (cfg[i + 1] & PMP_A) == PMP_TOR) return;
  hart->pmp.addr[i] = value;
  pmp_changed(hart);
}

// -- The table ----------------------------------------------------------------------------------------

#define FIELD(number, field, extension, mask) \
  { number, extension, NEEDS_NOTHING, offsetof(Hart, field), #field, mask, 0, 0 }
#define GUARD(number, field, extension, needs) \
  { number, extension, needs, offsetof(Hart, field), #field, 0, 0, write_##field }
#define CALLS(number, name, extension, needs) { number, extension, needs, 0, #name, 0, read_##name, write_##name }
#define READS(number, name, extension, needs, read) { number, extension, needs, 0, name, 0, read, write_ignored }
#define ZERO(number, name, extension, needs)  { number, extension, needs, 0, name, 0, 0, 0 }

#define EACH_3_TO_31(ROW) \
  ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13), ROW(14), ROW(15), \
  ROW(16), ROW(17), ROW(18), ROW(19), ROW(20), ROW(21), ROW(22), ROW(23), ROW(24), ROW(25), ROW(26), ROW(27), \
  ROW(28), ROW(29), ROW(30), ROW(31)
#define EACH_0_TO_15(ROW) \
  ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), \
  ROW(13), ROW(14), ROW(15)

#define HPMCOUNTER(n)  ZERO(0xc00 + n, "hpmcounter" #n, EXT_ZIHPM, NEEDS_COUNTER)
#define MHPMCOUNTER(n) ZERO(0xb00 + n, "mhpmcounter" #n, -1, NEEDS_NOTHING)
#define MHPMEVENT(n)   ZERO(0x320 + n, "mhpmevent" #n, -1, NEEDS_NOTHING)
#define PMPADDR(n)     { CSR_PMPADDR0 + n, -1, NEEDS_PMP, 0, "pmpaddr" #n, 0, read_pmpaddr, write_pmpaddr }
#define PMPCFG(n)      { CSR_PMPCFG0 + n, -1, NEEDS_PMP, 0, "pmpcfg" #n, 0, read_pmpcfg, write_pmpcfg }

#define ALL UINT64_MAX

// clang-format off
static const Csr csrs[] = {
  CALLS(0x001, fflags,        EXT_F,      NEEDS_FP),
  CALLS(0x002, frm,           EXT_F,      NEEDS_FP),
  CALLS(0x003, fcsr,          EXT_F,      NEEDS_FP),

  CALLS(0x100, sstatus,       EXT_S,      NEEDS_NOTHING),
  CALLS(0x104, sie,           EXT_S,      NEEDS_NOTHING),
  GUARD(0x105, stvec,         EXT_S,      NEEDS_NOTHING),
  FIELD(0x106, scounteren,    EXT_S,      UINT32_MAX),
  GUARD(0x10a, senvcfg,       EXT_S,      NEEDS_NOTHING),
  FIELD(0x140, sscratch,      EXT_S,      ALL),
  GUARD(0x141, sepc,          EXT_S,      NEEDS_NOTHING),
  FIELD(0x142, scause,        EXT_S,      ALL),
  FIELD(0x143, stval,         EXT_S,      ALL),
  CALLS(0x144, sip,           EXT_S,      NEEDS_NOTHING),
  GUARD(0x14d, stimecmp,      EXT_SSTC,   NEEDS_STCE),
  GUARD(0x180, satp,          EXT_S,      NEEDS_VM),

  CALLS(0x300, mstatus,       -1,         NEEDS_NOTHING),
  READS(0x301, "misa",        -1,         NEEDS_NOTHING, read_misa),
  FIELD(0x302, medeleg,       EXT_S,      DELEGABLE),
  GUARD(0x303, mideleg,       EXT_S,      NEEDS_NOTHING),
  GUARD(0x304, mie,           -1,         NEEDS_NOTHING),
  GUARD(0x305, mtvec,         -1,         NEEDS_NOTHING),
  FIELD(0x306, mcounteren,    EXT_U,      UINT32_MAX),
  GUARD(0x30a, menvcfg,       EXT_U,      NEEDS_NOTHING),
  GUARD(0x320, mcountinhibit, -1,         NEEDS_NOTHING),
  EACH_3_TO_31(MHPMEVENT),
  FIELD(0x340, mscratch,      -1,         ALL),
  GUARD(0x341, mepc,          -1,         NEEDS_NOTHING),
  FIELD(0x342, mcause,        -1,         ALL),
  FIELD(0x343, mtval,         -1,         ALL),
  CALLS(0x344, mip,           -1,         NEEDS_NOTHING),
  PMPCFG(0), PMPCFG(2),
  EACH_0_TO_15(PMPADDR),

  ZERO (0x7a0, "tselect",     -1,         NEEDS_NOTHING),
  ZERO (0x7a1, "tdata1",      -1,         NEEDS_NOTHING),
  ZERO (0x7a2, "tdata2",      -1,         NEEDS_NOTHING),
  ZERO (0x7a3, "tdata3",      -1,         NEEDS_NOTHING),

  { CSR_MCYCLE,   -1, NEEDS_NOTHING, 0, "mcycle",   0, read_counter, write_counter },
  { CSR_MINSTRET, -1, NEEDS_NOTHING, 0, "minstret", 0, read_counter, write_counter },
  EACH_3_TO_31(MHPMCOUNTER),

  READS(0xc00, "cycle",       EXT_ZICNTR, NEEDS_COUNTER, read_counter),
  READS(0xc01, "time",        EXT_ZICNTR, NEEDS_COUNTER, read_time),
  READS(0xc02, "instret",     EXT_ZICNTR, NEEDS_COUNTER, read_counter),
  EACH_3_TO_31(HPMCOUNTER),

  ZERO (0xf11, "mvendorid",   -1,         NEEDS_NOTHING),
  ZERO (0xf12, "marchid",     -1,         NEEDS_NOTHING),
  ZERO (0xf13, "mimpid",      -1,         NEEDS_NOTHING),
  READS(0xf14, "mhartid",     -1,         NEEDS_NOTHING, read_mhartid),
  ZERO (0xf15, "mconfigptr",  -1,         NEEDS_NOTHING),
};
// clang-format on

_Static_assert(sizeof csrs / sizeof *csrs < 255, "rows are indexed by a byte");
_Static_assert(offsetof(Hart, mip_soft) < UINT16_MAX, "fields are named by 16 bits");

static uint8_t row_of[4096];             // row + 1, 0: no such register

__attribute__((constructor)) static void index_rows(void)
{
  for (unsigned i = 0; i < sizeof csrs / sizeof *csrs; i++) row_of[csrs[i].number] = (uint8_t)(i + 1);
}

// -- Access -------------------------------------------------------------------------------------------

static const Csr *find(const Hart *hart, unsigned number)
{
  unsigned row = row_of[number & 4095];
  if (!row) return NULL;
  const Csr *csr = &csrs[row - 1];
  if (csr->extension >= 0 && !hart_has(hart, csr->extension)) return NULL;
  return csr->needs == NEEDS_PMP && !hart->options.pmp_entries ? NULL : csr;
}

static bool allowed(Hart *hart, const Csr *csr)
{
  switch (csr->needs) {
  case NEEDS_FP: return hart->mstatus & MSTATUS_FS;
  case NEEDS_COUNTER: return counter_allowed(hart, csr->number & 31);
  case NEEDS_STCE:
    return hart->priv == PRIV_M || (hart->menvcfg & MENVCFG_STCE && hart->mcounteren >> COUNTER_TIME & 1);
  case NEEDS_VM: return hart->priv == PRIV_M || !(hart->mstatus & MSTATUS_TVM);
  default: return true;
  }
}

static uint64_t *field(Hart *hart, const Csr *csr)
{
  return (uint64_t *)((char *)hart + csr->field);
}

static uint64_t get(Hart *hart, const Csr *csr)
{
  if (csr->read) return csr->read(hart, csr->number);
  return csr->field ? *field(hart, csr) : 0;
}

static void put(Hart *hart, const Csr *csr, uint64_t value)
{
  if (csr->write) csr->write(hart, csr->number, value);
  else if (csr->field) *field(hart, csr) = value & csr->mask;
}

bool csr_modify(Hart *hart, unsigned number, int how, bool read, bool write, uint64_t operand, uint64_t *old)
{
  const Csr *csr = find(hart, number);
  bool above = (number >> 8 & 3) > hart->priv, constant = number >> 10 == 3;
  if (unlikely(!csr || above || (write && constant) || !allowed(hart, csr))) {
    hart_raise(hart, CAUSE_ILLEGAL, 0);
    return false;
  }
  uint64_t value = read || how != CSR_WRITE ? get(hart, csr) : 0;
  if (read) *old = value;
  if (!write) return true;
  if (number == CSR_MIP) value = (value & ~BIT(IRQ_SEI)) | (hart->mip_soft & BIT(IRQ_SEI));
  if (how == CSR_SET) operand |= value;
  else if (how == CSR_CLEAR) operand = value & ~operand;
  put(hart, csr, operand);
  // A counter written by an instruction does not count that instruction (manual 3.1.10, unprivileged 7.1.1).
  if (unlikely((number & ~2u) == CSR_MCYCLE) && !(hart->mcountinhibit >> (number & 0xff) & 1))
    --*counter_offset(hart, number);
  return true;
}

const char *csr_name(unsigned number)
{
  return number < 4096 && row_of[number] ? csrs[row_of[number] - 1].name : NULL;
}

bool csr_read(Hart *hart, unsigned number, uint64_t *value)
{
  const Csr *csr = number < 4096 ? find(hart, number) : NULL;
  if (!csr) return false;
  *value = get(hart, csr);
  return true;
}

bool csr_write(Hart *hart, unsigned number, uint64_t value)
{
  const Csr *csr = number < 4096 ? find(hart, number) : NULL;
  if (!csr || number >> 10 == 3) return false;
  put(hart, csr, value);
  return true;
}

void csr_reset(Hart *hart)
{
  bool s = hart_has(hart, EXT_S), u = hart_has(hart, EXT_U);
  hart->mstatus = (s ? 2ull << 34 : 0) | (u ? 2ull << 32 : 0) | (u ? 0 : MSTATUS_MPP);
  hart->mstatus_writable = mstatus_writable(hart);
  hart->epc_mask = hart_has(hart, EXT_C) ? ~1ull : ~3ull;
  hart->mie = hart->medeleg = hart->mideleg = hart->mip_soft = 0;
  hart->mtvec = hart->mepc = hart->mcause = hart->mtval = hart->mscratch = 0;
  hart->stvec = hart->sepc = hart->scause = hart->stval = hart->sscratch = 0;
  hart->mcounteren = hart->scounteren = hart->mcountinhibit = hart->menvcfg = hart->senvcfg = 0;
  hart->cycle_offset = hart->instret_offset = 0 - hart_instret(hart);
  hart->stimecmp = CLOCK_NEVER;
  stimer_update(hart);
  if (hart->guest_fp) fp_flags_clear();
  hart->fflags = hart->frm = 0;
  hart->pmp = (Pmp){ 0 };
  pmp_update(&hart->pmp);
  hart->priv = PRIV_M;
  hart->waiting = false;
  hart->reserved = NULL;
  hart->mmu.mem = hart->mem;
  hart->mmu.pmp = hart->options.pmp_entries ? &hart->pmp : NULL;
  hart->mmu.napot = hart_has(hart, EXT_SVNAPOT);
  hart->mmu.update_ad = hart->mmu.pbmt = false;
  hart_flush_all(hart);
  hart_set_satp(hart, 0);
  hart_update_fp(hart);
}
