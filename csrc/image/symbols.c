// symbols: names of guest addresses, from the symbol tables of ELF files, from System.map, and from Linux Images.
// SPDX-License-Identifier: MIT
//
// A kernel's Image has no symbol table, but one of its own for its messages: kallsyms. Nothing says where it lies; its
// parts do by their structure (Linux 6.4 on, scripts/kallsyms.c; each part 8-byte aligned):
//
//   num_syms  u32
//   names     num_syms times: length (one byte, or two with the high bit set), that many token numbers
//   markers   u32: where in names every 256th begins
//   tokens    256 texts, each ending in 0
//   index     256 u16: where in tokens each begins
//   offsets   num_syms u32, rising: address - relative_base
//   base      u64
//
// The first letter of a name is its kind. As everywhere here, nothing is believed: the index is searched for, and what
// it leads to must fit in every count. The work is limited, so that no file keeps the search busy for long.
#include "image/image_int.h"
#include "base/fault.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_MOST = 1023, SYMBOLS_MOST = 1 << 22, TEXT_MOST = 1 << 28, ALIASES = 16, EXTENT_MOST = 1 << 20, TOKENS = 256, MARK = 256 };
enum { SHT_SYMTAB = 2, SHF_WRITE = 1, SHF_EXECINSTR = 4, SHN_LORESERVE = 0xff00, SHN_ABS = 0xfff1 };
enum { STT_NOTYPE, STT_OBJECT, STT_FUNC };

typedef struct Entry {
  uint64_t at, end;                // end == at: not known before all are sorted
  uint32_t name, order;            // place in text; the later a file is added, the higher
  char     kind;
} Entry;

struct um_symbols {
  Entry   *entry;
  char    *text;
  uint32_t count, room, text_used, text_room, order;
  uint32_t aliases;
  struct { uint64_t from, size, to; } alias[ALIASES];
};

UM_EXPORT um_symbols *um_symbols_new(void)
{
  return calloc(1, sizeof(Symbols));
}

UM_EXPORT void um_symbols_free(um_symbols *symbols)
{
  if (!symbols) return;
  free(symbols->entry);
  free(symbols->text);
  free(symbols);
}

// At least `more` elements of `size` bytes behind `used`. False without memory or beyond `most`.
static bool grow(void *place, uint32_t *room, uint32_t used, uint32_t more, uint32_t most, size_t size)
{
  void *old, *bigger;
  if (more > most || used > most - more) return false;
  if (used + more <= *room) return true;
  uint32_t wanted = *room ? *room : 4096;
  while (wanted < used + more) wanted *= 2;
  memcpy(&old, place, sizeof old);
  bigger = realloc(old, wanted * size);
  if (!bigger) return false;
  memcpy(place, &bigger, sizeof bigger);
  *room = wanted;
  return true;
}

static bool add(Symbols *symbols, uint64_t at, uint64_t size, char kind, const char *name, size_t length)
{
  if (length > NAME_MOST) length = NAME_MOST;
  if (!grow(&symbols->entry, &symbols->room, symbols->count, 1, SYMBOLS_MOST, sizeof(Entry))) return false;
  if (!grow(&symbols->text, &symbols->text_room, symbols->text_used, (uint32_t)length + 1, TEXT_MOST, 1)) return false;
  uint64_t end = at + size < at ? UINT64_MAX : at + size;
  symbols->entry[symbols->count++] = (Entry){ .at = at, .end = end, .name = symbols->text_used, .kind = kind, .order = symbols->order };
  memcpy(symbols->text + symbols->text_used, name, length);
  symbols->text[symbols->text_used + length] = 0;
  symbols->text_used += (uint32_t)length + 1;
  return true;
}

// -- ELF ----------------------------------------------------------------------------------------------

typedef struct Section {
  uint64_t at, offset, size, entry_size, flags;
  uint32_t type, link;
} Section;

typedef struct Row {
  uint64_t at, size;
  uint32_t section;
  uint8_t  bind, type;
  const char *name;
  size_t   length;                 // of the name, which ends in the table of strings
} Row;

static Section elf_section(const Elf *elf, uint32_t index)
{
  Buffer file = elf->file;
  uint64_t at = elf->sh_offset + (uint64_t)index * elf->sh_size;
  unsigned word = elf->wide ? 8 : 4;
  return (Section){
    .type       = (uint32_t)field(file, at + 4, 4),
    .flags      = field(file, at + 8, word),
    .at         = field(file, at + 8 + word, word),
    .offset     = field(file, at + 8 + 2 * word, word),
    .size       = field(file, at + 8 + 3 * word, word),
    .link       = (uint32_t)field(file, at + 8 + 4 * word, 4),
    .entry_size = field(file, at + (elf->wide ? 56 : 36), word),
  };
}

