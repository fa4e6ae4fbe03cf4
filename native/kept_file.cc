#include "kept_file.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <string>

namespace corecast {

FdBudget::FdBudget() {
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  limit_ = files.rlim_cur / 2;
}

ssize_t KeptFile::Read(FdBudget* budget, int dir, pid_t tid, const char* file, char* text, size_t size) {
  if (fd_) return pread(fd_.Get(), text, size, 0);
  const std::string path = std::to_string(tid) + "/" + file;
  UniqueFd opened(openat(dir, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!opened) return -1;
  const ssize_t length = pread(opened.Get(), text, size, 0);
  if (length >= 0 && budget->Take()) {
    fd_ = std::move(opened);
    budget_ = budget;
  }
  return length;
}

void KeptFile::Drop() {
  if (budget_ != nullptr) std::exchange(budget_, nullptr)->GiveBack();
  fd_.Reset();
}

}  // namespace corecast
