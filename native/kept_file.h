#ifndef CORECAST_KEPT_FILE_H_
#define CORECAST_KEPT_FILE_H_

#include <sys/types.h>

#include <utility>

#include "unique_fd.h"

namespace corecast {

// How many descriptors the sampler may hold on to. Half of RLIMIT_NOFILE (node raises the soft limit to the
// hard one at its start), so that connections and the database always find some.
class FdBudget {
 public:
  FdBudget();
  bool Take() {
    if (used_ >= limit_) return false;
    used_++;
    return true;
  }
  void GiveBack() { used_--; }

 private:
  size_t limit_;
  size_t used_ = 0;
};

// A file below a directory of /proc that is read again and again. Its descriptor stays open if the budget has
// room for it, which saves two thirds of a read's cost; else each read opens and closes it.
class KeptFile {
 public:
  KeptFile() = default;
  ~KeptFile() { Drop(); }
  KeptFile(KeptFile&& other) noexcept
      : fd_(std::move(other.fd_)), budget_(std::exchange(other.budget_, nullptr)) {}
  KeptFile& operator=(KeptFile&& other) noexcept {
    if (this != &other) {
      Drop();
      fd_ = std::move(other.fd_);
      budget_ = std::exchange(other.budget_, nullptr);
    }
    return *this;
  }

  // Reads `dir`/TID/`file` from its start. Bytes read, or -1 with errno.
  ssize_t Read(FdBudget* budget, int dir, pid_t tid, const char* file, char* text, size_t size);

 private:
  void Drop();

  UniqueFd fd_;
  FdBudget* budget_ = nullptr;  // Set while fd_ is open.
};

}  // namespace corecast

#endif  // CORECAST_KEPT_FILE_H_
