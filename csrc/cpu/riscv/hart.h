// hart: the state of one RISC-V hart, and what its parts (CSRs, traps, tier 0, blocks) share.
// SPDX-License-Identifier: MIT
//
// x comes first, so that handlers reach registers with short displacements. x[32] is where writes
// to x0 go: decoding maps a destination 0 to 32, and x[0] stays 0 without a test.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/control.h"
#include "base/fault.h"
#include "image/image.h"
#include "ir/ir_ffi.h"
#include "irq/irq.h"
#include "jit/jit_ffi.h"
#include "mem/mem.h"
#include "mem/window.h"
#include "mmu/mmu.h"
#include "tlb/tlb.h"
#include "cpu/cpu_ffi.h"
#include "riscv_ops.h"

typedef struct um_hart Hart;
typedef struct Dinsn Dinsn;
typedef struct Blocks Blocks;
typedef struct Hooks Hooks;
typedef struct Trace Trace;
typedef struct RingRow RingRow;
typedef struct Tier0 Tier0;
typedef struct Tier1 Tier1;

enum { HARTS_MOST = 8 };
enum { WATCH_ACCESSES = 1, WATCH_TRAPS = 2, WATCH_EXEC = 4 };
enum { STOPPED_AT = 1, STOPPED_HOOK = 2 };     // um_hart_stop_at, um_hook_attach

// Harts that run by turns; they share decoded blocks. The first one owns it.
typedef struct Turns {
  Hart    *hart[HARTS_MOST];
  unsigned count, turn, last;      // last: who ran most recently
  uint64_t left, length;           // instructions of the slice: not yet run, at its start; left 0: between rounds
  uint64_t from;                   // what the hart had retired when its turn began
  uint8_t  watch;                  // WATCH_*: what slow paths have to look for
  Hooks   *hooks;                  // NULL: there were never any
  Trace   *trace;
  uint32_t owed;                   // UM_EXIT_STOP or _STEP that comes after the hits
} Turns;

// An access to a window that Lua serves: the instruction is left undone, asked about, and done again with the answer.
enum { MMIO_NONE, MMIO_ASKED, MMIO_ANSWERED };
typedef struct MmioAsk {
  uint64_t gpa, value;
  uint32_t window;
  uint8_t  size, write, state;
} MmioAsk;

// An access that a hook waits for: looked at when its instruction is complete. `place`: an atomic one, whose result lies there.
typedef struct Watched {
  uint64_t gva, pc, gpa[2], value, old;    // gpa: of the first `part` bytes, and of the rest, which lie in another page
  const void *place;
  uint8_t  size, part;                     // size 0: there is none
  bool     read, write, device;
} Watched;

// Exception causes (privileged manual, table 14).
enum {
  CAUSE_FETCH_MISALIGNED, CAUSE_FETCH_ACCESS, CAUSE_ILLEGAL, CAUSE_BREAKPOINT, CAUSE_LOAD_MISALIGNED, CAUSE_LOAD_ACCESS,
  CAUSE_STORE_MISALIGNED, CAUSE_STORE_ACCESS, CAUSE_ECALL_U, CAUSE_ECALL_S, CAUSE_ECALL_M = 11, CAUSE_FETCH_PAGE,
  CAUSE_LOAD_PAGE, CAUSE_STORE_PAGE = 15,
};

// Bits of mip and mie.
enum { IRQ_SSI = 1, IRQ_MSI = 3, IRQ_STI = 5, IRQ_MTI = 7, IRQ_SEI = 9, IRQ_MEI = 11 };

// mstatus.
#define MSTATUS_SIE  (1ull << 1)
#define MSTATUS_MIE  (1ull << 3)
#define MSTATUS_SPIE (1ull << 5)
#define MSTATUS_UBE  (1ull << 6)
#define MSTATUS_MPIE (1ull << 7)
#define MSTATUS_SPP  (1ull << 8)
#define MSTATUS_MPP  (3ull << 11)
#define MSTATUS_FS   (3ull << 13)
#define MSTATUS_MPRV (1ull << 17)
#define MSTATUS_SUM  (1ull << 18)
#define MSTATUS_MXR  (1ull << 19)
#define MSTATUS_TVM  (1ull << 20)
#define MSTATUS_TW   (1ull << 21)
#define MSTATUS_TSR  (1ull << 22)
#define MSTATUS_UXL  (3ull << 32)
#define MSTATUS_SXL  (3ull << 34)
#define MSTATUS_SD   (1ull << 63)

