// irq: interrupt lines at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_irq um_irq;

// A line drives one input of a sink; a line without a sink only keeps its level.
um_irq  *um_irq_new(void);
void     um_irq_free(um_irq *line);
void     um_irq_set(um_irq *line, int level);     // level 0 or 1; the sink sees changes only
int      um_irq_level(const um_irq *line);
uint64_t um_irq_edges(const um_irq *line);        // rising edges so far
