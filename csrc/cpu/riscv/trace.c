// trace: a hart's lines in the log: instructions as Spike has them, traps, translations, accesses to devices.
// SPDX-License-Identifier: MIT
//
// docs/log.md says what the lines look like. The instructions of an exec log run one by one, each a slice of its own, and
// change the guest no more than steps do: what they load and store is seen by a TLB that never answers, while the hart's
// own is asked behind it.
#include "cpu/riscv/trace.h"
#include "base/fp.h"
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/tier0.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 128 };

bool trace_init(Turns *turns)
{
  turns->trace = calloc(1, sizeof *turns->trace);
  return turns->trace && tlb_init(&turns->trace->blind, 16);
}

void trace_fini(Turns *turns)
{
  if (turns->trace) tlb_fini(&turns->trace->blind);
  free(turns->trace);
}

void trace_begin(Turns *turns)
{
  turns->watch &= (uint8_t)~WATCH_EXEC;
  if (trace_wants(turns->hart[0], UM_LOG_EXEC)) turns->watch |= WATCH_EXEC;
}

UM_EXPORT void um_hart_symbols(um_hart *first, const um_symbols *symbols)
{
  first->turns->trace->symbols = symbols;
}

// " <name+0x10>" of an address, or nothing.
static const char *name_of(const Hart *hart, uint64_t at, char text[NAME_MOST])
{
  const Symbols *symbols = hart->turns->trace->symbols;
  text[0] = ' ';
  text[1] = '<';
  int length = symbols ? um_symbols_text(symbols, at, text + 2, NAME_MOST - 4) : 0;
  if (!length) return "";
  memcpy(text + 2 + length, ">", 2);
  return text;
}

void trace_note(Hart *hart, unsigned item, const char *format, ...)
{
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  static const char *const names[UM_LOG_ITEMS] = { "exec", "int", "mmu", "mmio", "dev" };      // ORDER log_ffi.h
  log_print(hart->mem->log, item, "%-4s core %3u: %s", names[item], (unsigned)hart->options.hartid, text);
}

// -- Instructions -------------------------------------------------------------------------------------

// What is shown after an instruction: sorted as Spike sorts its map of written registers, by number and kind.
typedef struct Shown {
  unsigned key;                    // number << 4 | kind
  uint64_t value;
} Shown;

enum { SHOWN_X, SHOWN_F, SHOWN_CSR = 4, SHOWN_MOST = 8 };
enum { CSR_FFLAGS = 1, CSR_FRM = 2, CSR_FCSR = 3, CSR_MSTATUS = 0x300, CSR_SUPERVISOR = 0x100 };

typedef struct Line {
  uint64_t pc, mstatus;
  uint32_t word, length;
  uint8_t  priv;
  const OpInfo *info;
  unsigned op;
  Decoded  d;
  Shown    shown[SHOWN_MOST];
  unsigned count;
} Line;

static void show(Line *line, unsigned number, unsigned kind, uint64_t value)
{
  unsigned key = number << 4 | kind, at = line->count;
  for (unsigned i = 0; i < line->count; i++)
    if (line->shown[i].key == key) return;
  if (at == SHOWN_MOST) return;
  for (; at > 0 && line->shown[at - 1].key > key; at--) line->shown[at] = line->shown[at - 1];
  line->shown[at] = (Shown){ key, value };
  line->count++;
}

static void show_csr(Line *line, Hart *hart, unsigned number)
{
  uint64_t value;
  if (csr_read(hart, number, &value)) show(line, number, SHOWN_CSR, value);
}

// The instruction at the start of a block.
static uint32_t word_at(Hart *hart, uint64_t gpa, uint64_t gva)
{
  const uint8_t *half = mem_ram(hart->mem, gpa, 2);
  uint32_t word = half ? (uint32_t)(half[0] | half[1] << 8) : 0;
  if ((word & 3) != 3) return word;
  MmuResult next = { .gpa = gpa + 2 };
  bool same = (gva + 2) & (PAGE_BYTES - 1);        // else the second half lies in the next page
  if (!same && !hart_fetch(hart, gva + 2, &next)) return word;
  half = mem_ram(hart->mem, next.gpa, 2);
  return half ? word | (uint32_t)(half[0] | half[1] << 8) << 16 : word;
}