// Translation contexts: each has TLB arrays of its own, so that neither a change of privilege nor a
// toggle of SUM flushes anything (docs/cpu.md). Contexts S, S_SUM and U belong to an address space.
enum { CONTEXT_M, CONTEXT_S, CONTEXT_S_SUM, CONTEXT_U, CONTEXTS };

// Where indirect jumps went: an entry holds as long as its context's epoch, so dropping them all is one increment.
typedef struct Jump {
  uint64_t gva, epoch;
  const Dinsn *first;
  const void *code;                // translated, or what says that there is none; 32 bytes in all: an index is one shift
} Jump;

enum { JUMPS = 1024 };

enum { ADDRESS_SPACES = 8 };       // satp values whose translations are kept
typedef struct AddressSpace {
  uint64_t satp;
  uint64_t used_at;                // for replacement: the oldest goes
  Tlb      tlb[CONTEXTS];          // CONTEXT_M unused
  uint64_t epoch[CONTEXTS];        // of what jumps remember
  uint64_t fetched[CONTEXTS][16];  // a filter of the pages that were fetched from since the epoch began
  bool     valid;
} AddressSpace;

enum { FP_CLEAN = 1, FP_SPECIAL = 2 };   // fp_mode: FS is not Dirty; frm is RMM or reserved

struct um_hart {
  uint64_t x[33];
  uint8_t  fp_mode;                // 0: FP handlers may run at full speed
  bool     leave;                  // a helper changed what the run loop must look at: leave after this instruction
  bool     again;                  // the host was not ready: the instruction is to be done again, which is no trap
  uint8_t  frm;
  uint64_t f[32];                  // singles are NaN-boxed
  uint64_t pc;                     // valid outside of guest code
  Tlb     *fetch;                  // TLB of instruction fetch
  uint64_t fetch_epoch;            // of the context of fetches
  Tlb     *data;                   // TLB of loads and stores (MPRV and SUM considered); of a window: its first byte

  // Reservation of lr: the host address and the value seen there (value-based: ABA is not seen).
  void    *reserved;
  uint64_t reserved_value;

  // Where guest code is, for helpers that need the exact count or place (SYNC in tier0.c).
  const Dinsn *ip;
  int64_t  budget;                 // low 32 bits: instructions left of the slice; high 32: memory accesses
  uint64_t block_pc;
  uint64_t slice;                  // instructions given to the slice
  uint64_t last_block;             // where the last slice ended
  uint64_t retired;                // instructions since the reset, before the slice
  uint64_t past;                   // those before the reset: counted, but no longer state
  uint64_t accesses;

  // A trap on its way: set by hart_raise, taken by the run loop or the handler's exit.
  uint64_t trap_cause, trap_value;
  uint64_t trapped_at;             // what was retired at the last exception
  bool     barren;                 // an exception came at the same count as the one before it

  uint8_t  priv;
  bool     waiting;                // in wfi
  uint8_t  pace;                   // UM_PACE_*
  uint8_t  fflags;                 // saved; while guest code runs the host's MXCSR holds what came since
  uint64_t extensions;
  uint64_t mstatus, mie, medeleg, mideleg, mtvec, mepc, mcause, mtval, mscratch, mcounteren, mcountinhibit, menvcfg;
  uint64_t stvec, sepc, scause, stval, sscratch, scounteren, senvcfg, satp, stimecmp;
  uint64_t mip_soft;               // bits of mip that software wrote (SSIP, STIP, SEIP)
  _Atomic uint64_t mip_lines;      // bits of mip that lines drive
  uint64_t cycle_offset, instret_offset;      // mcycle = retired + offset
  Timer    stimer;                 // Sstc
  Pmp      pmp;
  Mmu      mmu;

