// fuzz image: everything image.c and symbols.c offer, over hostile bytes.
// SPDX-License-Identifier: MIT
#include "image/image.h"
#include "base/check.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void probe(const uint8_t *bytes, size_t size)
{
  static const char *const names[] = { "tohost", "begin_signature", "" };
  struct um_fault why;
  struct um_image image;
  uint64_t value;
  if (um_image_probe(bytes, size, &image, &why) == UM_OK && image.kind == UM_IMAGE_ELF) {
    for (uint32_t i = 0; i < image.segments; i++) {
      struct um_image_segment segment;
      check(um_image_segment(bytes, size, i, &segment, &why) == UM_OK);
      check(segment.at >= image.low && segment.at + segment.memory_bytes <= image.high);
      check(segment.file_bytes <= size && segment.offset <= size - segment.file_bytes);
    }
  }
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) um_image_symbol(bytes, size, names[i], &value, &why);
}

static void name(const uint8_t *bytes, size_t size)
{
  struct um_fault why;
  struct um_symbol symbol, found;
  char text[64];
  um_symbols *symbols = um_symbols_new();
  check(symbols != NULL);
  int count = um_symbols_add(symbols, bytes, size, 0, &why);
  check(count <= 0 || (uint32_t)count == um_symbols_count(symbols));
  for (uint32_t i = 0; um_symbols_row(symbols, i, &symbol); i++) {
    check(um_symbols_lookup(symbols, symbol.name, &found) && strcmp(found.name, symbol.name) == 0);
    if (um_symbols_find(symbols, symbol.at, &found)) check(found.at == symbol.at || symbol.size == 0);
    check(um_symbols_text(symbols, symbol.at + 4, text, sizeof text) < (int)sizeof text);
    if (i > 64) break;
  }
  um_symbols_free(symbols);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  static const uint8_t header[64] = { [0x38] = 'R', 'S', 'C', 5 };
  probe(bytes, size);
  name(bytes, size);
  uint8_t *linux_image = malloc(sizeof header + size);
  check(linux_image != NULL);
  memcpy(linux_image, header, sizeof header);
  if (size) memcpy(linux_image + sizeof header, bytes, size);
  name(linux_image, sizeof header + size);
  free(linux_image);
  return 0;
}
