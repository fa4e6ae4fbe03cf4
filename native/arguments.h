#ifndef CORECAST_ARGUMENTS_H_
#define CORECAST_ARGUMENTS_H_

#include <napi.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace corecast {

// Readers of JavaScript arguments. A wrong type throws a TypeError with code ERR_INVALID_ARG_TYPE; a number
// that the system call could not take throws SystemError EINVAL in the name of that call, as the kernel would
// have.

// An integer from `min` to 2^31 - 1.
int IntArgument(const Napi::CallbackInfo& info, size_t index, const char* name, int min, const char* syscall);

// A pid or tid: 1 and up.
pid_t PidArgument(const Napi::CallbackInfo& info, size_t index, const char* syscall);

// Field 22 of /proc/PID/stat: an integer from 0 to 2^53 - 1.
uint64_t StartTicksArgument(const Napi::CallbackInfo& info, size_t index, const char* syscall);

// CPU numbers in any order, repeats allowed; at least one, each from 0 to CpuSet::kMaxCpu.
std::vector<int> CpuListArgument(const Napi::CallbackInfo& info, size_t index, const char* syscall);

// May be empty.
std::vector<std::string> StringListArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

// File descriptors, 0 and up; may be empty.
std::vector<int> DescriptorListArgument(const Napi::CallbackInfo& info, size_t index, const char* syscall);

std::string StringArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

Napi::Function FunctionArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

}  // namespace corecast

#endif  // CORECAST_ARGUMENTS_H_
