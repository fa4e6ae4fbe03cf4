#include "replace_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "system_error.h"

namespace corecast {
namespace {

// What handles signals survives in the new program only as "ignored" (execve(2)): node ignores SIGPIPE. All are set
// to their defaults and none is blocked, as a shell would start a program. If the program can't be executed after
// all, the destructor puts everything back.
class DefaultSignals {
 public:
  DefaultSignals() {
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, &mask_);
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) {
      // SIGKILL, SIGSTOP and those that belong to the C library can't be changed.
      changed_[number] = sigaction(number, &standard, &before_[number]) == 0;
    }
  }
  ~DefaultSignals() {
    for (int number = 1; number < NSIG; number++) {
      if (changed_[number]) sigaction(number, &before_[number], nullptr);
    }
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  DefaultSignals(const DefaultSignals&) = delete;
  DefaultSignals& operator=(const DefaultSignals&) = delete;

 private:
  sigset_t mask_;
  std::array<struct sigaction, NSIG> before_ = {};
  std::array<bool, NSIG> changed_ = {};
};

void SetCloseOnExec(int fd, bool close) {
  const int flags = fcntl(fd, F_GETFD);
  if (flags < 0) return;  // Not open.
  fcntl(fd, F_SETFD, close ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC);
}

// node closes what it was given at an exec, standard streams included, and may leave open what libraries opened: only
// the standard streams and `kept` reach the new program. Streams that node made non-blocking block again.
void PassOn(const std::vector<int>& kept) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir("/proc/self/fd"), closedir);
  if (!open) ThrowErrno("opendir", "/proc/self/fd");
  while (const dirent* entry = readdir(open.get())) {
    const int fd = std::atoi(entry->d_name);
    if (fd > STDERR_FILENO) SetCloseOnExec(fd, true);
  }
  for (const int fd : kept) SetCloseOnExec(fd, false);
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
    SetCloseOnExec(fd, false);
    const int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  }
}

}  // namespace

Napi::Value ReplaceProcess(const Napi::CallbackInfo& info) {
  const std::string program = StringArgument(info, 0, "program");
  const std::vector<std::string> args = StringListArgument(info, 1, "args");
  const std::vector<int> kept = DescriptorListArgument(info, 2, "fcntl");
  std::vector<char*> words = {const_cast<char*>(program.c_str())};
  for (const std::string& arg : args) words.push_back(const_cast<char*>(arg.c_str()));
  words.push_back(nullptr);

  const DefaultSignals signals;
  PassOn(kept);
  // The environment is process.env: node keeps it there on the main thread. Ends every other thread.
  execvp(program.c_str(), words.data());
  ThrowErrno("execve", program);
}

}  // namespace corecast
