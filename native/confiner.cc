#include "confiner.h"

#include "addon_instance.h"
#include "affinity.h"
#include "arguments.h"
#include "coded_errors.h"
#include "process_info.h"
#include "task_dir.h"

namespace corecast {

Napi::Function Confiner::DefineClass(Napi::Env env) {
  return Napi::ObjectWrap<Confiner>::DefineClass(env, "Confiner",
                                                 {
                                                     InstanceMethod<&Confiner::Confine>("confine"),
                                                     InstanceMethod<&Confiner::Forget>("forget"),
                                                     InstanceMethod<&Confiner::Close>("close"),
                                                 });
}

Napi::Value Confiner::Confine(const Napi::CallbackInfo& info) {
  return Coded(info.Env(), [&] {
    const pid_t pid = PidArgument(info, 0, "sched_setaffinity");
    const uint64_t startTicks = StartTicksArgument(info, 1, "open");
    const CpuSet cpus = CpuSet::Of(CpuListArgument(info, 2, "sched_setaffinity"));
    return WithStrays(info.Env(), ConfineProcess(pid, startTicks, cpus));
  });
}

void Confiner::Forget(const Napi::CallbackInfo& info) {
  Coded(info.Env(), [&] { Drop(PidArgument(info, 0, "close")); });
}

void Confiner::Close(const Napi::CallbackInfo&) {
  while (!kept_.empty()) Drop(kept_.begin()->first);
}

MaskOutcome Confiner::ConfineProcess(pid_t pid, uint64_t startTicks, const CpuSet& cpus) {
  const auto known = kept_.find(pid);
  if (known != kept_.end() && known->second.startTicks == startTicks) {
    try {
      return GiveEveryThread(known->second.taskDir.Get(), pid, cpus, Accept::kSubsets);
    } catch (const SystemError& error) {
      if (error.error() == ESRCH) Drop(pid);
      throw;
    }
  }
  Drop(pid);
  // Opened first, then the start time checked: if it is the right one now, the directory is its, too.
  UniqueFd taskDir = OpenTaskDir("/proc", pid);
  if (ReadStartTicks(pid) != startTicks) throw SystemError(ESRCH, "open", "pid " + std::to_string(pid));
  MaskOutcome outcome = GiveEveryThread(taskDir.Get(), pid, cpus, Accept::kSubsets);
  if (fdBudget_.Take()) kept_[pid] = Kept{startTicks, std::move(taskDir)};
  return outcome;
}

void Confiner::Drop(pid_t pid) {
  if (kept_.erase(pid) > 0) fdBudget_.GiveBack();
}

Napi::Value OpenConfiner(const Napi::CallbackInfo& info) {
  return AddonInstance::Of(info.Env()).confinerConstructor.New({});
}

}  // namespace corecast
