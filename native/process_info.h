#ifndef CORECAST_PROCESS_INFO_H_
#define CORECAST_PROCESS_INFO_H_

#include <napi.h>
#include <sys/types.h>

#include <cstdint>

namespace corecast {

// Field 22 of /proc/PID/stat; SystemError ESRCH when there is no such process.
uint64_t ReadStartTicks(pid_t pid);

// What /proc says about a process; src/lib/native.ts documents each.
Napi::Value StartTicks(const Napi::CallbackInfo& info);
Napi::Value ProcessUid(const Napi::CallbackInfo& info);
Napi::Value TranslatePid(const Napi::CallbackInfo& info);
Napi::Value ClockTicksPerSecond(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_PROCESS_INFO_H_
