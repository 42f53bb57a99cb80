// prompt: the function that libedit asks for its prompt. It has to be one in C, and C never calls Lua: so the text lies here.
// SPDX-License-Identifier: MIT
#include "base/check.h"
#include "base/prompt_ffi.h"
#include <string.h>

static char prompt[64];

UM_EXPORT void um_prompt_set(const char *text)
{
  size_t size = strnlen(text, sizeof prompt - 1);
  memcpy(prompt, text, size);
  prompt[size] = 0;
}

UM_EXPORT char *um_prompt(void *editor)
{
  (void)editor;
  return prompt;
}
