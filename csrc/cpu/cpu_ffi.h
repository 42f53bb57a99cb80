// cpu: harts at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_hart um_hart;

// Why um_hart_run() came back.
enum {
  UM_EXIT_BUDGET,        // the instructions asked for were executed
  UM_EXIT_TIME,          // the host time asked for is over
  UM_EXIT_HALT,          // a device switched the machine off, reset it, or the guest exited (um_control_halted)
  UM_EXIT_ATTENTION,     // kicked, or a device buffer wants to be served
  UM_EXIT_STOP,          // pc is a stop address (um_hart_stop_at)
  UM_EXIT_MMIO,          // a window that Lua serves was accessed; um_hart_answer, then run on
  UM_EXIT_STEP,          // a hart that steps (um_hart_pace) has done its instruction
  UM_EXIT_HOOK,          // something happened that a hook waits for: um_hook_take, then run on
};

struct um_exit {
  uint64_t pc;           // of the next instruction
  uint64_t executed;     // instructions retired by this run
  uint64_t block;        // guest address of the block in which the last slice of instructions ended: a fair sample
  uint64_t gpa, value;   // UM_EXIT_MMIO: where; what is stored (low `size` bytes)
  uint32_t reason;       // UM_EXIT_*
  uint32_t hart;         // index of the hart that pc and the reason are about
  uint32_t window;       // UM_EXIT_MMIO: the number given to um_mem_add_window
  uint32_t owed;         // UM_EXIT_HOOK: UM_EXIT_STOP or _STEP if the run came to that too and the next one will say so; else 0
  uint8_t  size, write;  // UM_EXIT_MMIO: 1, 2, 4 or 8 bytes; 1 for a store
};

// What runs guest code: the interpreter; translated code wherever it can; that where a block is hot; both, compared.
enum { UM_ENGINE_T0, UM_ENGINE_T1, UM_ENGINE_AUTO, UM_ENGINE_LOCKSTEP };

struct um_hart_options {
  uint64_t extensions;       // bit a extension: build/gen/riscv_ext.h (umbra.isa gives the mask)
  uint64_t hartid;           // mhartid
  uint64_t reset_pc;
  uint32_t tlb_entries;      // a kind and context: power of two, 16 to 65536
  uint32_t paging_levels;    // the most satp may hold: 0, 3 (Sv39), 4, 5
  uint32_t pmp_entries;      // 0 or 16
  bool     misaligned_trap;  // misaligned loads and stores trap instead of being done
  uint32_t engine;           // UM_ENGINE_*
  uint32_t threshold;        // UM_ENGINE_AUTO: how often tier 0 enters a block before it is translated
  uint64_t code_bytes;       // of memory for translated code
  bool     fuse;             // fused pairs and triples in tier 0
  bool     semihosting;      // slli x0,x0,0x1f; ebreak; srai x0,x0,7 reaches the host: SYS_EXIT, SYS_WRITE0, ...
};

struct um_hart_counts {
  uint64_t instructions;              // retired
  uint64_t accesses;                  // loads and stores through the TLB
  uint64_t tlb_misses[3];             // read, write, execute slow paths
  uint64_t tlb_fills, tlb_flushes;
  uint64_t walks, walk_steps;         // page-table walks and the entries they read
  uint64_t blocks, block_bytes;       // decoded blocks alive, bytes of decode cache in use
  uint64_t decoded;                   // blocks decoded so far
  uint64_t invalidated;               // blocks dropped because their bytes changed
  uint64_t exceptions[32];            // by cause
  uint64_t interrupts[32];            // by cause
  uint64_t mmio;                      // loads and stores that reached a device
  uint64_t idle_ns;                   // host time asleep in wfi
};

