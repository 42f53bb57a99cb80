// plic: SiFive's platform-level interrupt controller.
// SPDX-License-Identifier: MIT
//
// Manual: RISC-V PLIC 1.0.0. Sources are level-sensitive: the gateway passes one request on, and the next
// one only after completion. A request that was passed on stays pending even if its line falls.
#include "dev/dev.h"

enum {
  SOURCES = 1024, WORDS = SOURCES / 32, CONTEXTS = 64, PRIORITY_MAX = 7,
  PRIORITY = 0, PENDING = 0x1000, ENABLE = 0x2000, ENABLE_STRIDE = 0x80, CONTEXT = 0x200000, CONTEXT_STRIDE = 0x1000,
};

typedef struct Plic {
  Device   base;
  uint32_t sources, contexts;         // sources are numbered from 1
  Irq     *lines[SOURCES];            // what drives each source
  Irq     *outputs[CONTEXTS];
  uint8_t  priority[SOURCES];
  uint32_t pending[WORDS];
  uint32_t claimed[WORDS];            // taken by a context and not completed: the gateway is shut
  uint32_t enable[CONTEXTS][WORDS];
  uint8_t  threshold[CONTEXTS];
} Plic;

static bool bit_of(const uint32_t *bits, uint32_t i)
{
  return bits[i / 32] >> (i % 32) & 1;
}

static void bit_set(uint32_t *bits, uint32_t i, bool value)
{
  bits[i / 32] = (bits[i / 32] & ~(1u << (i % 32))) | (uint32_t)value << (i % 32);
}

// The pending source that a context should take: highest priority, then lowest number; 0 if none.
static uint32_t best_source(const Plic *plic, uint32_t context)
{
  uint32_t best = 0;
  for (uint32_t word = 0; word <= plic->sources / 32; word++) {
    for (uint32_t left = plic->pending[word] & plic->enable[context][word]; left; left &= left - 1) {
      uint32_t source = word * 32 + (uint32_t)__builtin_ctz(left);
      if (plic->priority[source] > (best ? plic->priority[best] : 0)) best = source;
    }
  }
  return best;
}

static void update(Plic *plic)
{
  for (uint32_t context = 0; context < plic->contexts; context++) {
    uint32_t source = best_source(plic, context);
    device_line(plic->outputs[context], source && plic->priority[source] > plic->threshold[context]);
  }
}

// The gateway: a raised line becomes a request unless the last one is still with a context.
static void request(Plic *plic, unsigned source)
{
  if (bit_of(plic->claimed, source)) return;
  bit_set(plic->pending, source, true);
  update(plic);
}

static void plic_line(void *sink, unsigned source, bool level)
{
  Plic *plic = sink;
  DEVICE_LOG(&plic->base, "source %u %s", source, level ? "raised" : "lowered");
  if (level) request(plic, source);
}

// A claim is not affected by the threshold (manual, "Interrupt Claim Process").
static uint32_t claim(Plic *plic, uint32_t context)
{
  uint32_t source = best_source(plic, context);
  if (!source) return 0;
  DEVICE_LOG(&plic->base, "source %u claimed by context %u", source, context);
  bit_set(plic->pending, source, false);
  bit_set(plic->claimed, source, true);
  update(plic);
  return source;
}

// A completion of a source that is not enabled for the context is ignored (manual, "Interrupt Completion").
static void complete(Plic *plic, uint32_t context, uint64_t source)
{
  if (source == 0 || source > plic->sources || !bit_of(plic->enable[context], (uint32_t)source)) return;
  if (!bit_of(plic->claimed, (uint32_t)source)) return;
  DEVICE_LOG(&plic->base, "source %u completed by context %u", (unsigned)source, context);
  bit_set(plic->claimed, (uint32_t)source, false);
  if (plic->lines[source] && plic->lines[source]->level) request(plic, (unsigned)source);
}

// Bits of word `word` that stand for sources.
static uint32_t source_mask(const Plic *plic, uint32_t word)
{
  uint32_t mask = word == 0 ? ~1u : ~0u;
  if (word > plic->sources / 32) return 0;
  if (word == plic->sources / 32) mask &= (uint32_t)(((uint64_t)2 << (plic->sources % 32)) - 1);
  return mask;
}

