// load: ELF files and scripts become what runs: segments, interpreter, stack, auxiliary vector.
// SPDX-License-Identifier: MIT
//
// image_open reads and checks everything that may be refused; image_run has nothing to refuse but a lack of memory, because what
// ran before is gone by then. Layout as Linux has it for Sv39.
#include "linux/linux_int.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u
#define STACK_TOP (WINDOW_BYTES - PAGE)
#define PIE_BASE (WINDOW_BYTES / 3 * 2 & ~(uint64_t)(PAGE - 1))
#define STRINGS_MOST ((size_t)2 << 20)       // of arguments and environment, as a quarter of a stack of 8 MiB

enum { HEADERS_MOST = 64, SCRIPT_LINE = 256, SCRIPTS_MOST = 4 };

// A file to be mapped.
typedef struct Elf {
  int        fd;
  char       path[PATH_MOST];                // of the host
  Elf64_Ehdr head;
  Elf64_Phdr row[HEADERS_MOST];
  uint64_t   low, high, end;                 // addresses of its segments, whole pages; of the last byte
  bool       executable_stack;
} Elf;

struct Image {
  Elf    program, interpreter;
  bool   dynamic;
  char  *strings;                            // argv, then envp, each with its zero
  size_t bytes;
  unsigned argc, envc;
  char   name[PATH_MOST];                    // as the guest called it: AT_EXECFN
};

void image_free(Image *image)
{
  if (!image) return;
  if (image->program.fd >= 0) close(image->program.fd);
  if (image->interpreter.fd >= 0) close(image->interpreter.fd);
  free(image->strings);
  free(image);
}

// -- Checking -------------------------------------------------------------------------------------------------------------

static int refuse(int *error, int number, struct um_fault *why, const char *path, const char *text)
{
  *error = number;
  return fault_set(why, UM_EFORMAT, "%s: %s", path, text);
}

static int check_head(const Elf *elf, const char *path, int *error, struct um_fault *why)
{
  const Elf64_Ehdr *head = &elf->head;
  if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) return refuse(error, ENOEXEC, why, path, "not an ELF file");
  if (head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_ident[EI_DATA] != ELFDATA2LSB)
    return refuse(error, ENOEXEC, why, path, "an ELF file for 32 bits or with its big end first; a riscv64 program was expected");
  if (head->e_machine != EM_RISCV) {
    *error = head->e_machine == EM_X86_64 ? IMAGE_HOST : ENOEXEC;
    return fault_set(why, UM_EFORMAT, "%s: a program for another architecture (ELF machine %d); riscv64 (%d) was expected", path, head->e_machine, EM_RISCV);
  }
  if (head->e_type != ET_EXEC && head->e_type != ET_DYN) return refuse(error, ENOEXEC, why, path, "an ELF file, but no program (object file or core)");
  if (head->e_phentsize != sizeof(Elf64_Phdr) || head->e_phnum == 0 || head->e_phnum > HEADERS_MOST)
    return refuse(error, ENOEXEC, why, path, "damaged: its program headers make no sense");
  return UM_OK;
}

static int check_segment(Elf *elf, const Elf64_Phdr *row, uint64_t file_bytes, const char *path, int *error, struct um_fault *why)
{
  bool fits = row->p_memsz >= row->p_filesz && row->p_offset <= file_bytes && row->p_filesz <= file_bytes - row->p_offset;
  if (!fits) return refuse(error, ENOEXEC, why, path, "truncated: a segment reaches past the end of the file");
  if ((row->p_vaddr ^ row->p_offset) & (PAGE - 1)) return refuse(error, ENOEXEC, why, path, "damaged: a segment is not aligned to pages");
  if (!window_holds(row->p_vaddr, row->p_memsz) || row->p_vaddr + row->p_memsz > STACK_TOP)
    return refuse(error, ENOMEM, why, path, "a segment does not fit into the address space of 256 GiB");
  uint64_t from = row->p_vaddr & ~(uint64_t)(PAGE - 1), to = (row->p_vaddr + row->p_memsz + PAGE - 1) & ~(uint64_t)(PAGE - 1);
  if (row->p_vaddr < elf->end) return refuse(error, ENOEXEC, why, path, "damaged: its segments overlap or are not in order");
  if (elf->low == UINT64_MAX) elf->low = from;
  elf->high = to;
  elf->end = row->p_vaddr + row->p_memsz;
  return UM_OK;
}

