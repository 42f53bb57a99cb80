// image: parsers of ELF files and of the RISC-V Linux Image header over a byte buffer.
// SPDX-License-Identifier: MIT
//
// The bytes come from anywhere, so nothing is believed: every offset is compared with what is left before it is
// used, in a form that cannot overflow (`size - offset >= need` once `offset <= size` is known), and fields are read
// byte by byte, so alignment and the host's byte order do not matter.
// Layouts: System V ABI, chapters "Object Files" and "Program Loading"; Linux, Documentation/arch/riscv/boot-image-header.rst.
#include "image/image_int.h"
#include "base/check.h"
#include "base/fault.h"
#include <string.h>

enum { MOST_SEGMENTS = 256 };      // of PT_LOAD: linkers make fewer than ten; keeps the overlap check small
enum { EM_RISCV = 243, PT_LOAD = 1 };

static const struct { uint16_t machine; const char *name; } machine_names[] = {
  { 2, "SPARC" }, { 3, "x86 (32 bit)" }, { 4, "m68k" }, { 8, "MIPS" }, { 20, "PowerPC" }, { 21, "PowerPC64" }, { 22, "s390" },
  { 40, "ARM (32 bit)" }, { 42, "SuperH" }, { 43, "SPARC64" }, { 50, "IA-64" }, { 62, "x86-64" }, { 183, "AArch64" },
  { 243, "RISC-V" }, { 247, "BPF" }, { 258, "LoongArch" },
};

const char *image_machine_name(uint32_t machine)
{
  for (size_t i = 0; i < sizeof machine_names / sizeof machine_names[0]; i++)
    if (machine_names[i].machine == machine) return machine_names[i].name;
  return NULL;
}

static int refuse_machine(uint32_t machine, unsigned bits, struct um_fault *why)
{
  const char *name = image_machine_name(machine);
  if (machine == EM_RISCV) return fault_set(why, UM_EFORMAT, "not for RISC-V 64: RISC-V %u", bits);
  if (name) return fault_set(why, UM_EFORMAT, "not for RISC-V 64: %s", name);
  return fault_set(why, UM_EFORMAT, "not for RISC-V 64: ELF machine %u", machine);
}

static int elf_header(Elf *elf, Buffer file, struct um_fault *why)
{
  if (!has(file, 0, 20)) return fault_set(why, UM_EFORMAT, "truncated ELF file: %llu bytes", (unsigned long long)file.size);
  unsigned class = file.bytes[4], order = file.bytes[5];
  if (class != 1 && class != 2) return fault_set(why, UM_EFORMAT, "broken ELF file: class %u", class);
  if (order != 1 && order != 2) return fault_set(why, UM_EFORMAT, "broken ELF file: byte order %u", order);
  *elf = (Elf){ .file = file, .wide = class == 2, .machine = (uint32_t)field(file, 18, 2) };
  if (order == 2) return refuse_machine((uint32_t)file.bytes[18] << 8 | file.bytes[19], elf->wide ? 64 : 32, why);
  if (!has(file, 0, elf->wide ? 64 : 52))
    return fault_set(why, UM_EFORMAT, "truncated ELF file: %llu bytes", (unsigned long long)file.size);
  unsigned word = elf->wide ? 8 : 4, tail = elf->wide ? 52 : 40;      // tail: e_ehsize
  elf->entry     = field(file, 24, word);
  elf->ph_offset = field(file, 24 + word, word);
  elf->sh_offset = field(file, 24 + 2 * word, word);
  elf->ph_size   = (uint32_t)field(file, tail + 2, 2);
  elf->ph_count  = (uint32_t)field(file, tail + 4, 2);
  elf->sh_size   = (uint32_t)field(file, tail + 6, 2);
  elf->sh_count  = (uint32_t)field(file, tail + 8, 2);
  return UM_OK;
}

