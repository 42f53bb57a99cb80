// prompt: what a line editor shows before the line.
// SPDX-License-Identifier: MIT
#pragma once

void  um_prompt_set(const char *text);    // at most 63 bytes of it; one a process
char *um_prompt(void *editor);            // what libedit's EL_PROMPT takes