  struct um_hart_options options;
  const Tier0 *tier0;              // the form that fits where memory is
  Window  *window;                 // a process's memory (user.c); NULL: `mem` is the machine's
  bool     trapped;                // in a window: trap_cause and trap_value wait for who runs the hart
  Mem     *mem;
  Clock   *clock;
  Control *control;
  Blocks  *blocks;
  Tier1   *tier1;                  // NULL: everything is tier 0's
  bool     in_code, punt;          // translated code runs; it leaves an instruction to tier 0
  uint8_t  stay;                   // tier1.h
  Turns   *turns;
  MmioAsk  mmio;
  uint64_t call_at, call_done;     // a semihosting call that waits for room: its address, the bytes printed
  Tlb      machine_tlb;
  uint64_t machine_epoch, epochs;  // epochs given out so far; 0 is never one
  uint64_t *fetched;               // the filter of the context of fetches, NULL: machine mode, flushed as a whole only
  AddressSpace spaces[ADDRESS_SPACES];
  AddressSpace *space;             // the current satp's
  uint64_t space_clock;
  uint64_t mstatus_writable;       // with these extensions
  uint64_t epc_mask;               // bits of mepc and sepc that may be set
  uint8_t  paging;                 // levels that satp asks for: 0 bare, 3, 4, 5
  uint8_t  data_priv;              // effective privilege of loads and stores (MPRV considered)
  bool     guest_fp;               // the run loop has loaded the guest's MXCSR
  bool     stimer_pending;         // time has reached stimecmp (Sstc)
  uint64_t skip_stop;              // the run left before the instruction here: it is not arrived at again, but done
  uint8_t  stopped;                // STOPPED_*: the run is to come back
  bool     before;                 // stopped before an instruction that was not tried
  Watched  watched;
  uint64_t forestalled, forestalled_at;    // pc of an access that a hook stopped before it was done, and what was retired then
  uint64_t exceptions[32], interrupts[32], device_accesses, idle_ns;

  RingRow *ring;                   // what was run last, NULL: nobody wants to know
  uint64_t ring_mask, ring_next;   // rows - 1; rows written so far

  // Where a handler of the trampoline build wants to go on; next_ip is NULL to leave.
  const Dinsn *next_ip;
  uint64_t next_pc;
  int64_t  next_budget;
  Tlb     *next_tlb;

  _Alignas(64) Jump jumps[JUMPS];  // a multiple of its elements from the start: an address is one shift, and none lies in two cache lines
};

void *hart_memory(size_t size);    // zeros, aligned for a hart; NULL without memory

static inline Jump *hart_jump(Hart *hart, uint64_t gva)
{
  return &hart->jumps[(gva >> 1) % JUMPS];
}

// The bit of a page in the filters `fetched`: word and mask.
static inline uint64_t fetched_bit(uint64_t gva, unsigned *word)
{
  unsigned hash = (unsigned)((gva >> PAGE_BITS) * 0x9e3779b97f4a7c15u >> 54);
  *word = hash >> 6;
  return 1ull << (hash & 63);
}

static inline bool hart_has(const Hart *hart, int extension)
{
  return hart->extensions >> extension & 1;
}

// run.c: guest code from hart->pc on, until something leaves it. False: the slice is over, though its last instructions were not run,
// because the next block is longer; `exact` has them run all the same.
bool hart_run_code(Hart *hart, bool exact);

// csr.c
enum { CSR_WRITE, CSR_SET, CSR_CLEAR };                      // csrrw, csrrs, csrrc
// One CSR instruction: *old gets the value when `read`; written with `operand` when `write`. mip needs the whole
// instruction at once: a set or clear of SEIP sees the software bit, not the line (manual 3.1.9). False: illegal
// (hart_raise was called). May set hart->leave.
bool csr_modify(Hart *hart, unsigned number, int how, bool read, bool write, uint64_t operand, uint64_t *old);
const char *csr_name(unsigned number);                       // NULL: none
bool csr_read(Hart *hart, unsigned number, uint64_t *value); // as machine mode; false: no such CSR here
bool csr_write(Hart *hart, unsigned number, uint64_t value);
void csr_reset(Hart *hart);
uint64_t hart_mip(Hart *hart);                               // lines, software bits and stimecmp together
void hart_line(void *hart, unsigned bit, bool level);        // an IrqSink
void hart_stimer_fire(void *hart);                           // what hart->stimer calls; clock_add it before csr_reset

