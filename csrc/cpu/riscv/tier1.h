// tier1: translated blocks beside tier 0's: when a block is translated, how it is entered and left, what drops it.
// SPDX-License-Identifier: MIT
//
// Every translated block belongs to a decoded one and goes with it. A block's first slot counts how often tier 0 enters it
// (BlockHead.heat); at 0 tier 0 leaves before the block, and the run loop has it translated and run here. What translated code cannot
// do (devices, a block longer than what is left of a slice, floating point that is not ready) it leaves to tier 0, at the exact place.
#pragma once
#include "cpu/riscv/blocks.h"

// hart->stay: tier 0 does not leave before hot blocks. ONCE: the one it is entered by.
enum { STAY_ONCE = 1, STAY = 2 };

int  tier1_open(Hart *first, struct um_fault *why);          // by hart->options, for blocks that are first's
void tier1_forked(Hart *hart);                               // this process is a child of the one that has its code
void tier1_close(Tier1 *tier1);
uint32_t tier1_heat(const Hart *hart);                       // of a new block
void tier1_begin(Turns *turns);                              // a run begins: may translated code run in it?
static inline bool tier1_takes(const Hart *hart, const Dinsn *first) { return !block_head(first)->heat && !hart->stay; }
// Runs from the hot block `first` at hart->pc on. NULL: what comes next is the run loop's; else where tier 0 goes on, at hart->pc.
const Dinsn *tier1_run(Hart *hart, const Dinsn *first);
const void *tier1_entry(Hart *hart, uint64_t gva, const Dinsn *first);      // for jumps that translated code makes there
void tier1_drop(Hart *hart, BlockHead *head);                // the block goes
void tier1_flush(Hart *hart);                                // all blocks go
void tier1_unlink(Hart *hart);                               // what pages allow has changed
