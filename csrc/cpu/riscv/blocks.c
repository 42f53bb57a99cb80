// blocks: the cache of decoded blocks: finding, decoding, linking, dropping.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/hook.h"
#include "cpu/riscv/tier1.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  ARENA_SLOTS = 1 << 22,                    // 64 MiB of address space, touched as it fills
  BODY_SLOTS = 2 * BLOCK_MOST + 2,          // at most, without hooks: each instruction with a link, and the way on
  BLOCK_SLOTS = 2 * BODY_SLOTS + 4,         // at most: the count, the ring, an early hook and two bodies; or one body with hooks
  COLD_SLOTS = (BLOCK_SLOTS * sizeof(Cold) + sizeof(Dinsn) - 1) / sizeof(Dinsn),
  SCRATCH_SLOTS = HEAD_SLOTS + BLOCK_SLOTS + COLD_SLOTS,       // at the arena's start: the one block that is not kept
  PAGE_BUCKETS = 1 << 12,
  PAGES_MOST = 1 << 13,
};

struct Blocks {
  Dinsn    *arena;
  uint64_t *starts;                         // a bit a slot: a block's first slot lies there
  uint32_t  used;                           // slots
  uint32_t  pages, alive, generation;
  uint64_t  decoded, invalidated;
  uint8_t   copy[BLOCK_MOST * 4];           // of code in a window, where others may take it away at any time
  CodePage *bucket[PAGE_BUCKETS];
};

