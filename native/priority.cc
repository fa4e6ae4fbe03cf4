#include "priority.h"

#include <linux/ioprio.h>
#include <sched.h>
#include <sys/syscall.h>

#include <unordered_set>
#include <vector>

#include "arguments.h"
#include "system_error.h"
#include "task_dir.h"

namespace corecast {
namespace {

void MakeIdle(pid_t tid) {
  const sched_param none = {};
  if (sched_setscheduler(tid, SCHED_IDLE, &none) != 0 && errno != ESRCH) {
    ThrowErrno("sched_setscheduler", "tid " + std::to_string(tid));
  }
  const int idle = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0);
  if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, idle) != 0 && errno != ESRCH) {
    ThrowErrno("ioprio_set", "tid " + std::to_string(tid));
  }
}

}  // namespace

Napi::Value SetIdlePriority(const Napi::CallbackInfo& info) {
  const pid_t pid = PidArgument(info, 0, "sched_setscheduler");
  const UniqueFd taskDir = OpenTaskDir("/proc", pid);
  // Both are per thread. Threads born during a pass inherit from their parent, so go on until a pass meets no
  // new one.
  std::unordered_set<pid_t> done;
  std::vector<pid_t> tids;
  for (size_t before = SIZE_MAX; before != done.size();) {
    before = done.size();
    if (!ListTasks(taskDir.Get(), &tids)) {
      throw SystemError(ESRCH, "sched_setscheduler", "pid " + std::to_string(pid));
    }
    for (const pid_t tid : tids) {
      if (done.insert(tid).second) MakeIdle(tid);
    }
  }
  return info.Env().Undefined();
}

}  // namespace corecast
