#include "errors.h"

#include <uv.h>

namespace corecast {
namespace {

// libuv's names, because node's own errors carry them and strerrorname_np(3) is missing before glibc 2.32.
std::string Message(int error, const char* syscall, const std::string& target) {
  char name[32];
  char text[128];
  uv_err_name_r(-error, name, sizeof name);
  uv_strerror_r(-error, text, sizeof text);
  return std::string(name) + ": " + text + ", " + syscall + " (" + target + ")";
}

}  // namespace

SystemError::SystemError(int error, const char* syscall, const std::string& target)
    : std::runtime_error(Message(error, syscall, target)), error_(error), syscall_(syscall) {}

void ThrowErrno(const char* syscall, const std::string& target) { throw SystemError(errno, syscall, target); }

Napi::Error ToNapiError(Napi::Env env, const SystemError& error) {
  char name[32];
  uv_err_name_r(-error.error(), name, sizeof name);
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", Napi::String::New(env, name));
  result.Set("errno", Napi::Number::New(env, -error.error()));
  result.Set("syscall", Napi::String::New(env, error.syscall()));
  return result;
}

}  // namespace corecast