Blocks *blocks_new(void)
{
  Blocks *blocks = calloc(1, sizeof *blocks);
  if (!blocks) return NULL;
  blocks->arena = mmap(NULL, ARENA_SLOTS * sizeof(Dinsn), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  blocks->starts = calloc(ARENA_SLOTS / 64, sizeof *blocks->starts);
  if (blocks->arena == MAP_FAILED || !blocks->starts) {
    if (blocks->arena != MAP_FAILED) munmap(blocks->arena, ARENA_SLOTS * sizeof(Dinsn));
    free(blocks->starts);
    free(blocks);
    return NULL;
  }
  blocks->used = SCRATCH_SLOTS;
  return blocks;
}

static void free_pages(Blocks *blocks, Mem *mem)
{
  for (unsigned i = 0; i < PAGE_BUCKETS; i++) {
    for (CodePage *page = blocks->bucket[i], *next; page; page = next) {
      next = page->next;
      if (mem) mem_page_clear(mem, page->gpa, PAGE_CODE);
      free(page);
    }
    blocks->bucket[i] = NULL;
  }
  blocks->pages = 0;
}

void blocks_free(Blocks *blocks, Mem *mem)
{
  if (!blocks) return;
  free_pages(blocks, mem);
  munmap(blocks->arena, ARENA_SLOTS * sizeof(Dinsn));
  free(blocks->starts);
  free(blocks);
}

uint32_t blocks_generation(const Blocks *blocks)
{
  return blocks->generation;
}

void blocks_flush(Hart *hart)
{
  Blocks *blocks = hart->blocks;
  tier1_flush(hart);
  free_pages(blocks, hart->mem);
  hart_flush_fetch(hart);                   // execute entries point at the pages just freed
  memset(blocks->starts, 0, (blocks->used + 63) / 64 * sizeof *blocks->starts);           // none lies further on
  blocks->used = SCRATCH_SLOTS;
  blocks->invalidated += blocks->alive;
  blocks->generation++;
  blocks->alive = 0;
}

BlockHead *blocks_of(const Blocks *blocks, const Dinsn *ip)
{
  size_t slot = (size_t)(ip - blocks->arena);
  debug_check(slot < ARENA_SLOTS);
  size_t word = slot / 64;
  uint64_t bits = blocks->starts[word] & (~(uint64_t)0 >> (63 - slot % 64));
  while (!bits) bits = blocks->starts[--word];
  return block_head(blocks->arena + word * 64 + (63 - (unsigned)__builtin_clzll(bits)));
}

const Cold *blocks_cold(const Blocks *blocks, const Dinsn *ip)
{
  BlockHead *head = blocks_of(blocks, ip);
  return &block_cold(head)[ip - block_first(head)];
}

int64_t blocks_refund(const Blocks *blocks, const Dinsn *ip, bool retired)
{
  BlockHead *head = blocks_of(blocks, ip);
  const Cold *cold = &block_cold(head)[ip - block_first(head)];
  const OpInfo *info = &riscv_ops[cold->op];
  int64_t count = head->count - cold->index, total = (head->packed + head->count) >> 32;
  int64_t accesses = total - cold->accesses;
  if (retired && cold->op < OPS) {
    count -= 1;
    accesses -= info->accesses;
  }
  return count - ((int64_t)((uint64_t)accesses << 32));
}

static CodePage *find_page(Blocks *blocks, uint64_t gpa)
{
  CodePage *page = blocks->bucket[(gpa >> PAGE_BITS) % PAGE_BUCKETS];
  while (page && page->gpa != (gpa & PAGE_MASK)) page = page->next;
  return page;
}

// The code of gpa's page, which lies at `host`.
static CodePage *make_page(Hart *hart, uint64_t gpa, const uint8_t *host)
{
  Blocks *blocks = hart->blocks;
  CodePage *page = find_page(blocks, gpa);
  if (page) return page;
  if (blocks->pages >= PAGES_MOST) blocks_flush(hart);
  page = calloc(1, sizeof *page);
  check(page != NULL);
  page->gpa = gpa & PAGE_MASK;
  page->host = host;
  CodePage **bucket = &blocks->bucket[(gpa >> PAGE_BITS) % PAGE_BUCKETS];
  page->next = *bucket;
  *bucket = page;
  blocks->pages++;
  return page;
}

// Building a block ----------------------------------------------------------------------------------

typedef struct Builder {
  Hart     *hart;
  Dinsn    *first;
  Cold      cold[BLOCK_SLOTS];
  unsigned  slots, count, accesses, offset;      // offset in bytes
  const Hooks *hooks;
  unsigned  hooked, hook_slot;                   // how many instructions have a slot before them; the last such slot
  HookPlace place;                               // its place
  bool      refused, counts;                     // counts: how often it is entered
} Builder;

static Dinsn *put(Builder *b, unsigned op, unsigned index)
{
  debug_check(b->slots < BLOCK_SLOTS);
  Dinsn *slot = &b->first[b->slots];
  *slot = (Dinsn){ .fn = b->hart->tier0->handlers[op] };
  b->cold[b->slots++] = (Cold){ .op = (uint16_t)op, .offset = (uint8_t)(b->offset / 2), .index = (uint8_t)index, .accesses = (uint16_t)b->accesses };
  return slot;
}

static void put_link(Builder *b, unsigned index, bool far)
{
  Link *link = (Link *)put(b, OP_DATA, index);
  link->target = NULL;
  link->delta = far ? 0 : UNLINKED;             // a far one's refund is filled in when the block is complete
}

// What somebody waits for, in a slot before the instruction at `at` of the page.
static void put_hook(Builder *b, unsigned at)
{
  HookPlace place;
  if (!hooks_weave(b->hooks, at, &place)) return;
  b->hooked++;
  b->hook_slot = b->slots;
  b->place = place;
  Dinsn *slot = put(b, OP_HOOK, b->count);
  slot->a = (uint8_t)(b->offset / 2);
  if (place.guard.compare) {
    slot->fn = b->hart->tier0->hook_guards[place.guard.compare - UM_COND_EQ];
    slot->b = place.guard.reg;
    slot->imm = place.guard.constant;
  } else if (place.exact) {
    slot->fn = b->hart->tier0->hook_at;
    slot->imm = (int32_t)place.pc;
  }
}

// Appends one decoded instruction. `at`: its offset in the page.
static void put_insn(Builder *b, unsigned op, const Decoded *d, unsigned at)
{
  const OpInfo *info = &riscv_ops[op];
  Dinsn *slot = put(b, op, b->count);
  uint8_t fields[4] = { d->a, d->b, d->c, d->d };
  if (info->pc_slot) fields[info->pc_slot - 1] = (uint8_t)(b->offset / 2);
  if (info->next_slot) fields[info->next_slot - 1] = (uint8_t)((b->offset + d->length) / 2);
  slot->a = fields[0];
  slot->b = fields[1];
  slot->c = fields[2];
  slot->d = fields[3];
  slot->imm = d->imm;
  b->count++;
  if (info->flags & OPF_DIRECT) {
    int64_t target = (int64_t)at + d->imm;
    bool far = target < 0 || target >= PAGE_BYTES;
    slot->imm = d->imm + (int32_t)b->offset;
    if (far) slot->fn = b->hart->tier0->far[op];
    put_link(b, b->count, far);
  }
  if (!hart_has(b->hart, EXT_C)) {
    if (op == OP_jal && d->imm & 2) slot->fn = b->hart->tier0->jal_misaligned;
    if (op == OP_jalr) slot->fn = b->hart->tier0->jalr_checked;
  }
  b->accesses += info->accesses;
  b->offset += d->length;
}

// What is no instruction belongs to the block too: once it is overwritten, the block must go.
static void put_bad(Builder *b, const Decoded *d)
{
  put(b, OP_BAD, b->count);
  b->offset += d->length;
}

static void put_next(Builder *b, bool far)
{
  Dinsn *slot = put(b, far ? OP_NEXT_FAR : OP_NEXT, b->count);
  slot->imm = (int32_t)b->offset;
  put_link(b, b->count, far);
}

// Early hooks ---------------------------------------------------------------------------------------
//
// A slot inside a block is a dispatch more and keeps what lies around it from being fused. If a block has one slot only, and
// nothing before it changes what it asks, it may ask at the block's head: then the block has two bodies, the first without
// the slot, the second with it, where control goes if the answer was yes.

// Whether instructions in slots [from, to) leave the registers of `mask` alone.
static bool spares(const Cold *cold, const Dinsn *first, unsigned from, unsigned to, uint32_t mask)
{
  for (unsigned i = from; i < to; i += riscv_ops[cold[i].op].width) {
    const OpInfo *info = &riscv_ops[cold[i].op];
    uint8_t number = (&first[i].a)[info->destination.slot];
    if (info->flags & OPF_STATE) return false;
    if (info->destination.file == 'x' && number < 32 && mask >> number & 1) return false;
  }
  return true;
}

// The next slot from i on with a jump to the block's own start, or `to`.
static unsigned own_loop(const Builder *b, unsigned i, unsigned to)
{
  while (i < to && !(riscv_ops[b->cold[i].op].flags & OPF_DIRECT && b->first[i].imm == 0)) i += riscv_ops[b->cold[i].op].width;
  return i < to ? i : to;
}

// Loops that leave the answer as it was need not ask again. (The ring wants every turn, so they do where there is one.)
static void note_loops(Builder *b, unsigned from, unsigned to)
{
  for (unsigned i = own_loop(b, from, to); i < to; i = own_loop(b, i + 1, to))
    b->cold[i].skips = spares(b->cold, b->first, from, i, b->place.registers) ? (uint16_t)from : 0;
}

static void ask_early(Builder *b)
{
  unsigned start = (b->hart->ring ? 1 : 0) + b->counts, at = b->hook_slot, end = b->slots, body = end - start;
  if (b->hooked != 1 || !b->place.early || !spares(b->cold, b->first, start, at, b->place.registers)) return;
  if ((at == start || !b->place.guard.compare) && own_loop(b, start, end) == end) return;      // nothing would be saved
  Dinsn early = b->first[at];
  early.fn = b->place.guard.compare ? b->hart->tier0->early_guards[b->place.guard.compare - UM_COND_EQ] : b->hart->tier0->early;
  early.c = (uint8_t)body;
  early.d = (uint8_t)(body >> 8);
  memcpy(&b->first[end], &b->first[start], body * sizeof(Dinsn));
  memcpy(&b->cold[end], &b->cold[start], body * sizeof(Cold));
  memmove(&b->first[start + 1], &b->first[start], (at - start) * sizeof(Dinsn));
  memmove(&b->cold[start + 1], &b->cold[start], (at - start) * sizeof(Cold));
  b->first[start] = early;
  b->cold[start] = (Cold){ .op = OP_HOOK };
  b->slots += body;
  if (!b->hart->ring) note_loops(b, start + 1, end);
}

static uint64_t fusion_links(const Builder *b, const unsigned *at, unsigned item)
{
  const OpInfo *info = &riscv_ops[b->cold[at[item]].op];
  unsigned digits[4] = { 0 };
  for (unsigned s = 0; s < info->sources; s++) {
    uint8_t number = (&b->first[at[item]].a)[info->source[s].slot];
    for (unsigned i = 0; i < item; i++) {
      const OpInfo *from = &riscv_ops[b->cold[at[i]].op];
      if (from->destination.file == info->source[s].file && (&b->first[at[i]].a)[from->destination.slot] == number) digits[s] = i + 1;
    }
  }
  uint8_t own = (&b->first[at[item]].a)[info->destination.slot];
  for (unsigned i = 0; i < item && info->destination.file && own != 32; i++) {
    const OpInfo *from = &riscv_ops[b->cold[at[i]].op];
    if (from->destination.file == info->destination.file && (&b->first[at[i]].a)[from->destination.slot] == own) digits[3] = i + 1;
  }
  return FUSE_LINKS(digits[0], digits[1], digits[2], digits[3]);
}

static unsigned sources_linked(uint64_t links)
{
  return !!(links & 3) + !!(links & 12) + !!(links & 48);
}

// *linked: sources that the sequence hands on in registers.
static Handler *fused_of(const Builder *b, const unsigned *at, unsigned items, unsigned *linked)
{
  uint64_t op[3] = { 0 }, links[3] = { 0 };
  for (unsigned i = 0; i < items; i++) op[i] = b->cold[at[i]].op;
  for (unsigned i = 1; i < items; i++) links[i] = fusion_links(b, at, i);
  Handler *fn = b->hart->tier0->fused(FUSE_KEY(op[0], op[1], op[2], links[1], links[2]));
  if (!fn) fn = b->hart->tier0->fused(FUSE_KEY(op[0], op[1], op[2], links[1] & 63, links[2] & 63));
  *linked = sources_linked(links[1]) + sources_linked(links[2]);
  if (fn || items != 2) return fn;
  *linked = 0;
  return b->hart->tier0->fused(FUSE_KEY(op[0], op[1], 0, 0, 0));
}

// How many instructions from slot i on may be fused, at most 3, with their slots in `at`. A sequence begins with plain
// instructions; only its last may jump, and not out of the page.
static unsigned sequence_at(const Builder *b, unsigned i, unsigned *at)
{
  unsigned items = 0;
  for (unsigned j = i; j < b->slots && items < 3; j++) {
    unsigned op = b->cold[j].op;
    if (op >= OPS || (riscv_ops[op].flags & OPF_STATE) || b->first[j].fn != b->hart->tier0->handlers[op]) break;
    at[items++] = j;
    if (riscv_ops[op].flags & (OPF_DIRECT | OPF_ENDS)) break;
  }
  return items;
}

// What a handler costs, and what a result that is handed on in a register saves: a store and a load of it that wait for
// one another cost about as much as a dispatch (docs/perf/2026-11-tier0.md). lua/tools/train_fusion.lua says the same.
enum { COST_DISPATCH = 4, SAVED_LINK = 3, COST_INSN = 12 };

// Covers the block with the cheapest handlers, from its end to its start.
static void fuse(Builder *b)
{
  unsigned cost[BLOCK_SLOTS + 2] = { 0 };            // from this slot to the end
  Handler *chosen[BLOCK_SLOTS];
  for (unsigned i = b->slots; i-- > 0;) {
    unsigned op = b->cold[i].op, at[3], linked;
    chosen[i] = NULL;
    if (op == OP_DATA) continue;
    cost[i] = COST_INSN + COST_DISPATCH + cost[i + riscv_ops[op].width];
    unsigned items = sequence_at(b, i, at);
    for (unsigned n = items; n >= 2; n--) {
      unsigned last = at[n - 1];
      Handler *fn = fused_of(b, at, n, &linked);
      unsigned all = COST_DISPATCH + n * COST_INSN - linked * SAVED_LINK + cost[last + riscv_ops[b->cold[last].op].width];
      if (!fn || all >= cost[i]) continue;
      chosen[i] = fn;
      cost[i] = all;
    }
  }
  for (unsigned i = 0; i < b->slots; i++)
    if (chosen[i]) b->first[i].fn = chosen[i];
}

static BlockHead *finish(Builder *b, uint64_t gpa)
{
  Blocks *blocks = b->hart->blocks;
  BlockHead *head = block_head(b->first);
  *head = (BlockHead){
    .gpa = gpa, .slots = (uint16_t)b->slots, .count = (uint16_t)b->count, .bytes = (uint16_t)b->offset,
    .packed = (int64_t)((uint64_t)b->accesses << 32) - b->count, .heat = b->counts ? tier1_heat(b->hart) : UINT32_MAX,
  };
  if (b->hart->options.fuse) fuse(b);
  memcpy(block_cold(head), b->cold, b->slots * sizeof(Cold));
  size_t slot = (size_t)(b->first - blocks->arena);
  blocks->starts[slot / 64] |= (uint64_t)1 << slot % 64;
  for (unsigned i = 0; i < b->slots; i += riscv_ops[b->cold[i].op].width) {
    if (!(riscv_ops[b->cold[i].op].flags & OPF_DIRECT)) continue;
    Link *link = (Link *)&b->first[i + 1];
    if (link->delta != UNLINKED) link->delta = blocks_refund(blocks, &b->first[i], true);
  }
  blocks->decoded++;
  return head;
}

// How many bytes from `at` on are in the page and not a device's, 4 at most: what a fetch would find, halfword by halfword.
static unsigned code_bytes(Hart *hart, const CodePage *page, unsigned at, bool shared)
{
  unsigned size = PAGE_BYTES - at < 4 ? PAGE_BYTES - at : 4;
  while (shared && size && !mem_ram(hart->mem, page->gpa + at, size)) size -= 2;
  return size;
}

// Where the first instruction of a block meets a device's window: as a fetch that misses the TLB.
static bool refuse(Builder *b, uint64_t gva)
{
  hart_raise(b->hart, CAUSE_FETCH_ACCESS, gva);
  b->refused = true;
  return false;
}

// Decodes at most `most` instructions that lie wholly in the page, whose bytes are at `code`, and not in a window that lies
// over a part of it. Returns false if not one does; b->refused: a fetch fault was raised.
static bool decode_run(Builder *b, const CodePage *page, const uint8_t *code, uint64_t gva, unsigned most)
{
  bool shared = b->hart->mem && mem_page_flags(b->hart->mem, page->gpa) & PAGE_SLOW;
  unsigned start = (unsigned)(gva & (PAGE_BYTES - 1)), at = start;
  if (b->counts) put(b, OP_HEAT, 0);
  if (b->hart->ring) put(b, OP_RING, 0);
  while (b->count < most) {
    if (at >= PAGE_BYTES) return put_next(b, true), true;
    unsigned size = code_bytes(b->hart, page, at, shared);
    if (!size && at == start) return refuse(b, gva);
    if (!size) break;
    uint32_t word = *(const uint16_t *)(code + at);
    if ((word & 3) == 3) {
      if (size < 4) {
        if (at != start) break;
        return at + 4 <= PAGE_BYTES && refuse(b, gva + 2);
      }
      word |= (uint32_t)*(const uint16_t *)(code + at + 2) << 16;
    }
    Decoded d = { 0 };
    put_hook(b, at);
    unsigned encoding = riscv_decode(word, b->hart->extensions, &d);
    if (!encoding) return put_bad(b, &d), true;
    unsigned op = riscv_encodings[encoding].op;
    put_insn(b, op, &d, at);
    at += d.length;
    if (riscv_ops[op].flags & OPF_ENDS) {
      if (!(riscv_ops[op].flags & OPF_STATE)) return true;
      break;
    }
  }
  put_next(b, at >= PAGE_BYTES);
  return true;
}

// An instruction whose second half lies in the next page: a block of its own, decoded anew each time, because its
// bytes come from two pages that are mapped independently.
static bool decode_straddling(Builder *b, uint64_t gva)
{
  Hart *hart = b->hart;
  uint16_t first, second;
  if (!hart_code_half(hart, gva, &first) || !hart_code_half(hart, gva + 2, &second)) return false;
  uint32_t word = first | (uint32_t)second << 16;
  Decoded d = { 0 };
  if (hart->ring) put(b, OP_RING, 0);
  put_hook(b, PAGE_BYTES - 2);
  unsigned encoding = riscv_decode(word, hart->extensions, &d);
  if (!encoding) return put_bad(b, &d), true;
  unsigned op = riscv_encodings[encoding].op;
  put_insn(b, op, &d, PAGE_BYTES - 2);
  if (riscv_ops[op].flags & OPF_DIRECT) b->first[b->slots - 2].fn = hart->tier0->far[op];
  if (!(riscv_ops[op].flags & OPF_ENDS) || (riscv_ops[op].flags & OPF_STATE)) put_next(b, true);
  return true;
}

static uint64_t granule_mask(unsigned at, unsigned bytes)
{
  unsigned first = at / 64, last = (at + bytes - 1) / 64;
  return (~(uint64_t)0 >> (63 - (last - first))) << first;
}

static void keep(Hart *hart, CodePage *page, BlockHead *head)
{
  Blocks *blocks = hart->blocks;
  unsigned at = (unsigned)(head->gpa & (PAGE_BYTES - 1));
  if (hart->window) {
    window_note_code(hart->window, page->gpa);
  } else if (!page->granules) {
    mem_page_set(hart->mem, page->gpa, PAGE_CODE);
    hart_flush_write_host(hart, page->host);
  }
  page->granules |= granule_mask(at, head->bytes ? head->bytes : 2);
  head->next = page->blocks;
  page->blocks = head;
  page->entry[at / 2] = block_first(head);
  uint32_t cold_slots = (head->slots * (uint32_t)sizeof(Cold) + sizeof(Dinsn) - 1) / sizeof(Dinsn);
  blocks->used = (uint32_t)(block_first(head) - blocks->arena) + head->slots + cold_slots;
  blocks->alive++;
}

// The bytes of the page at gva on, as an address of the page's first byte; NULL: a fetch fault was raised.
static const uint8_t *code_of(Hart *hart, const CodePage *page, uint64_t gva)
{
  if (!hart->window) return page->host;
  uint64_t offset = gva & ~PAGE_MASK, most = sizeof hart->blocks->copy;
  uint64_t size = PAGE_BYTES - offset < most ? PAGE_BYTES - offset : most;
  if (window_read(hart->window, gva, hart->blocks->copy, size)) return hart->blocks->copy - offset;
  hart_raise(hart, CAUSE_FETCH_ACCESS, gva);
  return NULL;
}

// `hooks`: what is woven in.
static const Dinsn *build_hooked(Hart *hart, CodePage *page, uint64_t gva, unsigned most, bool kept, const Hooks *hooks)
{
  Blocks *blocks = hart->blocks;
  if (blocks->used + SCRATCH_SLOTS > ARENA_SLOTS) {
    uint64_t gpa = page->gpa;
    const uint8_t *host = page->host;
    blocks_flush(hart);
    page = make_page(hart, gpa, host);
  }
  Builder b = { .hart = hart, .hooks = hooks, .first = blocks->arena + (kept ? blocks->used : 0) + HEAD_SLOTS, .counts = kept && hart->tier1 && !hart->ring };
  uint64_t gpa = page->gpa | (gva & (PAGE_BYTES - 1));
  const uint8_t *code = code_of(hart, page, gva);
  if (!code) return NULL;
  if (!decode_run(&b, page, code, gva, most)) {
    if (b.refused) return NULL;
    b = (Builder){ .hart = hart, .hooks = hooks, .first = blocks->arena + HEAD_SLOTS };
    if (!decode_straddling(&b, gva)) return NULL;
    kept = false;
  }
  if (kept) ask_early(&b);
  BlockHead *head = finish(&b, gpa);
  if (kept) keep(hart, page, head);
  return b.first;
}

static const Dinsn *build(Hart *hart, CodePage *page, uint64_t gva, unsigned most, bool kept)
{
  return build_hooked(hart, page, gva, most, kept, hart->turns->hooks);
}

static CodePage *window_page(Hart *hart, uint64_t gva)
{
  if (!hart_code(hart, gva)) return NULL;
  return make_page(hart, gva, NULL);
}

// The page of gva; *whole when every instruction in it may be fetched if the one at gva may. A page of which the PMP
// treats parts differently is never cached.
static CodePage *fetch_page(Hart *hart, uint64_t gva, bool *whole)
{
  *whole = true;
  if (hart->window) return window_page(hart, gva);
  TlbEntry *entry = tlb_entry(hart->fetch, TLB_EXECUTE, gva);
  if (likely(tlb_hit(entry, gva & ~(uint64_t)1, 2))) return (CodePage *)entry->value;
  MmuResult at;
  hart->fetch->misses[TLB_EXECUTE]++;
  if (!hart_fetch(hart, gva, &at)) return NULL;
  CodePage *page = make_page(hart, at.gpa, mem_ram(hart->mem, at.gpa, 2) - (at.gpa & ~PAGE_MASK));
  *whole = !hart->pmp.active || pmp_uniform(&hart->pmp, at.gpa);
  if (!*whole) return page;
  tlb_fill(hart->fetch, TLB_EXECUTE, gva, (uintptr_t)page);
  tlb_note_leaf(hart->fetch, gva, at.page);
  return page;
}

static bool aligned(Hart *hart, uint64_t gva)
{
  if (likely(!(gva & 2) || (hart->extensions >> EXT_C & 1))) return true;
  hart_raise(hart, CAUSE_FETCH_MISALIGNED, gva);
  return false;
}

// One instruction of a page that the PMP splits: each half of it is fetched for itself.
static const Dinsn *build_guarded(Hart *hart, CodePage *page, uint64_t gva, const Hooks *hooks)
{
  unsigned at = (unsigned)(gva & (PAGE_BYTES - 1));
  MmuResult half;
  bool second = (page->host[at] & 3) == 3 && at + 2 < PAGE_BYTES;
  if (second && !hart_fetch(hart, gva + 2, &half)) return NULL;
  return build_hooked(hart, page, gva, 1, false, hooks);
}

const Dinsn *blocks_find(Hart *hart, uint64_t gva)
{
  bool whole;
  if (!aligned(hart, gva)) return NULL;
  CodePage *page = fetch_page(hart, gva, &whole);
  if (!page) return NULL;
  if (unlikely(!whole)) return build_guarded(hart, page, gva, hart->turns->hooks);
  const Dinsn *first = page->entry[(gva & (PAGE_BYTES - 1)) / 2];
  return first ? first : build(hart, page, gva, BLOCK_MOST, true);
}

const Dinsn *blocks_partial(Hart *hart, uint64_t gva, unsigned most)
{
  bool whole;
  CodePage *page = fetch_page(hart, gva, &whole);
  if (!page) return NULL;
  return whole ? build(hart, page, gva, most, false) : build_guarded(hart, page, gva, hart->turns->hooks);
}

const Dinsn *blocks_passing(Hart *hart, uint64_t gva)
{
  bool whole;
  if (!aligned(hart, gva)) return NULL;
  CodePage *page = fetch_page(hart, gva, &whole);
  if (!page) return NULL;
  return whole ? build_hooked(hart, page, gva, 1, false, NULL) : build_guarded(hart, page, gva, NULL);
}

void blocks_note_jump(Hart *hart, uint64_t gva, const Dinsn *first)
{
  unsigned word;
  if (first == hart->blocks->arena + HEAD_SLOTS) return;           // not kept
  uint64_t bit = fetched_bit(gva, &word);
  if (hart->fetched) hart->fetched[word] |= bit;          // for sfence.vma of this page
  *hart_jump(hart, gva) = (Jump){ .gva = gva, .epoch = hart->fetch_epoch, .first = first, .code = tier1_entry(hart, gva, first) };
}

void blocks_link(Hart *hart, const Dinsn *ip, const Dinsn *target)
{
  Blocks *blocks = hart->blocks;
  BlockHead *from = blocks_of(blocks, ip), *to = block_head(target);
  bool kept = from != (BlockHead *)blocks->arena && to != (BlockHead *)blocks->arena;
  if (!kept || from->dead || ((from->gpa ^ to->gpa) & PAGE_MASK)) return;
  Link *link = (Link *)(uintptr_t)(ip + 1);
  link->target = from == to ? target + blocks_cold(blocks, ip)->skips : target;
  link->delta = blocks_refund(blocks, ip, true) + to->packed;
}

// Dropping ------------------------------------------------------------------------------------------

// Behind a block's first slots is where its own loops may lead (note_loops).
static void unlink_from(BlockHead *head, const Dinsn *target)
{
  Dinsn *first = block_first(head);
  const Cold *cold = block_cold(head);
  for (unsigned i = 0; i < head->slots; i += riscv_ops[cold[i].op].width) {
    if (!(riscv_ops[cold[i].op].flags & OPF_DIRECT)) continue;
    Link *link = (Link *)&first[i + 1];
    if (link->target >= target && link->target <= target + 2) *link = (Link){ .target = NULL, .delta = UNLINKED };
  }
}

// A dropped block may still be running, so its slots stay; only its entrance is closed.
static void drop(Hart *hart, CodePage *page, BlockHead *head)
{
  Blocks *blocks = hart->blocks;
  Dinsn *first = block_first(head);
  const Dinsn **entry = &page->entry[(head->gpa & (PAGE_BYTES - 1)) / 2];
  if (*entry == first) *entry = NULL;
  first->fn = hart->tier0->dead;
  tier1_drop(hart, head);
  head->dead = 1;
  for (BlockHead *other = page->blocks; other; other = other->next) unlink_from(other, first);
  unlink_from(head, first);
  blocks->alive--;
  blocks->invalidated++;
}

// Drops the blocks of a page with bytes in [from, to).
static void drop_between(Hart *hart, CodePage *page, uint64_t from, uint64_t to)
{
  for (BlockHead **link = &page->blocks; *link;) {
    BlockHead *head = *link;
    if (head->gpa < to && from < head->gpa + (head->bytes ? head->bytes : 2)) {
      *link = head->next;
      drop(hart, page, head);
    } else {
      link = &head->next;
    }
  }
  if (page->blocks) return;
  page->granules = 0;
  if (hart->mem) mem_page_clear(hart->mem, page->gpa, PAGE_CODE);
}

void blocks_written(void *watcher, uint64_t gpa, uint64_t size)
{
  Hart *hart = watcher;
  for (uint64_t at = gpa & PAGE_MASK; at < gpa + size; at += PAGE_BYTES) {
    CodePage *page = find_page(hart->blocks, at);
    if (!page) continue;
    uint64_t from = gpa > at ? gpa : at, to = gpa + size < at + PAGE_BYTES ? gpa + size : at + PAGE_BYTES;
    if (page->granules & granule_mask((unsigned)(from - at), (unsigned)(to - from))) drop_between(hart, page, from, to);
  }
}

void blocks_drop(Hart *hart, unsigned offset, unsigned size)
{
  for (unsigned i = 0; i < PAGE_BUCKETS; i++) {
    for (CodePage *page = hart->blocks->bucket[i]; page; page = page->next)
      if (page->granules & granule_mask(offset, size)) drop_between(hart, page, page->gpa + offset, page->gpa + offset + size);
  }
}

void blocks_drop_writable(Hart *hart)
{
  for (unsigned i = 0; i < PAGE_BUCKETS; i++)
    for (CodePage *page = hart->blocks->bucket[i]; page; page = page->next)
      if (page->blocks && window_flags(hart->window, page->gpa) & WINDOW_WRITE) blocks_written(hart, page->gpa, PAGE_BYTES);
}

void blocks_counts(const Blocks *blocks, struct um_hart_counts *counts)
{
  counts->blocks = blocks->alive;
  counts->block_bytes = (blocks->used - SCRATCH_SLOTS) * sizeof(Dinsn) + blocks->pages * sizeof(CodePage);
  counts->decoded = blocks->decoded;
  counts->invalidated = blocks->invalidated;
}