// trap.c
void hart_raise(Hart *hart, uint64_t cause, uint64_t value); // notes an exception: the caller leaves with false
void hart_take_trap(Hart *hart, uint64_t cause, uint64_t value);  // cause with bit 63: interrupt. Uses and sets hart->pc
int  hart_pending(Hart *hart);                               // cause of the interrupt to take now, -1: none
bool hart_mret(Hart *hart);                                  // set hart->pc; false: illegal was raised
bool hart_sret(Hart *hart);
bool hart_wfi(Hart *hart);                                   // false: illegal was raised
bool hart_sfence(Hart *hart, bool has_va, uint64_t va, bool has_asid, uint64_t asid);   // sfence.vma, sinval.vma
bool hart_sfence_order(Hart *hart);                          // sfence.w.inval, sfence.inval.ir: only checked for privilege
void hart_update_context(Hart *hart);                        // after priv, mstatus, satp or menvcfg changed: chooses fetch and data TLBs
void hart_update_fp(Hart *hart);                             // after FS or frm changed
void hart_flush_all(Hart *hart);                             // every translation (PMP changed)
void hart_set_satp(Hart *hart, uint64_t satp);

// access.c
// Translates for `size` bytes in one page at privilege `priv`, PMP included, without a TLB. False: a trap was raised.
bool hart_translate(Hart *hart, uint64_t gva, unsigned size, int access, int priv, MmuResult *result);
// Where to fetch from: gva even, 2 bytes of RAM or ROM at result->gpa. False: a fetch fault was raised.
bool hart_fetch(Hart *hart, uint64_t gva, MmuResult *result);
// Where the two bytes of code at gva lie, which is even. NULL, false: a fetch fault was raised.
const uint8_t *hart_code(Hart *hart, uint64_t gva);
bool hart_code_half(Hart *hart, uint64_t gva, uint16_t *half);
// The slow path of a load or store by the hart: translation, TLB refill, misalignment, page crossing, MMIO. False: a
// trap was raised. `data` is the context's TLB. Values are zero-extended.
bool hart_load(Hart *hart, Tlb *data, uint64_t gva, unsigned size, uint64_t *value);
bool hart_store(Hart *hart, Tlb *data, uint64_t gva, unsigned size, uint64_t value);
// Host address of an aligned location for lr, sc and AMOs, with write permission when `write`; NULL: a trap was raised.
void *hart_atomic(Hart *hart, Tlb *data, uint64_t gva, unsigned size, bool write);
bool hart_zero_block(Hart *hart, Tlb *data, uint64_t gva);   // cbo.zero: 64 bytes
bool hart_cbo(Hart *hart, Tlb *data, uint64_t gva, unsigned operation);   // cbo.inval 0, .clean 1, .flush 2

// inspect.c: `size` bytes of RAM as a load would see them now, without side effects. False: it would trap, or reach a device.
bool hart_peek(Hart *hart, uint64_t gva, void *to, unsigned size);

// hart.c
void hart_fp_dirty(Hart *hart);                              // floating-point state was changed
uint64_t hart_instret(Hart *hart);                           // retired, exact at hart->ip
void hart_flush_fetch(Hart *hart);                           // every execute entry and jump
void hart_flush_data(Hart *hart);                            // every entry of loads and stores
uint64_t hart_turn_progress(const void *hart);               // instructions of the running hart since its turn began
void hart_forget_jumps(Hart *hart);                          // jumps of all contexts
void hart_flush_write_host(Hart *hart, const void *page);    // every write entry of a host page: it begins to hold code
