#ifndef CORECAST_SYSTEM_ERROR_H_
#define CORECAST_SYSTEM_ERROR_H_

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

// The name of an errno, "ESRCH".
std::string ErrnoName(int error);

}  // namespace corecast

#endif  // CORECAST_SYSTEM_ERROR_H_