// The symbol table and its strings, both inside the file. 1: there are; 0: the file has none.
static int symbol_table(const Elf *elf, Section *table, Section *strings, struct um_fault *why)
{
  if (elf->sh_count == 0 || elf->sh_offset == 0) return 0;
  if (elf->sh_size < (elf->wide ? 64u : 40u) || !has(elf->file, elf->sh_offset, (uint64_t)elf->sh_size * elf->sh_count))
    return fault_set(why, UM_EFORMAT, "truncated ELF file: the section headers end behind the end of the file");
  for (uint32_t i = 0; i < elf->sh_count; i++) {
    *table = elf_section(elf, i);
    if (table->type != SHT_SYMTAB) continue;
    if (table->link >= elf->sh_count) return fault_set(why, UM_EFORMAT, "broken ELF file: its symbols have no names");
    *strings = elf_section(elf, table->link);
    if (table->entry_size < (elf->wide ? 24u : 16u) || !has(elf->file, table->offset, table->size) ||
        !has(elf->file, strings->offset, strings->size))
      return fault_set(why, UM_EFORMAT, "broken ELF file: the symbol table lies outside of the file");
    return 1;
  }
  return 0;
}

// The symbol at `at` bytes of the table. False: it names nothing defined.
static bool symbol_row(const Elf *elf, const Section *table, const Section *strings, uint64_t at, Row *row)
{
  Buffer file = elf->file;
  uint64_t place = table->offset + at, text = field(file, place, 4);
  unsigned info = elf->wide ? 4 : 12, wide = elf->wide;
  *row = (Row){
    .at = wide ? field(file, place + 8, 8) : field(file, place + 4, 4), .size = wide ? field(file, place + 16, 8) : field(file, place + 8, 4),
    .section = (uint32_t)field(file, place + info + 2, 2), .bind = file.bytes[place + info] >> 4, .type = file.bytes[place + info] & 15,
  };
  if (row->section == 0 || text >= strings->size) return false;
  row->name = (const char *)file.bytes + strings->offset + text;
  row->length = strnlen(row->name, strings->size - text);
  return row->length < strings->size - text;
}

UM_EXPORT int um_image_symbol(const void *bytes, uint64_t size, const char *name, uint64_t *value, struct um_fault *why)
{
  Elf elf;
  Section table, strings;
  Row row;
  int status = elf_open(&elf, (Buffer){ bytes, size }, why);
  if (status < 0 || (status = symbol_table(&elf, &table, &strings, why)) < 0) return status;
  for (uint64_t at = 0; status && table.size - at >= table.entry_size; at += table.entry_size) {
    if (!symbol_row(&elf, &table, &strings, at, &row) || strcmp(row.name, name) != 0) continue;
    *value = row.at;
    return UM_OK;
  }
  return fault_set(why, UM_EINVAL, "ELF file without a symbol `%.64s`", name);
}

// The letter nm has for it.
static char kind_of(const Elf *elf, const Row *row)
{
  char kind = 'A';
  if (row->section < elf->sh_count && row->section < SHN_LORESERVE) {
    uint64_t flags = elf_section(elf, row->section).flags;
    kind = flags & SHF_EXECINSTR ? 'T' : flags & SHF_WRITE ? 'D' : 'R';
  }
  return row->bind ? kind : (char)tolower(kind);
}

// Functions, data and labels; not sections, files, and what tools mark with names like $x and .L12.
static int add_elf(Symbols *symbols, Buffer file, uint64_t offset, struct um_fault *why)
{
  Elf elf;
  Section table, strings;
  Row row;
  int status = elf_open(&elf, file, why);
  if (status < 0 || (status = symbol_table(&elf, &table, &strings, why)) <= 0) return status;
  for (uint64_t at = 0; table.size - at >= table.entry_size; at += table.entry_size) {
    if (!symbol_row(&elf, &table, &strings, at, &row) || row.type > STT_FUNC || row.length == 0) continue;
    if (row.name[0] == '$' || strncmp(row.name, ".L", 2) == 0) continue;
    if (row.section >= SHN_LORESERVE && row.section != SHN_ABS) continue;
    if (!add(symbols, row.at + offset, row.size, kind_of(&elf, &row), row.name, row.length))
      return fault_set(why, UM_ENOMEM, "too many symbols for the host's memory");
  }
  return UM_OK;
}

// -- Linux Images -------------------------------------------------------------------------------------

