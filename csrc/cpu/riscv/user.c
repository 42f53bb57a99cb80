// user: running a process's harts.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/user.h"
#include "base/fp.h"
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/tier1.h"
#include "cpu/riscv/trace.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SLICE = 16384 };            // instructions between two looks at attention: some 20 microseconds

#define DROP_ALL ((uint64_t)16 << 20)      // bytes from which on dropping everything is cheaper

// What a machine's harts share, of its own.
typedef struct UserHart {
  Hart    hart;
  Turns   turns;
  Clock   clock;
  Control control;
} UserHart;

Hart *hart_user_new(Window *window, uint64_t extensions, bool fuse, struct um_fault *why)
{
  UserHart *user = hart_memory(sizeof *user);
  Blocks *blocks = user ? blocks_new() : NULL;
  if (!blocks || !trace_init(&user->turns)) {
    if (blocks) blocks_free(blocks, NULL);
    free(user);
    fault_set(why, UM_ENOMEM, "no memory for a hart");
    return NULL;
  }
  Hart *hart = &user->hart;
  user->turns.hart[0] = hart;
  user->turns.count = 1;
  user->clock = (Clock){ .hertz = 1000000000u, .next = CLOCK_NEVER };
  user->control = (Control){ .event_fd = -1, .watch_fd = -1 };
  hart->options = (struct um_hart_options){ .extensions = extensions, .fuse = fuse };
  hart->extensions = extensions;
  hart->window = window;
  hart->tier0 = &tier0_window;
  hart->blocks = blocks;
  hart->turns = &user->turns;
  hart->clock = &user->clock;
  hart->control = &user->control;
  clock_add(hart->clock, &hart->stimer, hart_stimer_fire, hart);
  hart_user_reset(hart);
  return hart;
}

void hart_user_free(Hart *hart)
{
  if (!hart) return;
  trace_fini(hart->turns);
  blocks_free(hart->blocks, NULL);
  tier1_close(hart->tier1);
  free(hart);                      // the first member of its UserHart
}

int hart_user_engine(Hart *hart, uint32_t engine, uint32_t threshold, uint64_t code_bytes, struct um_fault *why)
{
  hart->options.engine = engine;
  hart->options.threshold = threshold;
  hart->options.code_bytes = code_bytes;
  return tier1_open(hart, why);
}

void hart_user_forked(Hart *hart)
{
  if (hart->tier1) tier1_forked(hart);
}

void hart_user_reset(Hart *hart)
{
  memset(hart->x, 0, sizeof hart->x);
  memset(hart->f, 0, sizeof hart->f);
  csr_reset(hart);
  blocks_flush(hart);
  hart->priv = PRIV_U;
  hart->mstatus |= MSTATUS_FS;
  hart->mcounteren = hart->scounteren = 7;                  // cycle, time, instret
  hart->menvcfg = hart->senvcfg = 0xf0;                     // cbo.clean, .flush, .inval as flush, .zero
  hart->skip_stop = 1;
  hart_update_context(hart);
  hart_update_fp(hart);
}

Hart *hart_user_clone(const Hart *from, struct um_fault *why)
{
  const struct um_hart_options *options = &from->options;
  Hart *hart = hart_user_new(from->window, from->extensions, options->fuse, why);
  if (!hart) return NULL;
  if (hart_user_engine(hart, options->engine, options->threshold, options->code_bytes, why) < 0) {
    hart_user_free(hart);
    return NULL;
  }
  memcpy(hart->x, from->x, sizeof hart->x);
  memcpy(hart->f, from->f, sizeof hart->f);
  hart->pc = from->pc;
  hart->fflags = from->fflags;
  hart->frm = from->frm;
  hart_update_fp(hart);
  return hart;
}

UM_EXPORT um_hart *um_hart_user(uint64_t extensions, struct um_fault *why)
{
  Window *window = calloc(1, sizeof *window);
  if (!window) fault_set(why, UM_ENOMEM, "no memory for a window");
  Hart *hart = window && window_open(window, why) >= 0 ? hart_user_new(window, extensions, false, why) : NULL;
  if (hart) return hart;
  if (window) window_close(window);
  free(window);
  return NULL;
}

UM_EXPORT void um_hart_user_free(um_hart *hart)
{
  if (!hart) return;
  Window *window = hart->window;
  hart_user_free(hart);
  window_close(window);
  free(window);
}

UM_EXPORT void *um_hart_user_map(um_hart *hart, uint64_t gva, uint64_t size, bool writable, struct um_fault *why)
{
  if ((gva | size) & 4095 || !size || !window_holds(gva, size)) {
    fault_set(why, UM_EINVAL, "no whole pages of a window: %#llx bytes at %#llx", (unsigned long long)size, (unsigned long long)gva);
    return NULL;
  }
  void *at = mmap(hart->window->base + gva, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (at == MAP_FAILED) {
    fault_set(why, UM_ENOMEM, "no memory for %#llx bytes", (unsigned long long)size);
    return NULL;
  }
  window_set(hart->window, gva, size, WINDOW_MAPPED | WINDOW_READ | (writable ? WINDOW_WRITE : 0));
  return at;
}

static void run_slice(Hart *hart)
{
  hart->slice = SLICE;
  hart->budget = SLICE;
  while (!hart->trapped && !atomic_load_explicit(&hart->control->attention, memory_order_relaxed)) {
    hart->leave = hart->again = false;
    if (!hart_run_code(hart, false)) break;
  }
  hart->retired += hart->slice - (uint64_t)(int64_t)(int32_t)hart->budget;
  hart->accesses += (uint64_t)(hart->budget >> 32);
  hart->slice = 0;
  hart->budget = 0;
}

bool hart_user_run(Hart *hart)
{
  uint32_t host_fp = fp_mxcsr_read();
  fp_mxcsr_write(fp_mxcsr(hart->frm));
  hart->guest_fp = true;
  hart->trapped = false;
  do run_slice(hart);
  while (!hart->trapped && !atomic_load_explicit(&hart->control->attention, memory_order_relaxed));
  hart->fflags |= (uint8_t)fp_flags();
  hart->guest_fp = false;
  fp_mxcsr_write(host_fp);
  return hart->trapped;
}

void hart_user_drop(Hart *hart, uint64_t gva, uint64_t size)
{
  if (size >= DROP_ALL) blocks_flush(hart);
  else blocks_written(hart, gva, size);
}
