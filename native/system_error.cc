#include "system_error.h"

#include <uv.h>

namespace corecast {
namespace {

std::string Message(int error, const char* syscall, const std::string& target) {
  char text[128];
  uv_strerror_r(-error, text, sizeof text);
  return ErrnoName(error) + ": " + text + ", " + syscall + " (" + target + ")";
}

}  // namespace

SystemError::SystemError(int error, const char* syscall, const std::string& target)
    : std::runtime_error(Message(error, syscall, target)), error_(error), syscall_(syscall) {}

void ThrowErrno(const char* syscall, const std::string& target) { throw SystemError(errno, syscall, target); }

// libuv's names, because node's own errors carry them and strerrorname_np(3) is missing before glibc 2.32.
std::string ErrnoName(int error) {
  char name[32];
  uv_err_name_r(-error, name, sizeof name);
  return name;
}

}  // namespace corecast
