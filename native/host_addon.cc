// Registers what src/lib/native.ts describes as HostAddon.

#include <napi.h>

#include "addon_instance.h"
#include "affinity.h"
#include "coded_errors.h"
#include "confiner.h"
#include "exit_watcher.h"
#include "gpu_reader.h"
#include "notify.h"
#include "peer_credentials.h"
#include "priority.h"
#include "proc_sampler.h"
#include "process_info.h"
#include "replace_process.h"
#include "tcp_reader.h"

namespace corecast {
namespace {

template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
void Register(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<CodedFunction<Function>>(exports.Env(), name));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* instance = new AddonInstance();
  env.SetInstanceData(instance);
  instance->samplerConstructor = Napi::Persistent(ProcSampler::DefineClass(env));
  instance->tcpReaderConstructor = Napi::Persistent(TcpReader::DefineClass(env));
  instance->gpuReaderConstructor = Napi::Persistent(GpuReader::DefineClass(env));
  instance->confinerConstructor = Napi::Persistent(Confiner::DefineClass(env));

  Register<SetProcessAffinity>(exports, "setProcessAffinity");
  Register<ConfineProcess>(exports, "confineProcess");
  Register<SetThreadAffinity>(exports, "setThreadAffinity");
  Register<GetProcessAffinity>(exports, "getProcessAffinity");
  Register<GetThreadAffinity>(exports, "getThreadAffinity");
  Register<StartTicks>(exports, "startTicks");
  Register<ProcessUid>(exports, "processUid");
  Register<TranslatePid>(exports, "translatePid");
  Register<ClockTicksPerSecond>(exports, "clockTicksPerSecond");
  Register<PeerCredentials>(exports, "peerCredentials");
  Register<WatchExit>(exports, "watchExit");
  Register<SetIdlePriority>(exports, "setIdlePriority");
  Register<ReplaceProcess>(exports, "replaceProcess");
  Register<Notify>(exports, "notify");
  Register<OpenSampler>(exports, "openSampler");
  Register<OpenTcpReader>(exports, "openTcpReader");
  Register<OpenGpuReader>(exports, "openGpuReader");
  Register<OpenConfiner>(exports, "openConfiner");
  return exports;
}

NODE_API_MODULE(corecast_host, Init)

}  // namespace
}  // namespace corecast