typedef struct Kallsyms {
  Buffer   file;
  uint64_t index, tokens, markers, names, offsets;
  uint32_t count, marks;
  uint64_t work;                   // bytes that may still be looked at
} Kallsyms;

static uint64_t align8(uint64_t value) { return (value + 7) & ~(uint64_t)7; }

static bool work(Kallsyms *k, uint64_t amount)
{
  if (k->work < amount) return false;
  k->work -= amount;
  return true;
}

// 256 places that rise from 0, each at most a token's length behind the one before.
static bool is_index(Kallsyms *k, uint64_t at)
{
  unsigned last = 0;
  for (unsigned i = 1; i < TOKENS; i++) {
    unsigned here = (unsigned)field(k->file, at + 2 * i, 2);
    if (here <= last || here > last + 64) return false;
    last = here;
  }
  k->index = at;
  return true;
}

// The texts that the index points into lie right before it: a 0 before each, and no more than padding behind the last.
static bool find_tokens(Kallsyms *k)
{
  uint64_t last = field(k->file, k->index + 2 * (TOKENS - 1), 2);
  for (uint64_t size = align8(last + 1); size <= align8(last + 64) && size <= k->index; size += 8) {
    uint64_t at = k->index - size;
    const uint8_t *text = k->file.bytes + at;
    uint64_t end = last + strnlen((const char *)text + last, size - last) + 1;
    bool fits = end <= size && size - end < 8;
    for (unsigned i = 1; fits && i < TOKENS; i++) fits = text[field(k->file, k->index + 2 * i, 2) - 1] == 0;
    if (fits) {
      k->tokens = at;
      return true;
    }
  }
  return false;
}

// Numbers that rise from 0, right before the tokens.
static bool find_markers(Kallsyms *k)
{
  uint64_t end = k->tokens, at;
  if (end >= 8 && field(k->file, end - 4, 4) == 0) end -= 4;             // padding
  if (end < 8) return false;
  for (at = end - 4; field(k->file, at, 4) != 0; at -= 4)
    if (at < 4 || field(k->file, at - 4, 4) >= field(k->file, at, 4) || !work(k, 4)) return false;
  k->markers = at;
  k->marks = (uint32_t)((end - at) / 4);
  return k->marks < SYMBOLS_MOST / MARK;
}

// The name at *at, which moves behind it: its tokens' numbers. False: it reaches past `end`.
static bool next_name(const Kallsyms *k, uint64_t *at, uint64_t end, const uint8_t **tokens, uint32_t *count)
{
  const uint8_t *bytes = k->file.bytes;
  if (*at + 2 > end) return false;
  uint32_t length = bytes[(*at)++];
  if (length & 0x80) length = (length & 0x7f) | (uint32_t)bytes[(*at)++] << 7;
  if (length == 0 || length > end - *at) return false;
  *tokens = bytes + *at;
  *count = length;
  *at += length;
  return true;
}

// Whether k->count names from k->names on end at the markers and meet each of them.
static bool are_names(Kallsyms *k)
{
  uint64_t at = k->names;
  const uint8_t *tokens;
  uint32_t count;
  for (uint32_t i = 0; i < k->count; i++) {
    if (i % MARK == 0 && at - k->names != field(k->file, k->markers + i / MARK * 4, 4)) return false;
    if (!next_name(k, &at, k->markers, &tokens, &count) || !work(k, count)) return false;
  }
  return align8(at) == k->markers;
}

// The names begin behind their count, as far before the markers as the last of these says and at most 256 names more.
static bool find_names(Kallsyms *k)
{
  uint64_t last = field(k->file, k->markers + (uint64_t)(k->marks - 1) * 4, 4);
  for (uint64_t size = align8(last + 2); size <= last + MARK * 514 && size + 8 <= k->markers; size += 8) {
    k->names = k->markers - size;
    k->count = (uint32_t)field(k->file, k->names - 8, 4);
    if (!work(k, 8)) return false;
    if (k->count == 0 || (k->count - 1) / MARK + 1 != k->marks || field(k->file, k->names - 4, 4) != 0) continue;
    if (are_names(k)) return true;
  }
  return false;
}

static bool find_offsets(Kallsyms *k)
{
  k->offsets = align8(k->index + 2 * TOKENS);
  if (!has(k->file, k->offsets, align8(4 * (uint64_t)k->count) + 8) || !work(k, k->count)) return false;
  for (uint32_t i = 1; i < k->count; i++)
    if (field(k->file, k->offsets + 4 * (uint64_t)i, 4) < field(k->file, k->offsets + 4 * (uint64_t)(i - 1), 4)) return false;
  return true;
}