// Program header `index`: UM_OK and a filled `segment`, 1 when it is none to load, or a refusal.
static int elf_segment(const Elf *elf, uint32_t index, struct um_image_segment *segment, struct um_fault *why)
{
  Buffer file = elf->file;
  uint64_t at = elf->ph_offset + (uint64_t)index * elf->ph_size;       // inside the file: checked by elf_check
  if (field(file, at, 4) != PT_LOAD) return 1;
  if (elf->wide) {
    *segment = (struct um_image_segment){
      .flags = (uint32_t)field(file, at + 4, 4), .offset = field(file, at + 8, 8), .virtual_at = field(file, at + 16, 8),
      .at = field(file, at + 24, 8), .file_bytes = field(file, at + 32, 8), .memory_bytes = field(file, at + 40, 8),
    };
  } else {
    *segment = (struct um_image_segment){
      .offset = field(file, at + 4, 4), .virtual_at = field(file, at + 8, 4), .at = field(file, at + 12, 4),
      .file_bytes = field(file, at + 16, 4), .memory_bytes = field(file, at + 20, 4), .flags = (uint32_t)field(file, at + 24, 4),
    };
  }
  if (segment->memory_bytes == 0 && segment->file_bytes == 0) return 1;
  if (segment->file_bytes > segment->memory_bytes)
    return fault_set(why, UM_EFORMAT, "broken ELF file: segment %u has more bytes in the file than in memory", index);
  if (!has(file, segment->offset, segment->file_bytes))
    return fault_set(why, UM_EFORMAT, "truncated ELF file: segment %u ends behind the end of the file", index);
  if (segment->at + segment->memory_bytes < segment->at)
    return fault_set(why, UM_EFORMAT, "broken ELF file: segment %u wraps around the address space", index);
  return UM_OK;
}

static int elf_table(const Elf *elf, struct um_fault *why)
{
  if (elf->ph_count == 0) return fault_set(why, UM_EFORMAT, "ELF file without segments to load (an object file?)");
  if (elf->ph_size < (elf->wide ? 56u : 32u))
    return fault_set(why, UM_EFORMAT, "broken ELF file: program headers of %u bytes", elf->ph_size);
  if (!has(elf->file, elf->ph_offset, (uint64_t)elf->ph_size * elf->ph_count))
    return fault_set(why, UM_EFORMAT, "truncated ELF file: the program headers end behind the end of the file");
  return UM_OK;
}

static int probe_elf(Buffer file, struct um_image *image, struct um_fault *why)
{
  Elf elf;
  struct um_image_segment seen[MOST_SEGMENTS];
  int status = elf_header(&elf, file, why);
  if (status < 0) return status;
  if (elf.machine != EM_RISCV) return refuse_machine(elf.machine, elf.wide ? 64 : 32, why);
  if ((status = elf_table(&elf, why)) < 0) return status;
  *image = (struct um_image){ .kind = UM_IMAGE_ELF, .bits = elf.wide ? 64 : 32, .machine = elf.machine, .entry = elf.entry, .low = UINT64_MAX };
  image->header_bytes = elf.ph_offset + (uint64_t)elf.ph_size * elf.ph_count;
  for (uint32_t i = 0; i < elf.ph_count; i++) {
    struct um_image_segment *s = &seen[image->segments];
    if (image->segments == MOST_SEGMENTS)
      return fault_set(why, UM_EFORMAT, "broken ELF file: more than %d segments to load", MOST_SEGMENTS);
    status = elf_segment(&elf, i, s, why);
    if (status < 0) return status;
    if (status > 0) continue;
    for (uint32_t j = 0; j < image->segments; j++)
      if (s->at < seen[j].at + seen[j].memory_bytes && seen[j].at < s->at + s->memory_bytes)
        return fault_set(why, UM_EFORMAT, "broken ELF file: overlapping segments at 0x%llx and 0x%llx", (unsigned long long)seen[j].at,
                         (unsigned long long)s->at);
    if (s->at < image->low) image->low = s->at;
    if (s->at + s->memory_bytes > image->high) image->high = s->at + s->memory_bytes;
    image->segments++;
  }
  if (image->segments == 0) return fault_set(why, UM_EFORMAT, "ELF file without segments to load (an object file?)");
  image->memory_bytes = image->high - image->low;
  return UM_OK;
}

