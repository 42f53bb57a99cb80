// log: what happens in a machine as lines of text, at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_log um_log;

// ORDER log.c
enum { UM_LOG_EXEC, UM_LOG_INT, UM_LOG_MMU, UM_LOG_MMIO, UM_LOG_DEV, UM_LOG_ITEMS };

um_log  *um_log_new(void);                     // nothing is logged; NULL without memory
void     um_log_free(um_log *log);             // writes what is left
// From now on the items whose bits are in `items` (1 << UM_LOG_*) go to the file `path`, which is begun anew unless another item
// goes there already; "-" is standard error. At most `limit` bytes (0: any number) are written to it. UM_EIO, UM_ENOMEM.
int      um_log_open(um_log *log, uint32_t items, const char *path, uint64_t limit, struct um_fault *why);
void     um_log_close(um_log *log, uint32_t items);       // are logged no longer
uint32_t um_log_items(const um_log *log);      // bits of what is logged
void     um_log_flush(um_log *log);            // writes what is buffered; a run does when it comes back
// One line under `item` for each line of `text`, beginning with `name`.
void     um_log_text(um_log *log, uint32_t item, const char *name, const char *text, uint64_t size);
// Why a file was given up since this was last asked (the disk is full, its limit is reached): UM_EIO; UM_OK: none was.
int      um_log_trouble(um_log *log, struct um_fault *why);
