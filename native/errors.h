#ifndef CORECAST_ERRORS_H_
#define CORECAST_ERRORS_H_

#include <napi.h>

#include <cerrno>
#include <stdexcept>
#include <string>

namespace corecast {

// A system call that failed. Plain C++, so that code which knows nothing of JavaScript can throw it.
class SystemError : public std::runtime_error {
 public:
  // `target` says what the call was made on: "pid 4711", "/proc/stat".
  SystemError(int error, const char* syscall, const std::string& target);

  int error() const { return error_; }
  const char* syscall() const { return syscall_; }

 private:
  int error_;
  const char* syscall_;
};

// Throws what errno says now.
[[noreturn]] void ThrowErrno(const char* syscall, const std::string& target);

// An Error as node's own fs functions throw it: `code` is the errno name, `errno` its negative number,
// `syscall`.
Napi::Error ToNapiError(Napi::Env env, const SystemError& error);

// Runs `body`; a SystemError leaves it as a JavaScript error. Every function that JavaScript calls goes
// through here.
template <typename Body>
auto Coded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const SystemError& error) {
    throw ToNapiError(env, error);
  }
}

template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
Napi::Value CodedFunction(const Napi::CallbackInfo& info) {
  return Coded(info.Env(), [&] { return Function(info); });
}

}  // namespace corecast

#endif  // CORECAST_ERRORS_H_
