// irq: interrupt lines.
// SPDX-License-Identifier: MIT
#include "irq/irq.h"
#include "base/check.h"
#include <stdlib.h>

UM_EXPORT um_irq *um_irq_new(void)
{
  return calloc(1, sizeof(Irq));
}

UM_EXPORT void um_irq_free(um_irq *line)
{
  free(line);
}

UM_EXPORT void um_irq_set(um_irq *line, int level)
{
  irq_set(line, level != 0);
}

UM_EXPORT int um_irq_level(const um_irq *line)
{
  return line->level;
}

UM_EXPORT uint64_t um_irq_edges(const um_irq *line)
{
  return line->edges;
}
