// A process that does not want to be pinned: `unruly MODE THREADS`. Prints "up" when it has begun.
//   leaving   each thread gives itself every CPU again and again; SIGUSR1 ends that, the threads stay
//   bomb      threads that live for some tens of microseconds, so many at a time
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> leaving{true};

void Leave() {
  cpu_set_t everywhere;
  CPU_ZERO(&everywhere);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) CPU_SET(cpu, &everywhere);
  for (;;) {
    if (leaving) sched_setaffinity(0, sizeof(everywhere), &everywhere);
    usleep(200);
  }
}

void Spawn() {
  for (;;) {
    std::thread([] {
      for (volatile int i = 0; i < 20'000; i = i + 1) {
      }
    }).join();
  }
}

}  // namespace

int main(int, char** argv) {
  const bool bomb = std::string(argv[1]) == "bomb";
  std::signal(SIGUSR1, [](int) { leaving = false; });
  std::vector<std::thread> threads;
  for (int i = std::atoi(argv[2]); i > 0; i--) threads.emplace_back(bomb ? Spawn : Leave);
  std::puts("up");
  std::fflush(stdout);
  for (auto& thread : threads) thread.join();
}