um_hart *um_hart_new(um_mem *mem, um_clock *clock, um_control *control, const struct um_hart_options *options, struct um_fault *why);
void     um_hart_free(um_hart *hart);
void     um_hart_reset(um_hart *hart);                             // registers 0, machine mode, pc = reset_pc
// Another hart beside the first: they run by turns and share decoded code. At most 8; freed in reverse order.
um_hart *um_hart_add(um_hart *first, uint64_t hartid, struct um_fault *why);
// All harts of `first` sleep and no timer will wake one: only the host can.
bool     um_hart_idle(const um_hart *first);
// The answer to UM_EXIT_MMIO: what a load reads, anything for a store.
int      um_hart_answer(um_hart *first, uint64_t value, struct um_fault *why);
// Declared state, for hashes and comparisons: name, bytes an element, elements. index from 0; UM_EINVAL past the end.
struct um_hart_state { char name[24]; uint32_t size, count; };
int      um_hart_state(const um_hart *hart, int index, struct um_hart_state *row, struct um_fault *why);
int      um_hart_state_read(const um_hart *hart, int index, void *to, uint64_t size, struct um_fault *why);
// Runs all harts of `hart` (the first one) for at most `budget` instructions and `host_ns` of host time. 0 or a negative status (bad arguments).
int      um_hart_run(um_hart *hart, uint64_t budget, uint64_t host_ns, struct um_exit *exit);
uint64_t um_hart_reg(const um_hart *hart, uint32_t index);         // x0 to x31
void     um_hart_set_reg(um_hart *hart, uint32_t index, uint64_t value);
uint64_t um_hart_freg(const um_hart *hart, uint32_t index);        // f0 to f31, raw bits
void     um_hart_set_freg(um_hart *hart, uint32_t index, uint64_t value);
uint64_t um_hart_pc(const um_hart *hart);
void     um_hart_set_pc(um_hart *hart, uint64_t pc);
uint32_t um_hart_priv(const um_hart *hart);                        // 0 user, 1 supervisor, 3 machine
int      um_hart_set_priv(um_hart *hart, uint32_t priv, struct um_fault *why);
int      um_hart_csr(um_hart *hart, uint32_t number, uint64_t *value, struct um_fault *why);      // as machine mode would read it
int      um_hart_set_csr(um_hart *hart, uint32_t number, uint64_t value, struct um_fault *why);   // as machine mode would write it
// Guest-virtual memory as a load would see it now (no side effects on A/D bits). UM_EGUEST names the first address that does not translate.
int      um_hart_read(um_hart *hart, uint64_t gva, void *to, uint64_t size, struct um_fault *why);
int      um_hart_write(um_hart *hart, uint64_t gva, const void *from, uint64_t size, struct um_fault *why);
int      um_hart_translate(um_hart *hart, uint64_t gva, int access, uint64_t *gpa, struct um_fault *why);  // access 0 read, 1 write, 2 execute
// The line drives a bit of mip: 3 MSIP, 7 MTIP, 9 SEIP, 11 MEIP.
int      um_hart_connect(um_hart *hart, um_irq *line, uint32_t mip_bit, struct um_fault *why);
void     um_hart_disconnect(um_hart *hart, um_irq *line);          // if that is what the line drives
int      um_hart_stop_at(um_hart *hart, uint64_t pc, bool on, struct um_fault *why);   // leave with UM_EXIT_STOP before that instruction
// How a hart takes its turns in the runs to come. UM_PACE_STEP: the run ends with UM_EXIT_STEP after its next instruction, done or
// trapped; an interrupt that is due comes first unless UM_PACE_MASKED keeps all away from it. UM_PACE_HELD: it stands still.
enum { UM_PACE_FREE, UM_PACE_STEP = 1, UM_PACE_MASKED = 2, UM_PACE_HELD = 4 };
void     um_hart_pace(um_hart *hart, uint32_t pace);
void     um_hart_counts(um_hart *hart, struct um_hart_counts *counts);
const char *um_riscv_extensions(void);                             // "i m a ...": names in the order of the mask's bits
const char *um_riscv_csr_name(uint32_t number);                    // "mstatus", or NULL
// What the decoder makes of a word: op number (1 is the first row of lua/isa/riscv, 0: illegal) and operand slots.
struct um_riscv_decoded { uint32_t op, length; uint8_t slot[4]; int32_t imm; };
void     um_riscv_decode(uint32_t word, uint64_t extensions, struct um_riscv_decoded *decoded);
// Text of the instruction in `word` at `pc` into `text`; returns its length in bytes (2 or 4), 0 if it is none under `extensions`.
int      um_riscv_disassemble(uint32_t word, uint64_t pc, uint64_t extensions, char *text, uint32_t size);
// Where the direct jump in `word` at `pc` goes. False: it is none.
bool     um_riscv_target(uint32_t word, uint64_t pc, uint64_t extensions, uint64_t *target);
// Instructions as IR (docs/ir.md). Lifts the instructions in `bytes` up to the first that ends a block; returns how many.
const um_ir_guest *um_riscv_guest(void);
int      um_riscv_lift(um_ir *ir, const void *bytes, uint64_t size, uint64_t extensions, struct um_fault *why);
// Runs `count` instructions, or exceptions they raise, by evaluating their IR: slow. Time stands still, stops are not
// looked at; ends early in wfi.
int      um_hart_evaluate(um_hart *hart, uint64_t count, uint64_t *done, struct um_fault *why);
// Translated code in the run loop (docs/tier1.md), of all harts of `hart`.
struct um_translations {
  uint64_t blocks, instructions, bytes;   // translated so far: blocks, guest instructions, host bytes
  uint64_t alive, used, size;             // blocks there are; bytes of code memory in use, in all
  uint64_t links, entries, executed;      // ways out led to other blocks; entries from C; instructions run in translated code
  uint64_t punts, refused, flushes;       // instructions left to tier 0; blocks that stay tier 0's; times that all code was forgotten
  uint64_t differences;                   // lockstep: blocks after which the states differed
  uint64_t ns, slowest_ns, slowest_pc;    // host time of translating; of the block that took longest
  int      backing;                       // UM_CODE_*
};
bool     um_hart_translations(const um_hart *hart, struct um_translations *counts);      // false: nothing is translated (engine t0)
const char *um_hart_notice(const um_hart *hart);                   // a line to tell the user of code memory, or ""
// The block that is translated for gva, the last one where there are several: its IR; its host code, what fits into `size` bytes, at
// marks[i] of which guest instruction i begins, and behind the last one what comes after it (65 marks have room). Host bytes in all;
// UM_EINVAL: there is none.
int64_t  um_hart_translated(um_hart *hart, uint64_t gva, um_ir *ir, uint8_t *host, uint64_t size, uint32_t *marks, uint32_t *insns, struct um_fault *why);
// Tells a jit of um_riscv_guest where harts have their TLB. Before the first translation.
void     um_riscv_prepare(um_jit *jit);
// The same where memory is the window of `hart`.
void     um_riscv_prepare_window(um_jit *jit, const um_hart *hart);
// A hart in user mode with a window of memory of its own, for code that is run by um_hart_run_code. NULL: no room for it.
um_hart *um_hart_user(uint64_t extensions, struct um_fault *why);
void     um_hart_user_free(um_hart *hart);
// Whole pages: fresh ones that may be read, and written if `writable`. Returns where they lie in the host, NULL: they do not fit.
void    *um_hart_user_map(um_hart *hart, uint64_t gva, uint64_t size, bool writable, struct um_fault *why);
// Runs code that a jit of um_riscv_guest made of a block at hart's pc, which is not checked.
int      um_hart_run_code(um_hart *hart, um_jit *jit, int64_t code, struct um_ir_exit *exit, struct um_fault *why);
// Names that the log gives addresses; NULL: none. They must outlive the runs.
void     um_hart_symbols(um_hart *first, const um_symbols *symbols);
const char *um_riscv_trap_name(uint32_t code, bool interrupt);     // "load page fault", or NULL
// What a hart ran last. An instruction, with its word as memory holds it now; or a trap that was taken at `pc`.
enum { UM_LAST_INSN, UM_LAST_EXCEPTION, UM_LAST_INTERRUPT };
struct um_last {
  uint64_t pc, count;        // count: instructions retired before it
  uint64_t value;            // tval
  uint32_t kind, length;     // UM_LAST_*; bytes of the instruction
  uint32_t word;             // the instruction, or the trap's cause
  uint32_t times;            // how often a trap was taken in a row
};
int      um_hart_ring(um_hart *first, uint32_t instructions, struct um_fault *why);   // its harts remember so many each from now on; 0: none
uint32_t um_hart_last(um_hart *hart, struct um_last *rows, uint32_t most);           // the newest first; how many there are
bool     um_hart_stuck(const um_hart *first);            // a hart's last trap came without an instruction since the one before it
