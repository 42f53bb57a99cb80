// rng: virtio's entropy source, from the host or from a seed.
// SPDX-License-Identifier: MIT
//
// Manual: 5.4.
#include "dev/virtio/virtio.h"
#include <endian.h>
#include <sys/random.h>

enum { REQUEST_BYTES_MAX = 64 << 10 };  // the device may give less than asked for; this bounds the work of one request

typedef struct Rng {
  Virtio   virtio;
  uint64_t seed;                      // 0: the host's entropy
  uint64_t state;
} Rng;

// splitmix64: all 2^64 values once a period.
static uint64_t next_word(Rng *rng)
{
  uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

// Fills `words`; false where the host has no entropy to give.
static bool fill(Rng *rng, uint64_t *words, unsigned count)
{
  if (!rng->seed) return getrandom(words, count * sizeof *words, 0) == (ssize_t)(count * sizeof *words);
  for (unsigned i = 0; i < count; i++) words[i] = htole64(next_word(rng));
  return true;
}

static void rng_serve(Virtio *virtio, unsigned queue)
{
  Rng *rng = (Rng *)virtio;
  Chain chain;
  while (queue_next(virtio, queue, &chain)) {
    uint64_t words[32];                           // 256 bytes: getrandom never gives less of so little
    uint32_t done = 0, wanted = chain.writable_bytes < REQUEST_BYTES_MAX ? (uint32_t)chain.writable_bytes : REQUEST_BYTES_MAX;
    while (done < wanted && fill(rng, words, 32))
      done += chain_write(virtio, &chain, done, words, wanted - done < sizeof words ? wanted - done : sizeof words);
    queue_done(virtio, queue, &chain, done);
  }
}

static void rng_reset(Device *device)
{
  Rng *rng = (Rng *)device;
  rng->state = rng->seed;
  virtio_reset(&rng->virtio);
}

static const DeviceState rng_state[] = {
  VIRTIO_STATE(Rng),
  STATE(Rng, state),
  { 0 },
};

static const DeviceModel rng_model = { VIRTIO_MODEL, .name = "virtio_rng", .state = rng_state, .reset = rng_reset };

static const VirtioKind rng_kind = { .id = 4, .queues = 1, .serve = rng_serve };

UM_EXPORT um_dev *um_virtio_rng_new(uint64_t seed, um_irq *line, struct um_fault *why)
{
  Rng *rng = device_new(&rng_model, sizeof *rng, why);
  if (!rng) return NULL;
  rng->seed = rng->state = seed;
  virtio_init(&rng->virtio, &rng_kind, 0, line);
  return &rng->virtio.base;
}
