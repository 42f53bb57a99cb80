// blocks: decoded blocks by physical page, as tier 0 runs them.
// SPDX-License-Identifier: MIT
//
// A block is a straight run of decoded instructions inside one guest page; conditional branches lie
// within it and fall through. In memory: head, slots of 16 bytes, then one Cold a slot. A direct jump
// takes two slots, the second is its link. Entering a block charges all its instructions and accesses
// to the budget at once (head.packed); a link's delta gives back what a taken branch skips and charges
// the target, so that a hop is one addition and one test.
#pragma once
#include "cpu/riscv/decode.h"
#include "cpu/riscv/hart.h"

#define ARGS const Dinsn *ip, Hart *h, uint64_t pc, int64_t budget, Tlb *tlb
typedef void Handler(ARGS);          // pc: guest address of the block's first byte; tlb: of data, in a window its first byte

struct Dinsn {
  Handler *fn;
  uint8_t  a, b, c, d;
  int32_t  imm;                      // direct jumps: target relative to the block's start
};

typedef struct Link {
  const Dinsn *target;               // NULL until linked
  int64_t delta;
} Link;
_Static_assert(sizeof(Dinsn) == 16 && sizeof(Link) == 16, "a link lies in a slot");

// Makes every budget test fail: the slow path links, and does not charge this.
#define UNLINKED (-((int64_t)1 << 30))

typedef struct BlockHead {
  uint64_t gpa;                      // of the first byte
  struct BlockHead *next;            // of the same page
  uint16_t slots, count;             // slots; instructions
  uint16_t bytes, dead;
  int64_t  packed;                   // (accesses << 32) - count
  uint32_t heat;                     // tier 0 enters it so often before it is translated; 0: it is to be
  uint32_t code;                     // tier1.c
  uint64_t unused;
} BlockHead;
enum { HEAD_SLOTS = 3 };
_Static_assert(sizeof(BlockHead) == HEAD_SLOTS * sizeof(Dinsn), "a head is whole slots");

typedef struct Cold {
  uint16_t op;
  uint8_t  offset;                   // halfwords from the block's start
  uint8_t  index;                    // instructions before this one
  uint16_t accesses;                 // memory accesses before this one
  uint16_t skips;                    // slots of its own block that a jump to its start leaves out
} Cold;

enum { BLOCK_MOST = 64, PAGE_ENTRIES = PAGE_BYTES / 2 };

// A guest page that holds decoded code. Execute entries of the TLBs point here.
typedef struct CodePage {
  const Dinsn *entry[PAGE_ENTRIES];  // by halfword: first slot of the block that starts there, or NULL
  uint64_t gpa;
  const uint8_t *host;
  uint64_t granules;                 // 64-byte pieces that some block covers
  BlockHead *blocks;
  struct CodePage *next;             // in the hash chain
} CodePage;

static inline BlockHead *block_head(const Dinsn *first) { return (BlockHead *)(uintptr_t)(first - HEAD_SLOTS); }
static inline Dinsn *block_first(const BlockHead *head) { return (Dinsn *)(uintptr_t)head + HEAD_SLOTS; }
static inline Cold *block_cold(const BlockHead *head) { return (Cold *)(block_first(head) + head->slots); }

Blocks *blocks_new(void);
void blocks_free(Blocks *blocks, Mem *mem);
uint32_t blocks_generation(const Blocks *blocks);                      // changes when everything is dropped
void blocks_flush(Hart *hart);                                        // drops every block; nothing may be running one afterwards
BlockHead *blocks_of(const Blocks *blocks, const Dinsn *ip);          // the block a slot lies in
const Cold *blocks_cold(const Blocks *blocks, const Dinsn *ip);
// The block at gva in the current fetch context, decoded if need be. NULL: a fetch fault was raised (hart->trap_*).
const Dinsn *blocks_find(Hart *hart, uint64_t gva);
// A block of at most `most` instructions at gva that is not kept: for the rest of a budget.
const Dinsn *blocks_partial(Hart *hart, uint64_t gva, unsigned most);
// Remembers where a jump to gva leads in the current fetch context.
void blocks_note_jump(Hart *hart, uint64_t gva, const Dinsn *first);
// Links the direct jump at ip to target if both lie in one page.
void blocks_link(Hart *hart, const Dinsn *ip, const Dinsn *target);
const Dinsn *blocks_passing(Hart *hart, uint64_t gva);                 // one instruction, not kept, past whatever is hooked there
// Drops the blocks that cover any of `size` bytes at `offset` of their page: another slot is to be woven in. None may be running.
void blocks_drop(Hart *hart, unsigned offset, unsigned size);
void blocks_written(void *hart, uint64_t gpa, uint64_t size);         // a CodeWatch
void blocks_drop_writable(Hart *hart);                                // in a window: blocks of pages that the guest may write
void blocks_counts(const Blocks *blocks, struct um_hart_counts *counts);
int64_t blocks_refund(const Blocks *blocks, const Dinsn *ip, bool retired);   // what leaving at ip gives back to the budget

// Tier 0 in one of its forms (tier0.c), which differ in how guest memory is reached.
typedef struct Tier0 {
  Handler *const *handlers;          // by op
  Handler *const *far;               // by op: direct jumps that leave the page
  Handler *dead;
  Handler *passes;                   // a first slot that counts no more
  // Without C a jump to half of a word traps before it writes its link (unprivileged manual 2.5.1).
  Handler *jal_misaligned, *jalr_checked;
  // Slots before an instruction that somebody waits for; Dinsn.a is its place in the block. _at: imm has the low bits of
  // the only address; guards (by UM_COND_EQ to _GE, from 0): x[b] is compared with imm first.
  Handler *hook_at, *hook_guards[6];
  // Likewise at a block's head, about a slot in its second body, which lies c + 256 d slots on.
  Handler *early, *early_guards[6];
  Handler *(*fused)(uint64_t key);   // NULL: none
  // Runs from `first` (the block at hart->pc) until something leaves guest code; hart->pc and hart->budget are right then.
  // hart->budget must cover the block. `data`: what its loads and stores go by, hart->data but for traces.
  void (*run)(Hart *hart, const Dinsn *first, Tlb *data);
} Tier0;
extern const Tier0 tier0_tlb, tier0_window;

#define FUSE_LINKS(a, b, c, over) ((a) | (b) << 2 | (c) << 4 | (over) << 6)
#define FUSE_KEY(first, second, third, links2, links3) \
  ((uint64_t)(first) | (uint64_t)(second) << 12 | (uint64_t)(third) << 24 | (uint64_t)(links2) << 40 | (uint64_t)(links3) << 48)
typedef struct Fused { uint64_t key; Handler *fn; } Fused;
