// mix: lists, a small matrix, a scanner of numbers and a CRC in turn, as programs of small controllers mix them.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { NODES = 256, SIDE = 16 };

typedef struct Node {
  struct Node *next;
  int16_t key, value;
} Node;

static Node nodes[NODES];
static int16_t left[SIDE][SIDE], right[SIDE][SIDE];
static int32_t product[SIDE][SIDE];

// CRC-16 of the lowest `bits` bits of `value`.
static uint16_t crc16(uint16_t crc, uint64_t value, int bits)
{
  for (int i = 0; i < bits; i++, value >>= 1) {
    uint16_t carry = (uint16_t)((crc ^ value) & 1);
    crc = (uint16_t)(crc >> 1 ^ (carry ? 0xa001 : 0));
  }
  return crc;
}

static Node *make_list(uint64_t *seed)
{
  for (int i = 0; i < NODES; i++) {
    nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
    nodes[i].key = (int16_t)(next_random(seed) & 0x7fff);
    nodes[i].value = (int16_t)i;
  }
  return nodes;
}

static Node *reverse(Node *list)
{
  Node *done = NULL;
  while (list) {
    Node *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}

static Node *merge(Node *a, Node *b)
{
  Node *first = NULL, **end = &first;
  while (a && b) {
    Node **from = a->key <= b->key ? &a : &b;
    *end = *from;
    *from = (*from)->next;
    end = &(*end)->next;
  }
  *end = a ? a : b;
  return first;
}

static Node *sort(Node *list, int count)
{
  if (count < 2) return list;
  Node *last = list;
  for (int i = 1; i < count / 2; i++) last = last->next;
  Node *rest = last->next;
  last->next = NULL;
  return merge(sort(list, count / 2), sort(rest, count - count / 2));
}

static uint16_t lists(uint16_t crc, uint64_t *seed)
{
  Node *list = reverse(sort(make_list(seed), NODES));
  for (int i = 0; i < 16; i++) {
    int wanted = i * 16;
    int place = 0;
    const Node *node = list;
    while (node && node->value != wanted) node = node->next, place++;
    crc = crc16(crc, (uint64_t)place, 16);
  }
  return crc;
}

static uint16_t matrices(uint16_t crc, uint64_t *seed)
{
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      left[i][j] = (int16_t)next_random(seed);
      right[i][j] = (int16_t)(left[i][j] >> 3 ^ (i + j));
    }
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      int64_t total = 0;
      for (int k = 0; k < SIDE; k++) total += (int32_t)left[i][k] * right[k][j];
      product[i][j] = (int32_t)(total >> 2);
    }
  for (int i = 0; i < SIDE; i++) crc = crc16(crc, (uint32_t)product[i][SIDE - 1 - i], 32);
  return crc;
}

// States of a scanner of numbers like -12, 3.25, 1e+6.
enum { START, SIGN, WHOLE, POINT, PART, EXPONENT, EXPONENT_SIGN, POWER, WRONG, STATES };

static int step(int state, char c)
{
  int digit = c >= '0' && c <= '9', sign = c == '+' || c == '-', power = c == 'e' || c == 'E';
  switch (state) {
  case START:         return digit ? WHOLE : sign ? SIGN : c == '.' ? POINT : WRONG;
  case SIGN:          return digit ? WHOLE : c == '.' ? POINT : WRONG;
  case WHOLE:         return digit ? WHOLE : c == '.' ? PART : power ? EXPONENT : WRONG;
  case POINT:         return digit ? PART : WRONG;
  case PART:          return digit ? PART : power ? EXPONENT : WRONG;
  case EXPONENT:      return digit ? POWER : sign ? EXPONENT_SIGN : WRONG;
  case EXPONENT_SIGN: return digit ? POWER : WRONG;
  case POWER:         return digit ? POWER : WRONG;
  default:            return WRONG;
  }
}

static uint16_t scanner(uint16_t crc)
{
  static const char text[] = "5012,1234,-874,+122,35.54400,.1234500,-110.700,+0.64400,5.500e+3,-.123e-2,-87e+832,+0.6e-12,"
                             "T0.3e-1F,-T.T++Tq,1T3.4e4z,34.0e-T^";
  uint32_t seen[STATES] = { 0 };
  int state = START;
  for (const char *p = text; *p; p++) {
    if (*p == ',') {
      seen[state]++;
      state = START;
    } else {
      state = step(state, *p);
    }
  }
  for (int i = 0; i < STATES; i++) crc = crc16(crc, seen[i], 16);
  return crc;
}

uint64_t kernel(uint64_t repeat)
{
  uint64_t seed = 3, sum = FOLD_START;
  uint16_t crc = 0;
  while (repeat--) {
    crc = lists(crc, &seed);
    crc = matrices(crc, &seed);
    crc = scanner(crc);
    sum = fold(sum, crc);
  }
  return sum;
}