static uint64_t plic_read(void *device, uint64_t offset, unsigned size)
{
  Plic *plic = device;
  (void)size;
  if (offset < PENDING) return plic->priority[offset / 4];
  if (offset < ENABLE) {
    uint64_t word = (offset - PENDING) / 4;
    return word < WORDS ? plic->pending[word] : 0;
  }
  if (offset < CONTEXT) {
    uint64_t context = (offset - ENABLE) / ENABLE_STRIDE;
    return context < plic->contexts ? plic->enable[context][offset % ENABLE_STRIDE / 4] : 0;
  }
  uint32_t context = (uint32_t)((offset - CONTEXT) / CONTEXT_STRIDE);
  switch (offset % CONTEXT_STRIDE) {
  case 0: return plic->threshold[context];
  case 4: return claim(plic, context);
  default: return 0;
  }
}

static void plic_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  Plic *plic = device;
  (void)size;
  if (offset < PENDING) {
    uint64_t source = offset / 4;
    if (source == 0 || source > plic->sources) return;
    plic->priority[source] = value & PRIORITY_MAX;
  } else if (offset < ENABLE) {
    return;                                       // pending bits are read-only
  } else if (offset < CONTEXT) {
    uint64_t context = (offset - ENABLE) / ENABLE_STRIDE;
    uint32_t word = (uint32_t)(offset % ENABLE_STRIDE / 4);
    if (context >= plic->contexts) return;
    plic->enable[context][word] = (uint32_t)value & source_mask(plic, word);
  } else {
    uint32_t context = (uint32_t)((offset - CONTEXT) / CONTEXT_STRIDE);
    uint64_t at = offset % CONTEXT_STRIDE;
    if (at == 0) plic->threshold[context] = value & PRIORITY_MAX;
    if (at == 4) complete(plic, context, value);
  }
  update(plic);
}

static void plic_reset(Device *device)
{
  Plic *plic = (Plic *)device;
  for (uint32_t source = 1; source <= plic->sources; source++)
    if (plic->lines[source] && plic->lines[source]->level) bit_set(plic->pending, source, true);
  update(plic);
}

static const DeviceState plic_state[] = {
  STATE_ARRAY(Plic, priority),
  STATE_ARRAY(Plic, pending),
  STATE_ARRAY(Plic, claimed),
  { "enable", offsetof(Plic, enable), sizeof(uint32_t), CONTEXTS * WORDS },
  STATE_ARRAY(Plic, threshold),
  { 0 },
};

static const DeviceModel plic_model = {
  .name = "plic", .bytes = CONTEXT, .state = plic_state,
  .ops = { .read = plic_read, .write = plic_write, .min_size = 4, .max_size = 4 },
  .reset = plic_reset,
};

UM_EXPORT um_dev *um_plic_new(uint32_t sources, uint32_t contexts, struct um_fault *why)
{
  if (sources < 1 || sources >= SOURCES) {
    fault_set(why, UM_EINVAL, "plic: sources must be 1 to %d, not %u", SOURCES - 1, sources);
    return NULL;
  }
  if (contexts < 1 || contexts > CONTEXTS) {
    fault_set(why, UM_EINVAL, "plic: contexts must be 1 to %d, not %u", CONTEXTS, contexts);
    return NULL;
  }
  Plic *plic = device_new(&plic_model, sizeof *plic, why);
  if (!plic) return NULL;
  plic->sources = sources;
  plic->contexts = contexts;
  plic->base.bytes = CONTEXT + (uint64_t)contexts * CONTEXT_STRIDE;
  return &plic->base;
}

UM_EXPORT int um_plic_source(um_dev *device, uint32_t source, um_irq *line, struct um_fault *why)
{
  check(device->model == &plic_model);
  Plic *plic = (Plic *)device;
  if (source < 1 || source > plic->sources)
    return fault_set(why, UM_EINVAL, "plic: source must be 1 to %u, not %u", plic->sources, source);
  if (line && plic->lines[source]) return fault_set(why, UM_EINVAL, "plic: source %u has a line already", source);
  if (line) irq_connect(line, plic_line, plic, source);
  else if (plic->lines[source]) irq_connect(plic->lines[source], NULL, NULL, 0);
  plic->lines[source] = line;
  return UM_OK;
}

UM_EXPORT int um_plic_context(um_dev *device, uint32_t context, um_irq *line, struct um_fault *why)
{
  check(device->model == &plic_model);
  Plic *plic = (Plic *)device;
  if (context >= plic->contexts)
    return fault_set(why, UM_EINVAL, "plic: context must be 0 to %u, not %u", plic->contexts - 1, context);
  plic->outputs[context] = line;
  update(plic);
  return UM_OK;
}
