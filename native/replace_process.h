#ifndef CORECAST_REPLACE_PROCESS_H_
#define CORECAST_REPLACE_PROCESS_H_

#include <napi.h>

namespace corecast {

// execve(2) of another program in this process; src/lib/native.ts.
Napi::Value ReplaceProcess(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_REPLACE_PROCESS_H_
