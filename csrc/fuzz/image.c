// fuzz image: everything image.c offers, over hostile bytes.
// SPDX-License-Identifier: MIT
#include "image/image.h"
#include "base/check.h"
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
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
  return 0;
}
