#include "exit_watcher.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <system_error>

#include "addon_instance.h"
#include "arguments.h"
#include "process_info.h"
#include "system_error.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace corecast {
namespace {

constexpr uint64_t kStopId = 0;  // The eventfd; watches count from 1.

// The order closes the race with a reused pid. The pidfd is opened first and holds on to whatever process had
// the pid then; only after that is the start time read. If it is the expected one, the process was there
// before and after, so the pidfd is its own. If the process ended between, the pidfd says so at once.
UniqueFd OpenPidfd(pid_t pid, uint64_t startTicks) {
  const std::string target = "pid " + std::to_string(pid);
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    // The number of a thread that leads no process: EINVAL, from Linux 6.15 on ENOENT.
    if (errno == EINVAL || errno == ENOENT) errno = ESRCH;
    ThrowErrno("pidfd_open", target);
  }
  const uint64_t actual = ReadStartTicks(pid);
  if (actual != startTicks) {
    throw SystemError(
        ESRCH, "pidfd_open",
        target + " started at tick " + std::to_string(actual) + ", not " + std::to_string(startTicks));
  }
  return pidfd;
}

// A thread that takes no signals: node's handlers belong on node's threads.
template <typename Body>
std::thread StartWithoutSignals(Body body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  int error = 0;
  try {
    thread = std::thread(body);
  } catch (const std::system_error& refused) {
    error = refused.code().value();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) throw SystemError(error, "pthread_create", "exit watcher");
  return thread;
}

}  // namespace

ExitWatcher::ExitWatcher(Napi::Env env)
    : env_(env), epoll_(epoll_create1(EPOLL_CLOEXEC)), stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !stop_) ThrowErrno(epoll_ ? "eventfd" : "epoll_create1", "exit watcher");
  epoll_event stopEvent = {};
  stopEvent.events = EPOLLIN;
  stopEvent.data.u64 = kStopId;
  if (epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, stop_.Get(), &stopEvent) != 0) {
    ThrowErrno("epoll_ctl", "exit watcher");
  }
  queue_ = ExitQueue::New(env, "corecast.exitWatcher", 0, 1, this);
  queue_.Unref(env);
  try {
    thread_ = StartWithoutSignals([this] { Run(); });
  } catch (const SystemError&) {
    queue_.Abort();
    throw;
  }
  // Hooks run last in, first out: this one before the queue's own.
  napi_add_env_cleanup_hook(
      env, [](void* self) { static_cast<ExitWatcher*>(self)->Stop(); }, this);
}

ExitWatcher::~ExitWatcher() { Stop(); }

uint64_t ExitWatcher::Open(pid_t pid, uint64_t startTicks, Napi::Function onExit) {
  Watch watch = {OpenPidfd(pid, startTicks), Napi::Persistent(onExit)};
  const uint64_t id = ++lastId_;
  epoll_event exitEvent = {};
  exitEvent.events = EPOLLIN | EPOLLONESHOT;
  exitEvent.data.u64 = id;
  if (epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, watch.pidfd.Get(), &exitEvent) != 0) {
    ThrowErrno("epoll_ctl", "pid " + std::to_string(pid));
  }
  watches_.emplace(id, std::move(watch));
  if (watches_.size() == 1) queue_.Ref(env_);
  return id;
}

void ExitWatcher::Close(uint64_t id) {
  // Closing the only descriptor of a pidfd also takes it out of epoll.
  if (watches_.erase(id) > 0 && watches_.empty()) queue_.Unref(env_);
}

// On the JavaScript thread, from the queue. `env` is null when the queue is emptied at the end of the
// environment.
void ExitWatcher::Deliver(Napi::Env env, Napi::Function, ExitWatcher* watcher, void* id) {
  if (napi_env(env) == nullptr) return;
  const auto found = watcher->watches_.find(reinterpret_cast<uintptr_t>(id));
  if (found == watcher->watches_.end()) return;
  const Napi::Function onExit = found->second.onExit.Value();
  watcher->Close(found->first);
  try {
    onExit.Call({});
  } catch (const Napi::Error& error) {
    // Thrown on, it would end as a deprecation warning; this makes it the uncaught exception that it is.
    napi_fatal_exception(env, error.Value());
  }
}

// On the watcher thread.
void ExitWatcher::Run() {
  pthread_setname_np(pthread_self(), "exit-watcher");
  epoll_event events[64];
  for (;;) {
    const int ready = epoll_wait(epoll_.Get(), events, 64, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.u64 == kStopId) return;
      queue_.NonBlockingCall(reinterpret_cast<void*>(static_cast<uintptr_t>(events[i].data.u64)));
    }
  }
}

void ExitWatcher::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // Cannot fail: the counter of an eventfd takes 2^64 - 2 of these.
  (void)!write(stop_.Get(), &one, sizeof one);
  thread_.join();
  watches_.clear();
  queue_.Abort();
}

Napi::Value WatchExit(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const pid_t pid = PidArgument(info, 0, "pidfd_open");
  const uint64_t startTicks = StartTicksArgument(info, 1, "pidfd_open");
  const Napi::Function onExit = FunctionArgument(info, 2, "onExit");
  std::unique_ptr<ExitWatcher>& watcher = AddonInstance::Of(env).exitWatcher;
  if (!watcher) watcher = std::make_unique<ExitWatcher>(env);
  const uint64_t id = watcher->Open(pid, startTicks, onExit);

  Napi::Object handle = Napi::Object::New(env);
  handle.Set("close", Napi::Function::New(
                          env, [owner = watcher.get(), id](const Napi::CallbackInfo&) { owner->Close(id); }));
  return handle;
}

}  // namespace corecast