static bool find_kallsyms(Kallsyms *k)
{
  for (uint64_t at = 8; has(k->file, at, 2 * TOKENS + 8); at += 8) {
    if (field(k->file, at, 2) != 0 || !is_index(k, at)) continue;
    if (!work(k, 4096)) return false;
    if (find_tokens(k) && find_markers(k) && find_names(k) && find_offsets(k)) return true;
  }
  return false;
}

static int add_kallsyms(Symbols *symbols, Buffer file, uint64_t offset, struct um_fault *why)
{
  Kallsyms k = { .file = file, .work = 8 * file.size };
  if (!find_kallsyms(&k)) return UM_OK;
  uint64_t base = field(file, align8(k.offsets + 4 * (uint64_t)k.count), 8), at = k.names;
  char name[NAME_MOST + 1];
  const uint8_t *tokens;
  uint32_t count;
  for (uint32_t i = 0; i < k.count && next_name(&k, &at, k.markers, &tokens, &count); i++) {
    size_t length = 0;
    for (uint32_t j = 0; j < count; j++) {
      const char *token = (const char *)file.bytes + k.tokens + field(file, k.index + 2 * (uint64_t)tokens[j], 2);
      while (*token && length < NAME_MOST) name[length++] = *token++;     // ends before the index: find_tokens saw the 0
    }
    if (length < 2) continue;
    if (!add(symbols, base + field(file, k.offsets + 4 * (uint64_t)i, 4) + offset, 0, name[0], name + 1, length - 1))
      return fault_set(why, UM_ENOMEM, "too many symbols for the host's memory");
  }
  return UM_OK;
}

// -- System.map ---------------------------------------------------------------------------------------

// "ffffffff80002000 T _text" and perhaps a module's name. False: no such line.
static bool map_line(Buffer file, uint64_t at, uint64_t end, uint64_t *value, char *kind, const char **name, size_t *length)
{
  uint64_t place = at;
  *value = 0;
  for (; place < end && isxdigit(file.bytes[place]); place++) {
    unsigned letter = file.bytes[place] | 32u, digit = letter < 'a' ? file.bytes[place] - (unsigned)'0' : letter - 'a' + 10;
    *value = *value << 4 | digit;
  }
  if (place - at < 4 || place - at > 16 || end - place < 4) return false;
  const uint8_t *rest = file.bytes + place;
  if (rest[0] != ' ' || !isalpha(rest[1]) || rest[2] != ' ') return false;
  *kind = (char)rest[1];
  *name = (const char *)rest + 3;
  *length = 0;
  while (*length < end - place - 3 && (*name)[*length] > ' ') ++*length;
  return *length > 0;
}

static int add_map(Symbols *symbols, Buffer file, uint64_t offset, struct um_fault *why)
{
  uint64_t line = 1, value;
  const char *name;
  size_t length;
  char kind;
  for (uint64_t at = 0, end; at < file.size; at = end + 1, line++) {
    const uint8_t *stop = memchr(file.bytes + at, '\n', file.size - at);
    end = stop ? (uint64_t)(stop - file.bytes) : file.size;
    if (end == at) continue;
    if (!map_line(file, at, end, &value, &kind, &name, &length)) {
      if (line == 1) return fault_set(why, UM_EFORMAT, "no file with symbols: neither ELF nor a Linux Image nor a System.map");
      return fault_set(why, UM_EFORMAT, "line %" PRIu64 " of a System.map must look like: ffffffff80002000 T _text", line);
    }
    if (value == UINT64_MAX) continue;             // a package's stub, which says where the real one is
    if (!add(symbols, value + offset, 0, kind, name, length)) return fault_set(why, UM_ENOMEM, "too many symbols for the host's memory");
  }
  return UM_OK;
}

// -- The table ----------------------------------------------------------------------------------------

static int worth(const Entry *entry)
{
  return 2 * (int)entry->order + (isupper((unsigned char)entry->kind) != 0);
}

// By address; of those at one address the last file's first, then global ones, then as they came.
static int compare(const void *left, const void *right)
{
  const Entry *a = left, *b = right;
  if (a->at != b->at) return a->at < b->at ? -1 : 1;
  if (worth(a) != worth(b)) return worth(a) > worth(b) ? -1 : 1;
  return a->name < b->name ? -1 : a->name > b->name;
}

