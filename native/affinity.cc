#include "affinity.h"

#include <fcntl.h>

#include <atomic>
#include <optional>
#include <unordered_set>

#include "arguments.h"
#include "cpu_set.h"
#include "system_error.h"
#include "task_dir.h"

namespace corecast {
namespace {

constexpr int kMaxPasses = 10;

std::string TidName(pid_t tid) { return "tid " + std::to_string(tid); }

// The mask that the kernel has, or nothing when the thread has ended. The kernel refuses sets that are
// smaller than its own with EINVAL; the size that worked is remembered.
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

// False when the thread has ended.
bool WriteMask(pid_t tid, const CpuSet& set) {
  if (sched_setaffinity(tid, set.bytes(), set.Get()) == 0) return true;
  if (errno == ESRCH) return false;
  ThrowErrno("sched_setaffinity", TidName(tid));
}

enum class Accept { kOnlyWanted, kSubsets };

struct Outcome {
  size_t threads = 0;
  size_t changed = 0;
};

// Passes over the threads until one finds nothing to change: a thread that is born while a pass runs inherits
// the mask of its parent, which may not have been changed yet.
Outcome GiveEveryThread(pid_t pid, const CpuSet& wanted, Accept accept) {
  const UniqueFd taskDir = OpenTaskDir("/proc", pid);
  std::vector<pid_t> tids;
  std::unordered_set<pid_t> changed;
  // What the kernel makes of `wanted`: without CPUs that are offline or outside the process' cgroup cpuset.
  std::optional<CpuSet> effective;
  Outcome outcome;
  for (int pass = 0; pass < kMaxPasses; pass++) {
    if (!ListTasks(taskDir.Get(), &tids))
      throw SystemError(ESRCH, "getdents64", "pid " + std::to_string(pid));
    bool settled = true;
    outcome.threads = 0;
    for (const pid_t tid : tids) {
      const std::optional<CpuSet> mask = ReadMask(tid);
      if (!mask) continue;
      outcome.threads++;
      if (*mask == wanted || (effective && *mask == *effective)) continue;
      if (accept == Accept::kSubsets && mask->IsSubsetOf(wanted)) continue;
      if (!WriteMask(tid, wanted)) continue;
      settled = false;
      // What was offline already could not change: only a mask that reads differently now counts.
      effective = ReadMask(tid);
      if (effective && *effective != *mask) changed.insert(tid);
    }
    if (settled) break;
  }
  outcome.changed = changed.size();
  return outcome;
}

Napi::Value ToObject(Napi::Env env, const Outcome& outcome) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("threads", Napi::Number::New(env, static_cast<double>(outcome.threads)));
  result.Set("changed", Napi::Number::New(env, static_cast<double>(outcome.changed)));
  return result;
}

Napi::Value ToArray(Napi::Env env, const std::vector<int>& cpus) {
  Napi::Array result = Napi::Array::New(env, cpus.size());
  for (size_t i = 0; i < cpus.size(); i++)
    result.Set(static_cast<uint32_t>(i), Napi::Number::New(env, cpus[i]));
  return result;
}

// The thread's comm, or nothing when it has ended.
std::optional<std::string> ReadName(int taskDir, pid_t tid) {
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

}  // namespace

Napi::Value SetProcessAffinity(const Napi::CallbackInfo& info) {
  const pid_t pid = PidArgument(info, 0, "sched_setaffinity");
  const CpuSet wanted = CpuSet::Of(CpuListArgument(info, 1, "sched_setaffinity"));
  return ToObject(info.Env(), GiveEveryThread(pid, wanted, Accept::kOnlyWanted));
}

Napi::Value ConfineProcess(const Napi::CallbackInfo& info) {
  const pid_t pid = PidArgument(info, 0, "sched_setaffinity");
  const CpuSet wanted = CpuSet::Of(CpuListArgument(info, 1, "sched_setaffinity"));
  return ToObject(info.Env(), GiveEveryThread(pid, wanted, Accept::kSubsets));
}

Napi::Value SetThreadAffinity(const Napi::CallbackInfo& info) {
  const pid_t tid = IntArgument(info, 0, "tid", 0, "sched_setaffinity");
  const CpuSet wanted = CpuSet::Of(CpuListArgument(info, 1, "sched_setaffinity"));
  if (!WriteMask(tid, wanted)) throw SystemError(ESRCH, "sched_setaffinity", TidName(tid));
  return info.Env().Undefined();
}

Napi::Value GetProcessAffinity(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const pid_t pid = PidArgument(info, 0, "sched_getaffinity");
  const UniqueFd taskDir = OpenTaskDir("/proc", pid);
  std::vector<pid_t> tids;
  Napi::Array threads = Napi::Array::New(env);
  if (ListTasks(taskDir.Get(), &tids)) {
    for (const pid_t tid : tids) {
      const std::optional<CpuSet> mask = ReadMask(tid);
      const std::optional<std::string> name = ReadName(taskDir.Get(), tid);
      if (!mask || !name) continue;
      Napi::Object thread = Napi::Object::New(env);
      thread.Set("tid", Napi::Number::New(env, tid));
      thread.Set("name", Napi::String::New(env, *name));
      thread.Set("cpus", ToArray(env, mask->ToList()));
      threads.Set(threads.Length(), thread);
    }
  }
  if (threads.Length() == 0) throw SystemError(ESRCH, "sched_getaffinity", "pid " + std::to_string(pid));
  return threads;
}

Napi::Value GetThreadAffinity(const Napi::CallbackInfo& info) {
  const pid_t tid = IntArgument(info, 0, "tid", 0, "sched_getaffinity");
  const std::optional<CpuSet> mask = ReadMask(tid);
  if (!mask) throw SystemError(ESRCH, "sched_getaffinity", TidName(tid));
  return ToArray(info.Env(), mask->ToList());
}

}  // namespace corecast