static int probe_linux(Buffer file, struct um_image *image, struct um_fault *why)
{
  *image = (struct um_image){ .kind = UM_IMAGE_LINUX, .bits = 64, .machine = EM_RISCV, .text_offset = field(file, 8, 8),
                              .memory_bytes = field(file, 16, 8) };
  if (field(file, 24, 8) & 1) return fault_set(why, UM_EFORMAT, "not for a little-endian hart: the Linux Image is big-endian");
  if (image->memory_bytes < file.size) image->memory_bytes = file.size;      // old kernels left the field 0
  if (image->text_offset >= UINT64_C(1) << 32 || image->memory_bytes >= UINT64_C(1) << 40)
    return fault_set(why, UM_EFORMAT, "broken Linux Image: text offset 0x%llx, image size 0x%llx", (unsigned long long)image->text_offset,
                     (unsigned long long)image->memory_bytes);
  return UM_OK;
}

// Formats that are recognized to be refused by name, instead of being run as raw bytes.
static int refuse_known(Buffer file, struct um_fault *why)
{
  static const struct { uint16_t offset; uint8_t length; const char *magic, *what; } strangers[] = {
    { 0x38,  4, "ARM\x64",            "not for RISC-V 64: an AArch64 Linux Image" },
    { 0x202, 4, "HdrS",               "not for RISC-V 64: an x86 bzImage" },
    { 0,     2, "\x1f\x8b",           "compressed with gzip: unpack it first" },
    { 0,     6, "\xfd" "7zXZ",        "compressed with xz: unpack it first" },
    { 0,     4, "\x28\xb5\x2f\xfd",   "compressed with zstd: unpack it first" },
    { 4,     4, "zimg",               "a compressed EFI kernel: unpack it first" },
    { 0,     4, "\xd0\x0d\xfe\xed",   "a device tree, not an image to run" },
    { 0,     8, "!<arch>\n",          "an archive, not an image to run" },
  };
  for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
    if (starts_with(file, strangers[i].offset, strangers[i].magic, strangers[i].length)) return fault_set(why, UM_EFORMAT, "%s", strangers[i].what);
  return UM_OK;
}

UM_EXPORT int um_image_probe(const void *bytes, uint64_t size, struct um_image *image, struct um_fault *why)
{
  Buffer file = { bytes, size };
  *image = (struct um_image){ 0 };
  if (size == 0) return fault_set(why, UM_EFORMAT, "empty file");
  if (starts_with(file, 0, "\x7f" "ELF", 4)) return probe_elf(file, image, why);
  if (has(file, 0, 64) && starts_with(file, 0x38, "RSC\x05", 4)) return probe_linux(file, image, why);
  int status = refuse_known(file, why);
  if (status < 0) return status;
  *image = (struct um_image){ .kind = UM_IMAGE_RAW, .bits = 64, .machine = EM_RISCV, .memory_bytes = size };
  return UM_OK;
}

int elf_open(Elf *elf, Buffer file, struct um_fault *why)
{
  if (!starts_with(file, 0, "\x7f" "ELF", 4)) return fault_set(why, UM_EINVAL, "not an ELF file");
  return elf_header(elf, file, why);
}

UM_EXPORT int um_image_segment(const void *bytes, uint64_t size, uint32_t index, struct um_image_segment *segment, struct um_fault *why)
{
  Elf elf;
  int status = elf_open(&elf, (Buffer){ bytes, size }, why);
  if (status < 0 || (status = elf_table(&elf, why)) < 0) return status;
  uint32_t found = 0;
  for (uint32_t i = 0; i < elf.ph_count; i++) {
    status = elf_segment(&elf, i, segment, why);
    if (status < 0) return status;
    if (status == UM_OK && found++ == index) return UM_OK;
  }
  return fault_set(why, UM_EINVAL, "ELF file has %u segments to load, no number %u", found, index);
}
