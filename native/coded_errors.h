#ifndef CORECAST_CODED_ERRORS_H_
#define CORECAST_CODED_ERRORS_H_

#include <napi.h>

#include "system_error.h"

namespace corecast {

// An Error as node's own fs functions throw it: `code` is the errno name, `errno` its negative number,
// `syscall`.
inline Napi::Error ToNapiError(Napi::Env env, const SystemError& error) {
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", Napi::String::New(env, ErrnoName(error.error())));
  result.Set("errno", Napi::Number::New(env, -error.error()));
  result.Set("syscall", Napi::String::New(env, error.syscall()));
  return result;
}

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

#endif  // CORECAST_CODED_ERRORS_H_
