/* The raw client of POSIX message queues: `mq events COUNT` and `mq called COUNT`, between two processes; JSON on stdout. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 120, ROOM = 10 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static mqd_t make(const char *name) {
  struct mq_attr attr = {.mq_maxmsg = ROOM, .mq_msgsize = SIZE};
  mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
  if (queue == (mqd_t)-1) perror("mq_open"), exit(1);
  mq_unlink(name); /* both processes have it already */
  return queue;
}

static void send_one(mqd_t queue, const char *body) {
  if (mq_send(queue, body, SIZE, 0)) perror("mq_send"), exit(1);
}

static void receive_one(mqd_t queue, char *buffer) {
  if (mq_receive(queue, buffer, SIZE, NULL) < 0) perror("mq_receive"), exit(1);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int called = !strcmp(argv[1], "called"), count = atoi(argv[2]);
  char names[2][64], body[SIZE];
  memset(body, 'x', sizeof body);
  for (int i = 0; i < 2; i++) snprintf(names[i], sizeof names[i], "/tsmq-bench-%d-%d", getpid(), i);
  mqd_t there = make(names[0]), back = make(names[1]);
  pid_t other = fork();
  if (other == 0) {
    for (int i = 0; i < count; i++) {
      if (!called) { send_one(there, body); continue; }
      receive_one(there, body);
      send_one(back, body);
    }
    return 0;
  }
  double *latencies = malloc(count * sizeof *latencies), start = 0;
  for (int i = 0; i < count; i++) {
    if (called) {
      double before = now();
      send_one(there, body);
      receive_one(back, body);
      latencies[i] = now() - before;
      continue;
    }
    receive_one(there, body);
    if (i == 0) start = now();
  }
  double ms = now() - start;
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double cpu = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
  printf("{\"ms\":%f,\"cpu\":%f,\"all\":%f", ms, cpu, cpu);
  if (called) {
    printf(",\"latencies\":[");
    for (int i = 0; i < count; i++) printf("%s%f", i ? "," : "", latencies[i]);
    printf("]");
  }
  printf("}\n");
  waitpid(other, NULL, 0);
  return 0;
}