// Where no file says how long something is, it ends where the next begins.
static void settle(Symbols *symbols)
{
  qsort(symbols->entry, symbols->count, sizeof(Entry), compare);
  uint64_t next = UINT64_MAX, last = UINT64_MAX;   // where the next address begins; the address before this one
  for (uint32_t i = symbols->count; i-- > 0;) {
    Entry *entry = &symbols->entry[i];
    if (entry->at != last) next = last;
    last = entry->at;
    if (entry->end == entry->at) entry->end = next - entry->at < EXTENT_MOST ? next : entry->at + EXTENT_MOST;
  }
}

UM_EXPORT int um_symbols_add(um_symbols *symbols, const void *bytes, uint64_t size, uint64_t offset, struct um_fault *why)
{
  Buffer file = { bytes, size };
  uint32_t before = symbols->count, text = symbols->text_used;
  int status;
  symbols->order++;
  if (starts_with(file, 0, "\x7f" "ELF", 4)) status = add_elf(symbols, file, offset, why);
  else if (has(file, 0, 64) && starts_with(file, 0x38, "RSC\x05", 4)) status = add_kallsyms(symbols, file, offset, why);
  else status = add_map(symbols, file, offset, why);
  if (status < 0) {
    symbols->count = before;
    symbols->text_used = text;
    return status;
  }
  int count = (int)(symbols->count - before);
  if (count) settle(symbols);
  return count;
}

UM_EXPORT int um_symbols_alias(um_symbols *symbols, uint64_t from, uint64_t size, uint64_t to, struct um_fault *why)
{
  if (symbols->aliases == ALIASES) return fault_set(why, UM_EINVAL, "more than %d ranges of addresses", ALIASES);
  symbols->alias[symbols->aliases].from = from;
  symbols->alias[symbols->aliases].size = size;
  symbols->alias[symbols->aliases++].to = to;
  return UM_OK;
}

UM_EXPORT uint32_t um_symbols_count(const um_symbols *symbols)
{
  return symbols->count;
}

UM_EXPORT bool um_symbols_row(const um_symbols *symbols, uint32_t index, struct um_symbol *symbol)
{
  if (index >= symbols->count) return false;
  const Entry *entry = &symbols->entry[index];
  *symbol = (struct um_symbol){ .at = entry->at, .size = entry->end - entry->at, .name = symbols->text + entry->name, .kind = entry->kind };
  return true;
}

// How many entries begin below `at`, or at it if `too`.
static int64_t count_below(const Symbols *symbols, uint64_t at, bool too)
{
  int64_t low = 0, high = symbols->count;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    uint64_t here = symbols->entry[middle].at;
    if (here < at || (too && here == at)) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The last entry that begins at or before `at`, the first of its address; -1: none.
static int64_t before(const Symbols *symbols, uint64_t at)
{
  int64_t behind = count_below(symbols, at, true);
  return behind ? count_below(symbols, symbols->entry[behind - 1].at, false) : -1;
}

static bool find(const Symbols *symbols, uint64_t at, struct um_symbol *symbol)
{
  // A label within a function may hide it, so a few are tried; a gap behind all of them is none.
  int64_t index = before(symbols, at);
  for (int tries = 0; index >= 0 && tries < 64; tries++, index--)
    if (at < symbols->entry[index].end) return um_symbols_row(symbols, (uint32_t)index, symbol);
  return false;
}

UM_EXPORT bool um_symbols_find(const um_symbols *symbols, uint64_t at, struct um_symbol *symbol)
{
  if (find(symbols, at, symbol)) return true;
  for (uint32_t i = 0; i < symbols->aliases; i++) {
    uint64_t offset = at - symbols->alias[i].from;
    if (offset >= symbols->alias[i].size || !find(symbols, symbols->alias[i].to + offset, symbol)) continue;
    symbol->at += symbols->alias[i].from - symbols->alias[i].to;
    return true;
  }
  return false;
}

UM_EXPORT bool um_symbols_lookup(const um_symbols *symbols, const char *name, struct um_symbol *symbol)
{
  const Entry *best = NULL;
  for (const Entry *entry = symbols->entry; entry < symbols->entry + symbols->count; entry++)
    if (strcmp(symbols->text + entry->name, name) == 0 && (!best || worth(entry) > worth(best))) best = entry;
  return best && um_symbols_row(symbols, (uint32_t)(best - symbols->entry), symbol);
}

UM_EXPORT int um_symbols_text(const um_symbols *symbols, uint64_t at, char *text, uint32_t size)
{
  struct um_symbol symbol;
  if (!um_symbols_find(symbols, at, &symbol)) return 0;
  uint64_t offset = at - symbol.at;
  int length = offset ? snprintf(text, size, "%s+%#" PRIx64, symbol.name, offset) : snprintf(text, size, "%s", symbol.name);
  return length < (int)size ? length : (int)size - 1;
}
