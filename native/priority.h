#ifndef CORECAST_PRIORITY_H_
#define CORECAST_PRIORITY_H_

#include <napi.h>

namespace corecast {

// Lets a process run and read only when nobody else wants to; src/lib/native.ts.
Napi::Value SetIdlePriority(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_PRIORITY_H_
