#ifndef CORECAST_THREAD_MASKS_H_
#define CORECAST_THREAD_MASKS_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "cpu_set.h"

namespace corecast {

// A thread that was found outside the CPUs it should be on.
struct Stray {
  pid_t tid = 0;
  std::string name;
  // What it had before it was brought back.
  std::vector<int> cpus;
  // Seconds since the thread was made, with the resolution of a clock tick (10 ms).
  double ageSeconds = 0;
};

struct MaskOutcome {
  size_t threads = 0;
  size_t changed = 0;
  // The first kMaxStrays of those that were changed, in the order they were found.
  std::vector<Stray> strays;
};

constexpr size_t kMaxStrays = 32;

enum class Accept { kOnlyWanted, kSubsets };

// The mask that the kernel has, or nothing when the thread has ended. 0 is the calling thread.
std::optional<CpuSet> ReadMask(pid_t tid);

// False when the thread has ended.
bool WriteMask(pid_t tid, const CpuSet& set);

// The thread's comm, or nothing when it has ended.
std::optional<std::string> ReadThreadName(int taskDir, pid_t tid);

// Gives every thread below an open /proc/PID/task the mask `wanted`, those born meanwhile included.
// SystemError ESRCH when the process has ended.
MaskOutcome GiveEveryThread(int taskDir, pid_t pid, const CpuSet& wanted, Accept accept);

}  // namespace corecast

#endif  // CORECAST_THREAD_MASKS_H_