static void begin_line(Hart *hart, const Dinsn *first, Line *line)
{
  *line = (Line){ .pc = hart->pc, .priv = hart->priv, .mstatus = hart->mstatus, .word = word_at(hart, block_head(first)->gpa, hart->pc) };
  unsigned encoding = riscv_decode(line->word, hart->extensions, &line->d);
  line->op = encoding ? riscv_encodings[encoding].op : OP_ILLEGAL;
  line->info = &riscv_ops[line->op];
  line->length = line->d.length;
  hart->turns->trace->seen = 0;
}

// A CSR that is a part of another one, or two in one, counts as what it is made of.
static void show_written_csr(Line *line, Hart *hart)
{
  unsigned number = line->word >> 20;
  bool sets = line->op != OP_csrrw && line->op != OP_csrrwi;
  if (sets && !(line->word >> 15 & 31)) return;                       // reads only
  if (number == CSR_FCSR) {
    show_csr(line, hart, CSR_FFLAGS);
    show_csr(line, hart, CSR_FRM);
    return;
  }
  bool alias = number == CSR_SUPERVISOR || number == 0x104 || number == 0x144;      // sstatus, sie, sip
  show_csr(line, hart, alias ? number + (CSR_MSTATUS - CSR_SUPERVISOR) : number);
}

static void show_results(Line *line, Hart *hart)
{
  const OpInfo *info = line->info;
  unsigned number = (&line->d.a)[info->destination.slot];
  if (info->destination.file == 'x' && number < 32) show(line, number, SHOWN_X, hart->x[number]);
  if (info->destination.file == 'f') show(line, number, SHOWN_F, hart->f[number]);
  if (line->op >= OP_csrrw && line->op <= OP_csrrci) show_written_csr(line, hart);
  else if (fp_flags()) show_csr(line, hart, CSR_FFLAGS);              // the slice began without any
  bool returns = line->op == OP_mret || line->op == OP_sret;
  bool dirtied = (hart->mstatus ^ line->mstatus) & MSTATUS_FS;
  if (returns || dirtied) show_csr(line, hart, CSR_MSTATUS);
}

static char *put_decimal(char *to, unsigned value)
{
  unsigned scale = 1;
  while (value / scale >= 10) scale *= 10;
  for (; scale; scale /= 10) *to++ = (char)('0' + value / scale % 10);
  return to;
}

static char *put_shown(char *to, const Shown *shown)
{
  unsigned number = shown->key >> 4, kind = shown->key & 15;
  *to++ = ' ';
  *to++ = kind == SHOWN_X ? 'x' : kind == SHOWN_F ? 'f' : 'c';
  if (kind == SHOWN_CSR) {
    to = put_decimal(to, number);
    *to++ = '_';
    to = log_word(to, csr_name(number));
  } else {
    to = put_decimal(to, number);
    if (number < 10) *to++ = ' ';
  }
  *to++ = ' ';
  return log_hex(to, shown->value, 16);
}

// " mem ADDRESS" of what was loaded, " mem ADDRESS VALUE" of what was stored.
static char *put_accesses(char *to, const Trace *trace)
{
  for (unsigned i = 0; i < trace->seen; i++)
    if (trace->access[i].read) to = log_hex(log_word(to, " mem "), trace->access[i].gva, 16);
  for (unsigned i = 0; i < trace->seen; i++) {
    const Watched *access = &trace->access[i];
    uint64_t value = access->value;
    if (!access->write) continue;
    if (access->place) memcpy(&value, access->place, access->size);   // an atomic one: what lies there now
    to = log_hex(log_word(to, " mem "), access->gva, 16);
    *to++ = ' ';
    to = log_hex(to, value, 2u * access->size);
  }
  return to;
}

