// counts: what a process did, and what its children did, which add theirs up in memory that all of them share.
// SPDX-License-Identifier: MIT
#include "linux/linux_int.h"
#include <string.h>
#include <sys/mman.h>

struct Family {
  _Atomic uint64_t processes, instructions, accesses, decoded, invalidated, unknown, threads, forks, signals, calls[CALLS_MOST];
};

bool counts_open(Process *p)
{
  p->family = mmap(NULL, sizeof *p->family, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p->family == MAP_FAILED) p->family = NULL;
  return p->family != NULL;
}

void counts_close(Process *p)
{
  if (p->family) munmap(p->family, sizeof *p->family);
}

void counts_add(struct um_linux_counts *counts, const Hart *hart)
{
  struct um_hart_counts blocks = { 0 };
  um_hart_counts((Hart *)(uintptr_t)hart, &blocks);
  counts->instructions += blocks.instructions;
  counts->accesses += blocks.accesses;
  counts->decoded += blocks.decoded;
  counts->invalidated += blocks.invalidated;
}

static void count(Process *p, struct um_linux_counts *counts)
{
  pthread_mutex_lock(&p->lock);
  *counts = p->counts;
  for (const Thread *t = p->threads; t; t = t->next) counts_add(counts, t->hart);
  pthread_mutex_unlock(&p->lock);
  for (unsigned i = 0; i < CALLS_MOST; i++) counts->calls += p->calls[i];
  counts->unknown = p->unknown;
  counts->signals = p->signals_delivered;
}

// What the thread's hart did before it was forked is the parent's.
void counts_forked(Process *p, const Hart *hart)
{
  struct um_linux_counts before = { 0 };
  counts_add(&before, hart);
  p->counts = (struct um_linux_counts){
    .instructions = 0 - before.instructions, .accesses = 0 - before.accesses, .decoded = 0 - before.decoded, .invalidated = 0 - before.invalidated,
  };
  for (unsigned i = 0; i < CALLS_MOST; i++) p->calls[i] = 0;
  p->unknown = p->signals_delivered = 0;
}

void counts_tell(Process *p)
{
  struct um_linux_counts counts;
  Family *family = p->family;
  count(p, &counts);
  family->processes++;
  family->instructions += counts.instructions;
  family->accesses += counts.accesses;
  family->decoded += counts.decoded;
  family->invalidated += counts.invalidated;
  family->unknown += counts.unknown;
  family->threads += counts.threads;
  family->forks += counts.forks;
  family->signals += counts.signals;
  for (unsigned i = 0; i < CALLS_MOST; i++) family->calls[i] += p->calls[i];
}

uint64_t counts_family_calls(const Process *p, unsigned number)
{
  return p->family->calls[number];
}

UM_EXPORT void um_linux_counts(const um_linux *process, struct um_linux_counts *counts)
{
  Process *p = (Process *)(uintptr_t)process;
  count(p, counts);
  counts->mapped_bytes = memory_bytes(p);
}

UM_EXPORT uint64_t um_linux_children(const um_linux *p, struct um_linux_counts *counts)
{
  const Family *family = p->family;
  *counts = (struct um_linux_counts){
    .instructions = family->instructions, .accesses = family->accesses, .decoded = family->decoded, .invalidated = family->invalidated,
    .unknown = family->unknown, .threads = family->threads, .forks = family->forks, .signals = family->signals,
  };
  for (unsigned i = 0; i < CALLS_MOST; i++) counts->calls += family->calls[i];
  return family->processes;
}
