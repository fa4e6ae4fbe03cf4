#include "arguments.h"

#include <climits>
#include <cmath>

#include "cpu_set.h"
#include "system_error.h"

namespace corecast {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

[[noreturn]] void ThrowType(Napi::Env env, const char* name, const char* expected) {
  Napi::TypeError error = Napi::TypeError::New(env, std::string(name) + " must be " + expected);
  error.Set("code", Napi::String::New(env, "ERR_INVALID_ARG_TYPE"));
  throw error;
}

std::string Shown(const char* name, double value) {
  std::string text = std::to_string(value);
  if (std::floor(value) == value && std::fabs(value) < kMaxSafeInteger) {
    text = std::to_string(static_cast<long long>(value));
  }
  return std::string(name) + " " + text;
}

double IntegerInRange(Napi::Env env, Napi::Value value, const char* name, double min, double max,
                      const char* syscall) {
  if (!value.IsNumber()) ThrowType(env, name, "a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  // Also false for NaN.
  const bool fits = number >= min && number <= max && std::floor(number) == number;
  if (!fits) throw SystemError(EINVAL, syscall, Shown(name, number));
  return number;
}

}  // namespace

int IntArgument(const Napi::CallbackInfo& info, size_t index, const char* name, int min,
                const char* syscall) {
  return static_cast<int>(IntegerInRange(info.Env(), info[index], name, min, INT_MAX, syscall));
}

pid_t PidArgument(const Napi::CallbackInfo& info, size_t index, const char* syscall) {
  return IntArgument(info, index, "pid", 1, syscall);
}

uint64_t StartTicksArgument(const Napi::CallbackInfo& info, size_t index, const char* syscall) {
  return static_cast<uint64_t>(
      IntegerInRange(info.Env(), info[index], "startTicks", 0, kMaxSafeInteger, syscall));
}

std::vector<int> CpuListArgument(const Napi::CallbackInfo& info, size_t index, const char* syscall) {
  if (!info[index].IsArray()) ThrowType(info.Env(), "cpus", "an array of CPU numbers");
  const Napi::Array list = info[index].As<Napi::Array>();
  const uint32_t count = list.Length();
  if (count == 0) throw SystemError(EINVAL, syscall, "no CPU in the list");
  if (count > CpuSet::kMaxCpu + 1) {
    throw SystemError(EINVAL, syscall, std::to_string(count) + " entries in the CPU list");
  }
  std::vector<int> cpus;
  cpus.reserve(count);
  for (uint32_t i = 0; i < count; i++) {
    cpus.push_back(
        static_cast<int>(IntegerInRange(info.Env(), list.Get(i), "cpu", 0, CpuSet::kMaxCpu, syscall)));
  }
  return cpus;
}

std::vector<std::string> StringListArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsArray()) ThrowType(info.Env(), name, "an array of strings");
  const Napi::Array list = info[index].As<Napi::Array>();
  std::vector<std::string> texts;
  texts.reserve(list.Length());
  for (uint32_t i = 0; i < list.Length(); i++) {
    const Napi::Value text = list.Get(i);
    if (!text.IsString()) ThrowType(info.Env(), name, "an array of strings");
    texts.push_back(text.As<Napi::String>().Utf8Value());
  }
  return texts;
}

std::vector<int> DescriptorListArgument(const Napi::CallbackInfo& info, size_t index, const char* syscall) {
  if (!info[index].IsArray()) ThrowType(info.Env(), "descriptors", "an array of file descriptors");
  const Napi::Array list = info[index].As<Napi::Array>();
  std::vector<int> descriptors;
  for (uint32_t i = 0; i < list.Length(); i++) {
    descriptors.push_back(
        static_cast<int>(IntegerInRange(info.Env(), list.Get(i), "descriptor", 0, INT_MAX, syscall)));
  }
  return descriptors;
}

std::string StringArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsString()) ThrowType(info.Env(), name, "a string");
  return info[index].As<Napi::String>().Utf8Value();
}

Napi::Function FunctionArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsFunction()) ThrowType(info.Env(), name, "a function");
  return info[index].As<Napi::Function>();
}

}  // namespace corecast