static void put_line(Hart *hart, const Line *line)
{
  Log *log = hart->mem->log;
  char *to = log_line(log, UM_LOG_EXEC);
  unsigned core = (unsigned)hart->options.hartid;
  to = log_word(to, core < 10 ? "core   " : core < 100 ? "core  " : "core ");
  to = put_decimal(to, core);
  to = log_word(to, ": ");
  *to++ = (char)('0' + line->priv);
  *to++ = ' ';
  to = log_hex(to, line->pc, 16);
  to = log_word(to, " (");
  to = log_hex(to, line->word, 2 * line->length);
  *to++ = ')';
  for (unsigned i = 0; i < line->count; i++) to = put_shown(to, &line->shown[i]);
  to = put_accesses(to, hart->turns->trace);
  *to++ = '\n';
  log_end(log, UM_LOG_EXEC, to);
}

void trace_run(Hart *hart, const Dinsn *first)
{
  Line line;
  int32_t before = (int32_t)hart->budget;
  begin_line(hart, first, &line);
  hart->tier0->run(hart, first, &hart->turns->trace->blind);
  if ((int32_t)hart->budget == before) return;                        // it trapped, or waits for the host
  show_results(&line, hart);
  put_line(hart, &line);
}

void trace_access(Turns *turns, const Watched *access)
{
  Trace *trace = turns->trace;
  if (access->size <= 8 && trace->seen < sizeof trace->access / sizeof trace->access[0]) trace->access[trace->seen++] = *access;
}

// -- Traps --------------------------------------------------------------------------------------------

static const char *const exceptions[16] = {
  "fetch misaligned", "fetch access", "illegal instruction", "breakpoint", "load misaligned", "load access", "store misaligned",
  "store access", "ecall from user", "ecall from supervisor", NULL, "ecall from machine", "fetch page fault", "load page fault", NULL,
  "store page fault",
};
static const char *const interrupts[16] = {
  [IRQ_SSI] = "supervisor software", [IRQ_MSI] = "machine software", [IRQ_STI] = "supervisor timer", [IRQ_MTI] = "machine timer",
  [IRQ_SEI] = "supervisor external", [IRQ_MEI] = "machine external",
};

UM_EXPORT const char *um_riscv_trap_name(uint32_t code, bool interrupt)
{
  return code < 16 ? (interrupt ? interrupts : exceptions)[code] : NULL;
}

static const char privileges[] = "US?M";

void trace_trap(Hart *hart, uint64_t cause, uint64_t value, uint64_t pc, int priv)
{
  bool interrupt = cause >> 63;
  unsigned code = cause & 31;
  char from[NAME_MOST], to[NAME_MOST];
  const char *what = um_riscv_trap_name(code, interrupt);
  trace_note(hart, UM_LOG_INT, "@%" PRIu64 " %s %u %s: %c 0x%" PRIx64 "%s tval 0x%" PRIx64 " to %c 0x%" PRIx64 "%s", trace_count(hart),
             interrupt ? "interrupt" : "exception", code, what ? what : "reserved", privileges[priv], pc, name_of(hart, pc, from), value,
             privileges[hart->priv], hart->pc, name_of(hart, hart->pc, to));
}

// -- Translations and devices -------------------------------------------------------------------------

void trace_walk(Hart *hart, uint64_t gva, int access, bool ok, const MmuResult *result)
{
  static const char *const kinds[] = { "read", "write", "fetch" };    // ORDER ACCESS_*
  if (ok) {
    trace_note(hart, UM_LOG_MMU, "%-5s 0x%016" PRIx64 " -> 0x%" PRIx64 " page %" PRIu64 "K%s", kinds[access], gva, result->gpa,
               result->page >> 10, hart->mmu.levels ? "" : " bare");
  } else {
    trace_note(hart, UM_LOG_MMU, "%-5s 0x%016" PRIx64 " -> %s", kinds[access], gva,
               result->fault == UM_MMU_PAGE_FAULT ? "page fault" : "access fault");
  }
}

void trace_mmio(Hart *hart, const Region *region, uint64_t gpa, unsigned size, bool write, uint64_t value)
{
  uint64_t pc = hart->block_pc + 2u * blocks_cold(hart->blocks, hart->ip)->offset;
  char name[NAME_MOST];
  trace_note(hart, UM_LOG_MMIO, "0x%" PRIx64 "%s %-5s %u %s+0x%" PRIx64 " 0x%0*" PRIx64, pc, name_of(hart, pc, name), write ? "write" : "read",
             size, region->name, gpa - region->at, (int)(2 * size), value);
}