static int check_rows(Elf *elf, const char *path, int *error, struct um_fault *why)
{
  struct stat st;
  if (fstat(elf->fd, &st) < 0) return refuse(error, errno, why, path, strerror(errno));
  elf->low = UINT64_MAX;
  for (unsigned i = 0; i < elf->head.e_phnum; i++) {
    const Elf64_Phdr *row = &elf->row[i];
    if (row->p_type == PT_LOAD && row->p_memsz) {
      int status = check_segment(elf, row, (uint64_t)st.st_size, path, error, why);
      if (status < 0) return status;
    }
    if (row->p_type == PT_GNU_STACK) elf->executable_stack = row->p_flags & PF_X;
  }
  if (elf->low == UINT64_MAX) return refuse(error, ENOEXEC, why, path, "has no segment to load");
  if (elf->head.e_type == ET_EXEC && elf->low < 0x10000) return refuse(error, EPERM, why, path, "wants to lie below address 0x10000");
  if (elf->high - elf->low > WINDOW_BYTES / 4) return refuse(error, ENOMEM, why, path, "takes more than 64 GiB");
  return UM_OK;
}

// Opens, reads and checks; elf->path is the host's.
static int open_elf(Elf *elf, const char *name, int *error, struct um_fault *why)
{
  elf->fd = open(elf->path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (elf->fd < 0 || fstat(elf->fd, &st) < 0) {
    *error = errno;
    return fault_set(why, UM_EIO, "cannot open %s: %s", name, strerror(errno));
  }
  if (!S_ISREG(st.st_mode)) return refuse(error, EACCES, why, name, S_ISDIR(st.st_mode) ? "is a folder" : "is no file");
  ssize_t got = pread(elf->fd, &elf->head, sizeof elf->head, 0);
  if (got < SELFMAG || memcmp(elf->head.e_ident, ELFMAG, SELFMAG) != 0) return refuse(error, ENOEXEC, why, name, got == 0 ? "is empty" : "not an ELF file");
  if (got < (ssize_t)sizeof elf->head) return refuse(error, ENOEXEC, why, name, "truncated: the file ends within its header");
  int status = check_head(elf, name, error, why);
  if (status < 0) return status;
  size_t size = elf->head.e_phnum * sizeof(Elf64_Phdr);
  if (elf->head.e_phoff > INT64_MAX || pread(elf->fd, elf->row, size, (off_t)elf->head.e_phoff) != (ssize_t)size)
    return refuse(error, ENOEXEC, why, name, "truncated: the file ends within its program headers");
  return check_rows(elf, name, error, why);
}

static int find_interpreter(Process *p, Image *image, int *error, struct um_fault *why)
{
  const Elf *program = &image->program;
  for (unsigned i = 0; i < program->head.e_phnum; i++) {
    const Elf64_Phdr *row = &program->row[i];
    if (row->p_type != PT_INTERP) continue;
    char name[PATH_MOST];
    if (row->p_filesz < 2 || row->p_filesz > sizeof name || row->p_offset > INT64_MAX ||
        pread(program->fd, name, row->p_filesz, (off_t)row->p_offset) != (ssize_t)row->p_filesz || name[row->p_filesz - 1])
      return refuse(error, ENOEXEC, why, program->path, "damaged: the name of its interpreter is unreadable");
    image->dynamic = true;
    if (path_find_real(p, AT_FDCWD, name, PATH_FOLLOW | PATH_READS, image->interpreter.path) < 0 || access(image->interpreter.path, F_OK) < 0) {
      *error = ENOENT;
      return p->sysroot ? fault_set(why, UM_EIO, "%s needs the interpreter %s, which is not below --sysroot %s", program->path, name, p->sysroot)
                        : fault_set(why, UM_EIO, "%s needs the interpreter %s; --sysroot DIR names where a riscv64 system lies", program->path, name);
    }
    return open_elf(&image->interpreter, name, error, why);
  }
  return UM_OK;
}

// -- Arguments ------------------------------------------------------------------------------------------------------------

static bool add_string(Image *image, const char *text, size_t *room)
{
  size_t size = strlen(text) + 1;
  if (image->bytes + size > STRINGS_MOST) return false;
  if (image->bytes + size > *room) {
    size_t wanted = 2 * (*room + size);
    char *strings = realloc(image->strings, wanted);
    if (!strings) return false;
    image->strings = strings;
    *room = wanted;
  }
  memcpy(image->strings + image->bytes, text, size);
  image->bytes += size;
  return true;
}

// `before`: what a script puts in front of the arguments, in the place of the first.
static bool add_strings(Image *image, char *const *before, unsigned before_count, const char *const *argv, const char *const *envp)
{
  size_t room = 0;
  for (unsigned i = 0; i < before_count; i++, image->argc++)
    if (!add_string(image, before[i], &room)) return false;
  for (const char *const *text = argv + (before_count && *argv ? 1 : 0); *text; text++, image->argc++)
    if (!add_string(image, *text, &room)) return false;
  for (const char *const *text = envp; *text; text++, image->envc++)
    if (!add_string(image, *text, &room)) return false;
  return true;
}

// A file that begins with #!: its interpreter's name and one argument at most, both newly allocated. False: it is no script.
static bool script_line(const char *path, char **interpreter, char **argument)
{
  char line[SCRIPT_LINE + 1];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, line, SCRIPT_LINE);
  if (fd >= 0) close(fd);
  if (got < 2 || line[0] != '#' || line[1] != '!') return false;
  line[got] = 0;
  line[strcspn(line, "\n")] = 0;
  char *name = line + 2 + strspn(line + 2, " \t");
  char *end = name + strcspn(name, " \t");
  char *rest = end + strspn(end, " \t");
  *end = 0;
  for (size_t n = strlen(rest); n && (rest[n - 1] == ' ' || rest[n - 1] == '\t'); n--) rest[n - 1] = 0;
  if (!*name) return false;
  *interpreter = strdup(name);
  *argument = *rest ? strdup(rest) : NULL;
  return true;
}

