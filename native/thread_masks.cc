#include "thread_masks.h"

#include <fcntl.h>
#include <time.h>

#include <atomic>
#include <unordered_set>

#include "proc_stat.h"
#include "system_error.h"
#include "task_dir.h"

namespace corecast {
namespace {

constexpr int kMaxPasses = 10;

std::string TidName(pid_t tid) { return "tid " + std::to_string(tid); }

// Whether `tid` is a thread of the process whose task directory this is. sched_setaffinity(2) knows threads
// by number only, and a number may have passed to a stranger since the directory was read.
bool IsThreadOf(int taskDir, pid_t tid) {
  return faccessat(taskDir, std::to_string(tid).c_str(), F_OK, 0) == 0;
}

double SecondsSinceBoot() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// Infinite when the thread has ended: not new, at least.
double AgeOf(int taskDir, pid_t tid) {
  const UniqueFd file(openat(taskDir, (std::to_string(tid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  char text[2048];
  const ssize_t length = file ? read(file.Get(), text, sizeof text) : -1;
  ProcStat stat;
  if (length <= 0 || !ParseProcStat(std::string_view(text, static_cast<size_t>(length)), &stat)) {
    return __builtin_inf();
  }
  return SecondsSinceBoot() -
         static_cast<double>(stat.startTicks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

Stray Describe(int taskDir, pid_t tid, const CpuSet& mask) {
  return Stray{tid, ReadThreadName(taskDir, tid).value_or(""), mask.ToList(), AgeOf(taskDir, tid)};
}

}  // namespace

// The kernel refuses sets that are smaller than its own with EINVAL; the size that worked is remembered.
std::optional<CpuSet> ReadMask(pid_t tid) {
  static std::atomic<int> roomForCpus{1024};
  for (int cpus = roomForCpus.load(); cpus <= CpuSet::kMaxCpu + 1; cpus *= 2) {
    CpuSet set(cpus);
    if (sched_getaffinity(tid, set.bytes(), set.Get()) == 0) {
      roomForCpus.store(cpus);
      return set;
    }
    if (errno == ESRCH) return std::nullopt;
    if (errno != EINVAL) break;
  }
  ThrowErrno("sched_getaffinity", TidName(tid));
}

bool WriteMask(pid_t tid, const CpuSet& set) {
  if (sched_setaffinity(tid, set.bytes(), set.Get()) == 0) return true;
  if (errno == ESRCH) return false;
  ThrowErrno("sched_setaffinity", TidName(tid));
}

std::optional<std::string> ReadThreadName(int taskDir, pid_t tid) {
  const UniqueFd file(openat(taskDir, (std::to_string(tid) + "/comm").c_str(), O_RDONLY | O_CLOEXEC));
  char name[64];
  const ssize_t length = file ? read(file.Get(), name, sizeof name) : -1;
  if (length < 0) {
    if (errno == ENOENT || errno == ESRCH) return std::nullopt;
    ThrowErrno(file ? "read" : "open", "comm of " + TidName(tid));
  }
  const bool newline = length > 0 && name[length - 1] == '\n';
  return std::string(name, static_cast<size_t>(length) - (newline ? 1 : 0));
}

// Passes over the threads until one finds nothing to change: a thread that is born while a pass runs inherits
// the mask of its parent, which may not have been changed yet.
MaskOutcome GiveEveryThread(int taskDir, pid_t pid, const CpuSet& wanted, Accept accept) {
  std::vector<pid_t> tids;
  std::unordered_set<pid_t> changed;
  // What the kernel makes of `wanted`: without CPUs that are offline or outside the process' cgroup cpuset.
  std::optional<CpuSet> effective;
  MaskOutcome outcome;
  for (int pass = 0; pass < kMaxPasses; pass++) {
    if (!ListTasks(taskDir, &tids)) throw SystemError(ESRCH, "getdents64", "pid " + std::to_string(pid));
    bool settled = true;
    outcome.threads = 0;
    for (const pid_t tid : tids) {
      const std::optional<CpuSet> mask = ReadMask(tid);
      if (!mask) continue;
      outcome.threads++;
      if (*mask == wanted || (effective && *mask == *effective)) continue;
      if (accept == Accept::kSubsets && mask->IsSubsetOf(wanted)) continue;
      if (!IsThreadOf(taskDir, tid)) continue;
      // Before the change: a thread that lives for a moment is gone after it.
      const bool room = outcome.strays.size() < kMaxStrays && changed.count(tid) == 0;
      const bool tell = accept == Accept::kSubsets && room;
      std::optional<Stray> stray;
      if (tell) stray = Describe(taskDir, tid, *mask);
      if (!WriteMask(tid, wanted)) continue;
      settled = false;
      // What was offline already could not change: only a mask that reads differently now counts.
      effective = ReadMask(tid);
      if (!effective || *effective == *mask) continue;
      if (changed.insert(tid).second && stray) outcome.strays.push_back(std::move(*stray));
    }
    if (settled) break;
  }
  outcome.changed = changed.size();
  return outcome;
}

}  // namespace corecast
