// The least that a sampler could cost: reads, once a second and from descriptors that stay open, the files that the monitor
// reads, as often as it does, and does nothing with what they say. Prints its own CPU seconds and ticks.
//
// usage: floor SECONDS THREADS_PER_TICK PID...
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { IO_EVERY = 5, MOST_THREADS = 4096 };  // IO_EVERY: BYTES_EVERY of src/monitor/ingress.ts.

static const char *const host_files[] = {"/proc/stat",     "/proc/loadavg",      "/proc/meminfo",
                                         "/proc/vmstat",   "/proc/diskstats",    "/proc/net/dev",
                                         "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io"};
enum { HOST_FILES = sizeof host_files / sizeof *host_files };

struct process {
  int stat, io, threads;
  int schedstat[MOST_THREADS];
};

static char text[1 << 16];

static void read_file(int fd) {
  if (fd >= 0 && pread(fd, text, sizeof text, 0) < 0) return;
}

static int open_file(const char *format, const char *pid, const char *tid) {
  char path[512];
  snprintf(path, sizeof path, format, pid, tid);
  return open(path, O_RDONLY);
}

static void open_process(struct process *process, const char *pid) {
  char path[256];
  process->stat = open_file("/proc/%s/stat", pid, "");
  process->io = open_file("/proc/%s/io", pid, "");
  snprintf(path, sizeof path, "/proc/%s/task", pid);
  DIR *tasks = opendir(path);
  for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
    if (task->d_name[0] == '.' || process->threads == MOST_THREADS) continue;
    process->schedstat[process->threads++] = open_file("/proc/%s/task/%s/schedstat", pid, task->d_name);
  }
  if (tasks != NULL) closedir(tasks);
}

static double cpu_seconds(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: floor SECONDS THREADS_PER_TICK PID...\n"), 2;
  const int seconds = atoi(argv[1]), most = atoi(argv[2]), count = argc - 3;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  struct process *processes = calloc((size_t)count, sizeof *processes);
  for (int i = 0; i < count; i++) open_process(&processes[i], argv[3 + i]);
  int host[HOST_FILES];
  for (int i = 0; i < HOST_FILES; i++) host[i] = open(host_files[i], O_RDONLY);

  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  const double before = cpu_seconds();
  int turn = 0;
  long threads_read = 0;
  for (int tick = 0; tick < seconds; tick++) {
    at.tv_sec++;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    for (int i = 0; i < HOST_FILES; i++) read_file(host[i]);
    for (int i = 0; i < count; i++) {
      read_file(processes[i].stat);
      if ((tick + i) % IO_EVERY == 0) read_file(processes[i].io);
    }
    int read = 0;
    for (int i = 0; i < count; i++) {
      struct process *process = &processes[turn];
      if (read > 0 && read + process->threads > most) break;
      for (int t = 0; t < process->threads; t++) read_file(process->schedstat[t]);
      read += process->threads;
      turn = (turn + 1) % count;
    }
    threads_read += read;
  }
  printf("{\"cpuSeconds\": %.6f, \"ticks\": %d, \"threadsRead\": %ld}\n", cpu_seconds() - before, seconds, threads_read);
}