Image *image_open(Process *p, const char *path, const char *called, const char *const *argv, const char *const *envp, int *error, struct um_fault *why)
{
  Image *image = calloc(1, sizeof *image);
  char *before[3 * SCRIPTS_MOST];
  unsigned count = 0;
  if (!image) return *error = ENOMEM, NULL;
  image->program.fd = image->interpreter.fd = -1;
  snprintf(image->name, PATH_MOST, "%s", called);
  snprintf(image->program.path, PATH_MOST, "%s", path);
  int status = UM_OK;
  char *interpreter, *argument = NULL;
  for (int depth = 0; status == UM_OK && script_line(image->program.path, &interpreter, &argument); depth++) {
    if (depth == SCRIPTS_MOST) status = refuse(error, ELOOP, why, path, "scripts name one another as interpreters");
    unsigned added = argument ? 2 : 1, kept = depth ? 0 : 1;
    memmove(before + added + kept, before, count * sizeof *before);
    if (kept) before[added] = strdup(called);
    count += added + kept;
    before[0] = interpreter;
    if (argument) before[1] = argument;
    if (path_find_real(p, AT_FDCWD, interpreter, PATH_FOLLOW | PATH_READS, image->program.path) < 0) status = refuse(error, ENOENT, why, interpreter, strerror(ENOENT));
    if (count + 3 > 3 * SCRIPTS_MOST) status = refuse(error, ELOOP, why, path, "scripts name one another as interpreters");
  }
  if (status == UM_OK) status = open_elf(&image->program, count ? before[0] : path, error, why);
  if (status == UM_OK) status = find_interpreter(p, image, error, why);
  if (status == UM_OK && !add_strings(image, before, count, argv, envp)) status = refuse(error, E2BIG, why, path, "its arguments and environment are longer than 2 MiB");
  while (count) free(before[--count]);
  if (status == UM_OK) return image;
  image_free(image);
  return NULL;
}

// -- Mapping --------------------------------------------------------------------------------------------------------------

static int prot_of(const Elf64_Phdr *row)
{
  return (row->p_flags & PF_R ? PROT_READ : 0) | (row->p_flags & PF_W ? PROT_WRITE : 0) | (row->p_flags & PF_X ? PROT_EXEC : 0);
}

