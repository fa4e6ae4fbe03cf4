#ifndef CORECAST_ADDON_INSTANCE_H_
#define CORECAST_ADDON_INSTANCE_H_

#include <napi.h>

#include <memory>

#include "exit_watcher.h"

namespace corecast {

// What one loading of the addon owns: the main thread and each worker thread have one of their own, so that
// nothing here is shared between threads. Node deletes it with the environment.
struct AddonInstance {
  Napi::FunctionReference samplerConstructor;
  Napi::FunctionReference tcpReaderConstructor;
  Napi::FunctionReference gpuReaderConstructor;
  Napi::FunctionReference confinerConstructor;
  std::unique_ptr<ExitWatcher> exitWatcher;

  static AddonInstance& Of(Napi::Env env) { return *env.GetInstanceData<AddonInstance>(); }
};

}  // namespace corecast

#endif  // CORECAST_ADDON_INSTANCE_H_
