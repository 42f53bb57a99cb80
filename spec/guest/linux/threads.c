// threads: eight threads with mutexes, condition variables, atomics and thread-local storage; prints sums that are always the same.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 2000, TURNS = 20 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static _Thread_local long own;
static long shared, turn;
static _Atomic long added;
static _Atomic int flipped;
static _Atomic unsigned highest;

static void *work(void *given)
{
  long id = (long)given;
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < ROUNDS; i++) {
    own += id;
    atomic_fetch_add(&added, 1);
    atomic_fetch_xor(&flipped, (int)id);
    unsigned seen = atomic_load(&highest), mine = (unsigned)(i * THREADS + id);
    while (seen < mine && !atomic_compare_exchange_weak(&highest, &seen, mine)) continue;
    pthread_mutex_lock(&mutex);
    shared++;
    pthread_mutex_unlock(&mutex);
  }
  for (int i = 0; i < TURNS; i++) {
    pthread_mutex_lock(&mutex);
    while (turn % THREADS != id) pthread_cond_wait(&condition, &mutex);
    turn++;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
  }
  char *memory = malloc(100000 + (size_t)id);
  memset(memory, (int)id, 100000);
  free(memory);
  return (void *)own;
}

int main(void)
{
  pthread_t thread[THREADS];
  long sum = 0;
  pthread_barrier_init(&barrier, NULL, THREADS);
  for (long i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, work, (void *)i);
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(thread[i], &result);
    sum += (long)result;
  }
  printf("%ld %ld %ld %d %ld %u\n", sum, shared, (long)added, (int)flipped, turn, (unsigned)highest);
  return 0;
}
