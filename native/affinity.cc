#include "affinity.h"

#include "arguments.h"
#include "system_error.h"
#include "task_dir.h"
#include "thread_masks.h"

namespace corecast {
namespace {

Napi::Value ToArray(Napi::Env env, const std::vector<int>& cpus) {
  Napi::Array result = Napi::Array::New(env, cpus.size());
  for (size_t i = 0; i < cpus.size(); i++)
    result.Set(static_cast<uint32_t>(i), Napi::Number::New(env, cpus[i]));
  return result;
}

MaskOutcome GiveProcess(const Napi::CallbackInfo& info, Accept accept) {
  const pid_t pid = PidArgument(info, 0, "sched_setaffinity");
  const CpuSet wanted = CpuSet::Of(CpuListArgument(info, 1, "sched_setaffinity"));
  return GiveEveryThread(OpenTaskDir("/proc", pid).Get(), pid, wanted, accept);
}

Napi::Object ToObject(Napi::Env env, const MaskOutcome& outcome) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("threads", Napi::Number::New(env, static_cast<double>(outcome.threads)));
  result.Set("changed", Napi::Number::New(env, static_cast<double>(outcome.changed)));
  return result;
}

}  // namespace

Napi::Object WithStrays(Napi::Env env, const MaskOutcome& outcome) {
  Napi::Object result = ToObject(env, outcome);
  Napi::Array strays = Napi::Array::New(env, outcome.strays.size());
  for (size_t i = 0; i < outcome.strays.size(); i++) {
    const Stray& stray = outcome.strays[i];
    Napi::Object thread = Napi::Object::New(env);
    thread.Set("tid", Napi::Number::New(env, stray.tid));
    thread.Set("name", Napi::String::New(env, stray.name));
    thread.Set("cpus", ToArray(env, stray.cpus));
    thread.Set("ageSeconds", Napi::Number::New(env, stray.ageSeconds));
    strays.Set(static_cast<uint32_t>(i), thread);
  }
  result.Set("strays", strays);
  return result;
}

Napi::Value SetProcessAffinity(const Napi::CallbackInfo& info) {
  return ToObject(info.Env(), GiveProcess(info, Accept::kOnlyWanted));
}

Napi::Value ConfineProcess(const Napi::CallbackInfo& info) {
  return WithStrays(info.Env(), GiveProcess(info, Accept::kSubsets));
}

Napi::Value SetThreadAffinity(const Napi::CallbackInfo& info) {
  const pid_t tid = IntArgument(info, 0, "tid", 0, "sched_setaffinity");
  const CpuSet wanted = CpuSet::Of(CpuListArgument(info, 1, "sched_setaffinity"));
  if (!WriteMask(tid, wanted))
    throw SystemError(ESRCH, "sched_setaffinity", "tid " + std::to_string(tid));
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
      const std::optional<std::string> name = ReadThreadName(taskDir.Get(), tid);
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
  if (!mask) throw SystemError(ESRCH, "sched_getaffinity", "tid " + std::to_string(tid));
  return ToArray(info.Env(), mask->ToList());
}

}  // namespace corecast
