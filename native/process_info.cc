#include "process_info.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "proc_stat.h"
#include "system_error.h"
#include "unique_fd.h"

namespace corecast {
namespace {

// The text of /proc/PID/`file`; ESRCH when there is no such process. 8 KiB hold any stat or status.
std::string ReadProcFile(pid_t pid, const char* file) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[8192];
  const ssize_t length = fd ? read(fd.Get(), text, sizeof text) : -1;
  if (length < 0) {
    if (errno == ENOENT) errno = ESRCH;
    ThrowErrno(fd ? "read" : "open", path);
  }
  return std::string(text, static_cast<size_t>(length));
}

// The numbers of one line of /proc/PID/status, "NSpid:\t4711\t12".
std::vector<uint64_t> StatusNumbers(pid_t pid, const std::string& key) {
  const std::string status = "\n" + ReadProcFile(pid, "status");
  const size_t start = status.find("\n" + key + ":");
  if (start == std::string::npos) throw SystemError(ENODATA, "read", key + " of pid " + std::to_string(pid));
  const size_t lineEnd = std::min(status.find('\n', start + 1), status.size());
  const std::string line = status.substr(start, lineEnd - start);
  std::vector<uint64_t> values;
  NumberCursor numbers(line);
  while (!numbers.AtEnd()) values.push_back(numbers.Next());
  return values;
}

UniqueFd OpenPidNamespace(pid_t pid) {
  return UniqueFd(open(("/proc/" + std::to_string(pid) + "/ns/pid").c_str(), O_RDONLY | O_CLOEXEC));
}

bool SameNamespace(int a, int b) {
  struct stat left, right;
  return fstat(a, &left) == 0 && fstat(b, &right) == 0 && left.st_ino == right.st_ino &&
         left.st_dev == right.st_dev;
}

// Whether the namespace `levelsUp` above that of `pid` is `wanted`; nothing when that may not be seen.
std::optional<bool> LivesIn(int wanted, pid_t pid, size_t levelsUp) {
  UniqueFd space = OpenPidNamespace(pid);
  for (; space && levelsUp > 0; levelsUp--) space = UniqueFd(ioctl(space.Get(), NS_GET_PARENT));
  if (!space) return std::nullopt;
  return SameNamespace(wanted, space.Get());
}

std::vector<pid_t> AllProcesses() {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(opendir("/proc"), closedir);
  if (!proc) ThrowErrno("opendir", "/proc");
  std::vector<pid_t> pids;
  while (const dirent* entry = readdir(proc.get())) {
    const int pid = std::atoi(entry->d_name);
    if (pid > 0) pids.push_back(pid);
  }
  return pids;
}

// NSpid of a process names it in every pid namespace from ours down to its own, so `pid` is looked for at the
// depth of the viewer. Sibling namespaces use the same numbers: which one it is, /proc/PID/ns/pid says, if we
// may look (CAP_SYS_PTRACE or the same uid). If not, a number that only one process carries is still an
// answer: callers compare uid and start time anyway.
pid_t Translate(pid_t viewer, pid_t pid) {
  const size_t depth = StatusNumbers(viewer, "NSpid").size() - 1;
  if (depth == 0) {
    ReadStartTicks(pid);
    return pid;
  }
  const UniqueFd viewerSpace = OpenPidNamespace(viewer);
  std::vector<pid_t> unproven;
  for (const pid_t candidate : AllProcesses()) {
    std::vector<uint64_t> names;
    try {
      names = StatusNumbers(candidate, "NSpid");
    } catch (const SystemError&) {
      continue;  // Ended since the directory was read.
    }
    if (names.size() <= depth || names[depth] != static_cast<uint64_t>(pid)) continue;
    const std::optional<bool> proven =
        viewerSpace ? LivesIn(viewerSpace.Get(), candidate, names.size() - 1 - depth) : std::nullopt;
    if (proven == true) return candidate;
    if (!proven) unproven.push_back(candidate);
  }
  const std::string target = "pid " + std::to_string(pid) + " as pid " + std::to_string(viewer) + " sees it";
  if (unproven.size() > 1) throw SystemError(EACCES, "open", target);
  if (unproven.empty()) throw SystemError(ESRCH, "open", target);
  return unproven[0];
}

}  // namespace

uint64_t ReadStartTicks(pid_t pid) {
  ProcStat stat;
  if (!ParseProcStat(ReadProcFile(pid, "stat"), &stat)) {
    throw SystemError(ENODATA, "read", "/proc/" + std::to_string(pid) + "/stat");
  }
  return stat.startTicks;
}

Napi::Value StartTicks(const Napi::CallbackInfo& info) {
  const pid_t pid = PidArgument(info, 0, "open");
  return Napi::Number::New(info.Env(), static_cast<double>(ReadStartTicks(pid)));
}

Napi::Value ProcessUid(const Napi::CallbackInfo& info) {
  const std::vector<uint64_t> uids = StatusNumbers(PidArgument(info, 0, "open"), "Uid");
  return Napi::Number::New(info.Env(), static_cast<double>(uids.at(0)));
}

Napi::Value TranslatePid(const Napi::CallbackInfo& info) {
  const pid_t viewer = PidArgument(info, 0, "open");
  const pid_t pid = PidArgument(info, 1, "open");
  return Napi::Number::New(info.Env(), Translate(viewer, pid));
}

Napi::Value ClockTicksPerSecond(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(sysconf(_SC_CLK_TCK)));
}

}  // namespace corecast
