#ifndef CORECAST_CONFINER_H_
#define CORECAST_CONFINER_H_

#include <napi.h>

#include <map>

#include "kept_file.h"
#include "thread_masks.h"
#include "unique_fd.h"

namespace corecast {

// Keeps processes on their CPUs, tick after tick: Confiner of src/lib/native.ts. The task directory of each
// one stays open, as far as the budget goes. It belongs to the process it was opened for, so a reused pid reads as
// gone, and its start time needs no second look. Used on the thread that opened it.
class Confiner : public Napi::ObjectWrap<Confiner> {
 public:
  static Napi::Function DefineClass(Napi::Env env);

  // JavaScript reaches it only through openConfiner().
  explicit Confiner(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Confiner>(info) {}

 private:
  struct Kept {
    uint64_t startTicks = 0;
    UniqueFd taskDir;
  };

  Napi::Value Confine(const Napi::CallbackInfo& info);
  void Forget(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  MaskOutcome ConfineProcess(pid_t pid, uint64_t startTicks, const CpuSet& cpus);
  void Drop(pid_t pid);

  FdBudget fdBudget_;
  std::map<pid_t, Kept> kept_;
};

// openConfiner of src/lib/native.ts.
Napi::Value OpenConfiner(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_CONFINER_H_
