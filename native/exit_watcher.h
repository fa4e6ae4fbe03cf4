#ifndef CORECAST_EXIT_WATCHER_H_
#define CORECAST_EXIT_WATCHER_H_

#include <napi.h>
#include <sys/types.h>

#include <cstdint>
#include <thread>
#include <unordered_map>

#include "unique_fd.h"

namespace corecast {

// Tells JavaScript when processes end. One watcher thread for all of them waits in epoll on their pidfds,
// which become readable when the process does so much as turn into a zombie, whoever its parent is.
//
// Threads: everything but Run() runs on the JavaScript thread, which alone owns the watches. The watcher
// thread knows only ids: it reads them from epoll and queues them to the JavaScript thread, where Deliver()
// looks the watch up. A watch that was closed meanwhile is not found, and ids are never used twice, so
// nothing needs a lock.
//
// Open watches keep the event loop alive; none open, it may end. At the end of the environment (process exit,
// worker terminated) a cleanup hook stops the watcher thread before node takes anything away that it uses.
class ExitWatcher {
 public:
  explicit ExitWatcher(Napi::Env env);
  ~ExitWatcher();
  ExitWatcher(const ExitWatcher&) = delete;
  ExitWatcher& operator=(const ExitWatcher&) = delete;

  // Calls `onExit` once, on the JavaScript thread. SystemError ESRCH when the process is gone or is not the
  // one that started at `startTicks`.
  uint64_t Open(pid_t pid, uint64_t startTicks, Napi::Function onExit);
  // Closing twice, or after the exit was told, does nothing.
  void Close(uint64_t id);

 private:
  struct Watch {
    UniqueFd pidfd;
    Napi::FunctionReference onExit;
  };

  static void Deliver(Napi::Env env, Napi::Function unused, ExitWatcher* watcher, void* id);
  using ExitQueue = Napi::TypedThreadSafeFunction<ExitWatcher, void, Deliver>;

  void Run();
  void Stop();

  Napi::Env env_;
  UniqueFd epoll_;
  UniqueFd stop_;
  ExitQueue queue_;
  std::thread thread_;
  std::unordered_map<uint64_t, Watch> watches_;
  uint64_t lastId_ = 0;
};

// watchExit of src/lib/native.ts.
Napi::Value WatchExit(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_EXIT_WATCHER_H_