// One segment: what the file has, a zeroed rest of its last page, and zeroed pages behind it.
static int64_t map_segment(Thread *thread, const Elf *elf, const Elf64_Phdr *row, uint64_t bias)
{
  uint64_t skew = row->p_vaddr & (PAGE - 1), at = bias + row->p_vaddr - skew;
  uint64_t file_end = bias + row->p_vaddr + row->p_filesz, end = (bias + row->p_vaddr + row->p_memsz + PAGE - 1) & ~(uint64_t)(PAGE - 1);
  uint64_t mapped = at;
  int prot = prot_of(row);
  static const uint8_t zeros[PAGE];
  if (row->p_filesz) {
    mapped = (file_end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    int64_t result = memory_map(thread, at, mapped - at, prot, MAP_PRIVATE | MAP_FIXED, elf->fd, row->p_offset - skew);
    if (result < 0) return result;
    // The file may have been cut short meanwhile: then this page is not there, and the program's own access will find that.
    if (row->p_memsz > row->p_filesz && prot & PROT_WRITE) put(thread, file_end, zeros, mapped - file_end);
  }
  return end > mapped ? memory_map(thread, mapped, end - mapped, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) : 0;
}

static int64_t map_elf(Thread *thread, const Elf *elf, uint64_t bias)
{
  for (unsigned i = 0; i < elf->head.e_phnum; i++) {
    if (elf->row[i].p_type != PT_LOAD || !elf->row[i].p_memsz) continue;
    int64_t result = map_segment(thread, elf, &elf->row[i], bias);
    if (result < 0) return result;
  }
  return 0;
}

// -- The first stack ------------------------------------------------------------------------------------------------------

static uint64_t hwcap(uint64_t extensions)
{
  uint64_t bits = 0;
  static const struct { int extension; char letter; } letters[] = { { EXT_I, 'i' }, { EXT_M, 'm' }, { EXT_A, 'a' }, { EXT_F, 'f' }, { EXT_D, 'd' }, { EXT_C, 'c' } };
  for (unsigned i = 0; i < sizeof letters / sizeof letters[0]; i++)
    if (extensions >> letters[i].extension & 1) bits |= (uint64_t)1 << (letters[i].letter - 'a');
  return bits;
}

// Where the program headers lie in memory.
static uint64_t headers_at(const Elf *elf, uint64_t bias)
{
  for (unsigned i = 0; i < elf->head.e_phnum; i++) {
    const Elf64_Phdr *row = &elf->row[i];
    if (row->p_type == PT_LOAD && elf->head.e_phoff >= row->p_offset && elf->head.e_phoff < row->p_offset + row->p_filesz)
      return bias + row->p_vaddr + (elf->head.e_phoff - row->p_offset);
  }
  return 0;
}

typedef struct Base { uint64_t program, interpreter, entry; } Base;

static void make_auxv(Process *p, const Image *image, Base base, uint64_t random, uint64_t name)
{
  const uint64_t rows[][2] = {
    { AT_HWCAP, hwcap(p->options.extensions) }, { AT_PAGESZ, PAGE }, { AT_CLKTCK, (uint64_t)sysconf(_SC_CLK_TCK) },
    { AT_PHDR, headers_at(&image->program, base.program) }, { AT_PHENT, sizeof(Elf64_Phdr) }, { AT_PHNUM, image->program.head.e_phnum },
    { AT_BASE, base.interpreter }, { AT_FLAGS, 0 }, { AT_ENTRY, base.program + image->program.head.e_entry },
    { AT_UID, getuid() }, { AT_EUID, geteuid() }, { AT_GID, getgid() }, { AT_EGID, getegid() }, { AT_SECURE, 0 },
    { AT_RANDOM, random }, { AT_EXECFN, name }, { AT_MINSIGSTKSZ, 2048 }, { AT_NULL, 0 },
  };
  _Static_assert(sizeof rows <= sizeof p->auxv, "they fit");
  memcpy(p->auxv, rows, sizeof rows);
  p->auxv_words = sizeof rows / 8;
}

// Strings at the top, then 16 random bytes, then auxv, envp, argv and argc: sp points at that.
static int64_t fill_stack(Thread *thread, const Image *image, Base base)
{
  Process *p = thread->process;
  uint8_t random[16];
  if (getrandom(random, sizeof random, 0) != sizeof random) return -EIO;
  size_t name_bytes = strlen(image->name) + 1;
  uint64_t name = STACK_TOP - 8 - name_bytes, strings = name - image->bytes, random_at = (strings - 16) & ~(uint64_t)15;
  make_auxv(p, image, base, random_at, name);
  unsigned words = 1 + image->argc + 1 + image->envc + 1 + p->auxv_words;
  uint64_t sp = (random_at - 8 * words) & ~(uint64_t)15;
  uint64_t *frame = calloc(words, 8), at = strings;
  if (!frame) return -ENOMEM;
  unsigned n = 0;
  frame[n++] = image->argc;
  const char *text = image->strings;
  for (unsigned i = 0; i < image->argc + image->envc; i++) {
    if (i == image->argc) frame[n++] = 0;
    frame[n++] = at + (uint64_t)(text - image->strings);
    text += strlen(text) + 1;
  }
  if (!image->envc) frame[n++] = 0;
  n++;
  memcpy(frame + n, p->auxv, p->auxv_words * 8);
  bool ok = put(thread, name, image->name, name_bytes) && (!image->bytes || put(thread, strings, image->strings, image->bytes)) &&
            put(thread, random_at, random, sizeof random) && put(thread, sp, frame, words * 8);
  free(frame);
  if (!ok) return -ENOMEM;
  thread->hart->x[REG_SP] = sp;
  return 0;
}

static uint64_t stack_bytes(const Process *p)
{
  struct rlimit limit;
  uint64_t bytes = (uint64_t)8 << 20;
  if (p->limits[2].set) bytes = p->limits[2].soft;
  else if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) bytes = limit.rlim_cur;
  if (bytes < (uint64_t)4 << 20) bytes = (uint64_t)4 << 20;
  return bytes > (uint64_t)1 << 32 ? (uint64_t)1 << 32 : bytes & ~(uint64_t)(PAGE - 1);
}

