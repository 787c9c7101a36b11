#define _GNU_SOURCE
/* The floor of the IPC bench: 100 bytes over raw POSIX message queues between two processes, by hand. */
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 100

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
  double d = *(const double *)a - *(const double *)b;
  return (d > 0) - (d < 0);
}

static mqd_t make(const char *name) {
  struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = SIZE};
  mq_unlink(name);
  mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
  if (queue < 0) {
    perror("mq_open");
    exit(1);
  }
  mq_unlink(name);
  return queue;
}

/* Left alone, the scheduler wakes the other process on the same core: nothing is faster, and nothing runs beside it. */
static void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv) {
  int round_trips = argc > 1 ? atoi(argv[1]) : 20000;
  int messages = argc > 2 ? atoi(argv[2]) : 1000000;
  int apart = argc > 3;
  char name[64], buffer[SIZE] = {0};
  snprintf(name, sizeof name, "/tsmq_bench_%d", getpid());
  mqd_t there = make(name), back = make(name);

  pid_t child = fork();
  if (apart) pin(child == 0);
  if (child == 0) {
    for (int i = 0; i < round_trips; i++) {
      mq_receive(there, buffer, SIZE, NULL);
      mq_send(back, buffer, SIZE, 0);
    }
    for (int i = 0; i < messages; i++) mq_receive(there, buffer, SIZE, NULL);
    mq_send(back, buffer, SIZE, 0);
    _exit(0);
  }
  double *took = malloc(sizeof(double) * round_trips);
  for (int i = 0; i < round_trips; i++) {
    double start = now();
    mq_send(there, buffer, SIZE, 0);
    mq_receive(back, buffer, SIZE, NULL);
    took[i] = now() - start;
  }
  qsort(took, round_trips, sizeof(double), compare);
  double start = now();
  for (int i = 0; i < messages; i++) mq_send(there, buffer, SIZE, 0);
  mq_receive(back, buffer, SIZE, NULL);
  double rate = messages / ((now() - start) / 1e6);
  waitpid(child, NULL, 0);
  printf("{\"p50\": %.1f, \"rate\": %.0f}\n", took[round_trips / 2], rate);
  return 0;
}
