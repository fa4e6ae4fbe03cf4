#include "task_dir.h"

#include <dirent.h>
#include <fcntl.h>

#include <cstdlib>

#include "system_error.h"

namespace corecast {

UniqueFd OpenTaskDir(const std::string& procRoot, pid_t pid) {
  const std::string path = procRoot + "/" + std::to_string(pid) + "/task";
  UniqueFd dir(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) {
    if (errno == ENOENT) errno = ESRCH;
    ThrowErrno("open", path);
  }
  return dir;
}

bool ListTasks(int taskDir, std::vector<pid_t>* tids) {
  tids->clear();
  if (lseek(taskDir, 0, SEEK_SET) < 0) return false;
  // getdents64 rather than readdir: it needs no DIR, so the sampler can keep the bare descriptor.
  alignas(dirent64) char entries[16384];
  for (;;) {
    const ssize_t bytes = getdents64(taskDir, entries, sizeof entries);
    if (bytes < 0) return false;
    if (bytes == 0) return !tids->empty();
    for (ssize_t at = 0; at < bytes;) {
      const dirent64* entry = reinterpret_cast<const dirent64*>(entries + at);
      const int tid = std::atoi(entry->d_name);
      if (tid > 0) tids->push_back(tid);
      at += entry->d_reclen;
    }
  }
}

}  // namespace corecast
