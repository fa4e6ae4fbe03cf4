// THREADS threads, each of which wakes once a second for about BUSY_US microseconds of work, at a time of its own: every
// thread has run in every second, as those of a live encoder have, without taking the CPUs from what is measured.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long busy_us;

static void spin(long us) {
  struct timespec start, now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
  do {
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  } while ((now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000 < us);
}

static void *work(void *phase_us) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  usleep((useconds_t)(long)phase_us);
  for (;;) {
    at.tv_sec++;
    spin(busy_us);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    usleep((useconds_t)(long)phase_us);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: load THREADS BUSY_US\n"), 2;
  const int threads = atoi(argv[1]);
  busy_us = atol(argv[2]);
  srand((unsigned)getpid());
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 * 1024);
  for (int i = 1; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, &small, work, (void *)(long)(rand() % 900000)) != 0) return perror("pthread_create"), 1;
  }
  puts("ready");
  fflush(stdout);
  work((void *)(long)(rand() % 900000));
}
