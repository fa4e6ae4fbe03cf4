#ifndef CORECAST_NOTIFY_H_
#define CORECAST_NOTIFY_H_

#include <napi.h>

namespace corecast {

// sd_notify(3) without libsystemd; src/lib/native.ts.
Napi::Value Notify(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_NOTIFY_H_