// The page with what a signal handler returns to: li a7, 139; ecall.
static int64_t map_trampoline(Thread *thread)
{
  static const uint32_t code[] = { 0x08b00893, 0x00000073 };
  Process *p = thread->process;
  int64_t at = memory_map(thread, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at < 0) return at;
  p->trampoline = (uint64_t)at;
  if (!put(thread, p->trampoline, code, sizeof code)) return -ENOMEM;
  return memory_protect(thread, p->trampoline, PAGE, PROT_READ | PROT_EXEC);
}

static void remember_image(Process *p, Image *image)
{
  // What /proc/self/exe names is absolute and without links: a static program of glibc asserts it.
  if (!path_of_fd(image->program.fd, p->exe)) snprintf(p->exe, sizeof p->exe, "%s", image->program.path);
  size_t bytes = 0;
  for (unsigned i = 0; i < image->argc; i++) bytes += strlen(image->strings + bytes) + 1;
  free(p->command);
  p->command = malloc(bytes + 1);
  p->command_bytes = p->command ? bytes : 0;
  if (p->command) memcpy(p->command, image->strings, bytes);
}

int64_t image_run(Thread *thread, Image *image)
{
  Process *p = thread->process;
  const Elf *program = &image->program;
  uint64_t stack = stack_bytes(p);
  memory_reset(p);
  hart_user_reset(thread->hart);
  Base base = { .program = program->head.e_type == ET_DYN ? PIE_BASE - program->low : 0 };
  p->mmap_top = STACK_TOP - stack - ((uint64_t)1 << 20);
  int exec = program->executable_stack ? PROT_EXEC : 0;
  int64_t result = memory_map(thread, STACK_TOP - stack, stack, PROT_READ | PROT_WRITE | exec, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (result >= 0) result = map_elf(thread, program, base.program);
  base.entry = base.program + program->head.e_entry;
  p->brk_start = p->brk = base.program + program->high;
  p->brk_limit = p->brk + ((uint64_t)1 << 34) < p->mmap_top ? p->brk + ((uint64_t)1 << 34) : p->mmap_top;
  if (result >= 0 && image->dynamic) {
    const Elf *interpreter = &image->interpreter;
    uint64_t size = interpreter->high - interpreter->low;
    int64_t at = memory_map(thread, 0, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    base.interpreter = (uint64_t)at - interpreter->low;
    base.entry = base.interpreter + interpreter->head.e_entry;
    result = at < 0 ? at : map_elf(thread, interpreter, base.interpreter);
  }
  if (result >= 0) result = map_trampoline(thread);
  if (result >= 0) result = fill_stack(thread, image, base);
  thread->hart->pc = base.entry;
  remember_image(p, image);
  image_free(image);
  return result < 0 ? result : 0;
}
