#ifndef CORECAST_AFFINITY_H_
#define CORECAST_AFFINITY_H_

#include <napi.h>

#include "thread_masks.h"

namespace corecast {

// CPU affinity of one thread or of every thread of a process; src/lib/native.ts documents each.
Napi::Value SetProcessAffinity(const Napi::CallbackInfo& info);
Napi::Value ConfineProcess(const Napi::CallbackInfo& info);
Napi::Value SetThreadAffinity(const Napi::CallbackInfo& info);
Napi::Value GetProcessAffinity(const Napi::CallbackInfo& info);
Napi::Value GetThreadAffinity(const Napi::CallbackInfo& info);

// ConfineOutcome of src/lib/native.ts.
Napi::Object WithStrays(Napi::Env env, const MaskOutcome& outcome);

}  // namespace corecast

#endif  // CORECAST_AFFINITY_H_
