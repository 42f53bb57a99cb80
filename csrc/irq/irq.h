// irq: a line from a device to a controller or hart input; knows neither.
// SPDX-License-Identifier: MIT
//
// Lines are level-sensitive wires. Only the thread that runs the harts sets them.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "irq/irq_ffi.h"

typedef struct um_irq Irq;
typedef void IrqSink(void *sink, unsigned input, bool level);

struct um_irq {
  IrqSink *set;        // NULL: not connected
  void    *sink;
  unsigned input;      // which of the sink's inputs
  bool     level;
  uint64_t edges;
};

static inline void irq_connect(Irq *line, IrqSink *set, void *sink, unsigned input)
{
  line->set = set;
  line->sink = sink;
  line->input = input;
  if (set && line->level) set(sink, input, true);
}

static inline void irq_set(Irq *line, bool level)
{
  if (line->level == level) return;
  line->level = level;
  line->edges += level;
  if (line->set) line->set(line->sink, line->input, level);
}
