#include "sampler.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <unordered_set>

#include "system_error.h"
#include "task_dir.h"

namespace corecast {
namespace {

// What a thread may run before the CPU it is on is looked up again: one clock tick, the resolution of stat
// itself.
constexpr uint64_t kCpuRereadNs = 10'000'000;
// More threads than this count in the numbers of their process but get no rows.
constexpr size_t kMaxThreads = 65'536;
// Reads of a thread between two looks at its mask, which costs a fifth of a read. Who keeps threads on their
// CPUs looks for itself (src/pinning).
constexpr uint32_t kMaskEvery = 8;
// Calls between two reads of a process' io.
constexpr uint32_t kIoEvery = 5;
// The most that CONFIG_NR_CPUS allows.
constexpr size_t kMaxCpus = 8192;
// 52 fields of at most 20 digits, and a name of 64 bytes.
constexpr size_t kStatBytes = 2048;

// Columns of a process row, in the order of PROCESS_COLUMNS.
enum {
  kPid,
  kAlive,
  kThreads,
  kUser,
  kSystem,
  kRun,
  kWait,
  kRss,
  kMinorFaults,
  kMajorFaults,
  kSwitches,
  kWidestMask,
  kThreadsRead,
  kReadBytes,
  kIoRead
};

// Values of kIoRead.
constexpr double kIoNotRead = 0;
constexpr double kIoReadNow = 1;
constexpr double kIoRefused = 2;

// Why a read of a file below /proc/PID failed: because the process or thread has ended?
bool Ended(int error) { return error == ESRCH || error == ENOENT; }

// CPUs in the affinity mask of a thread; -1 when the kernel does not say. The system call itself, which says
// how many bytes it wrote: glibc's would clear the rest each time.
int MaskCpus(pid_t tid) {
  uint64_t words[kMaxCpus / 64];
  const auto bytes = syscall(SYS_sched_getaffinity, tid, sizeof words, words);
  if (bytes < 0) return -1;
  int cpus = 0;
  for (size_t i = 0; i < static_cast<size_t>(bytes) / sizeof(uint64_t); i++) {
    cpus += __builtin_popcountll(words[i]);
  }
  return cpus;
}

}  // namespace

Sampler::Sampler(std::string procRoot)
    : procRoot_(std::move(procRoot)),
      kernelsOwn_(procRoot_ == "/proc"),
      ticksPerSecond_(static_cast<double>(sysconf(_SC_CLK_TCK))),
      pageBytes_(static_cast<double>(sysconf(_SC_PAGESIZE))),
      cpuTimes_(procRoot_) {}

void Sampler::Add(pid_t pid, uint64_t startTicks) {
  const std::string path = procRoot_ + "/" + std::to_string(pid) + "/stat";
  Process process;
  process.startTicks = startTicks;
  process.stat = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[kStatBytes];
  const ssize_t length = process.stat ? pread(process.stat.Get(), text, sizeof text, 0) : -1;
  if (length < 0) {
    if (errno == ENOENT) errno = ESRCH;
    ThrowErrno(process.stat ? "read" : "open", path);
  }
  ProcStat stat;
  if (!ParseProcStat(std::string_view(text, static_cast<size_t>(length)), &stat)) {
    throw SystemError(ENODATA, "read", path);
  }
  if (stat.startTicks != startTicks) {
    throw SystemError(ESRCH, "open",
                      path + " of a process that started at tick " + std::to_string(stat.startTicks) +
                          ", not " + std::to_string(startTicks));
  }
  const auto known = processes_.find(pid);
  if (known != processes_.end() && known->second.startTicks == startTicks && known->second.alive) return;
  process.taskDir = OpenTaskDir(procRoot_, pid);
  process.row[kPid] = pid;
  process.row[kReadBytes] = std::nan("");
  process.turn = turns_++;
  processes_.insert_or_assign(pid, std::move(process));
}

void Sampler::WatchClosely(pid_t pid, bool closely) {
  const auto known = processes_.find(pid);
  if (known != processes_.end()) known->second.closely = closely;
}

void Sampler::Sample(size_t maxThreads) {
  processRows_.clear();
  threadRows_.clear();
  cpuRows_.clear();
  cpuTimes_.Read(&cpuRows_);
  for (auto& [pid, process] : processes_) {
    process.row[kThreadsRead] = 0;
    process.row[kIoRead] = kIoNotRead;
    if (process.alive) ReadProcess(&process);
    if (process.alive && (process.calls < 2 || (process.calls + process.turn) % kIoEvery == 0)) ReadIo(&process);
    process.calls++;
    if (process.alive && (process.closely || !process.everRead)) ReadThreads(pid, &process);
  }
  ReadThreadsInTurn(maxThreads);
  for (const auto& [pid, process] : processes_) {
    processRows_.insert(processRows_.end(), process.row.begin(), process.row.end());
  }
}

// On from the process whose turn was last, until `maxThreads` are read or all processes were; at least one
// process, so that one with more threads than that has its turn, too.
void Sampler::ReadThreadsInTurn(size_t maxThreads) {
  size_t read = 0;
  auto next = processes_.upper_bound(lastInTurn_);
  for (size_t left = processes_.size(); left > 0; left--, ++next) {
    if (next == processes_.end()) next = processes_.begin();
    auto& [pid, process] = *next;
    if (!process.alive || process.row[kThreadsRead] != 0) continue;
    const auto threads = static_cast<size_t>(process.row[kThreads]);
    if (read > 0 && read + threads > maxThreads) return;
    ReadThreads(pid, &process);
    read += threads;
    lastInTurn_ = pid;
  }
}

void Sampler::ReadProcess(Process* process) {
  char text[kStatBytes];
  const ssize_t length = pread(process->stat.Get(), text, sizeof text, 0);
  ProcStat stat;
  const bool parsed = length > 0 && ParseProcStat(std::string_view(text, static_cast<size_t>(length)), &stat);
  std::array<double, kProcessColumns>& row = process->row;
  if (parsed) {
    row[kUser] = static_cast<double>(stat.userTicks) / ticksPerSecond_;
    row[kSystem] = static_cast<double>(stat.systemTicks) / ticksPerSecond_;
    row[kMinorFaults] = static_cast<double>(stat.minorFaults);
    row[kMajorFaults] = static_cast<double>(stat.majorFaults);
  }
  // A zombie still has its times, the last ones, but has given back the rest. When a process' first thread
  // ends before the others it looks like one, except for the number of threads.
  const bool zombie = parsed && (stat.state == 'Z' || stat.state == 'X') && stat.threads <= 1;
  process->alive = !zombie && !(length < 0 && Ended(errno));
  row[kAlive] = process->alive ? 1 : 0;
  if (!process->alive) {
    process->threads.clear();
    process->stat.Reset();
    process->taskDir.Reset();
    process->io.Reset();
    return;
  }
  if (!parsed) return;
  row[kThreads] = static_cast<double>(stat.threads);
  row[kRss] = static_cast<double>(stat.rssPages) * pageBytes_;
}

// The bytes that it passed to read(2) and its kin: "rchar: N", the first line since Linux 2.6.20. Opened from the task
// directory, which no other process can have taken the place of.
void Sampler::ReadIo(Process* process) {
  std::array<double, kProcessColumns>& row = process->row;
  row[kReadBytes] = std::nan("");
  if (!process->io) process->io = UniqueFd(openat(process->taskDir.Get(), "../io", O_RDONLY | O_CLOEXEC));
  char text[kStatBytes];
  const ssize_t length = process->io ? pread(process->io.Get(), text, sizeof text, 0) : -1;
  if (length < 0) {
    if (errno == EACCES || errno == EPERM) row[kIoRead] = kIoRefused;
    return;
  }
  constexpr std::string_view kItem = "rchar: ";
  const std::string_view read(text, static_cast<size_t>(length));
  if (read.substr(0, kItem.size()) != kItem) return;
  row[kReadBytes] = static_cast<double>(NumberCursor(read.substr(0, read.find('\n'))).Next());
  row[kIoRead] = kIoReadNow;
}

void Sampler::ReadThreads(pid_t pid, Process* process) {
  std::vector<Thread>& threads = process->threads;
  const auto expected = static_cast<uint64_t>(process->row[kThreads]);
  const auto ended = [&](Thread& thread) { return !ReadThread(process, &thread); };
  threads.erase(std::remove_if(threads.begin(), threads.end(), ended), threads.end());
  if (threads.size() != std::min<uint64_t>(expected, kMaxThreads)) {
    const auto firstNew = static_cast<std::ptrdiff_t>(threads.size());
    FindNewThreads(process);
    threads.erase(std::remove_if(threads.begin() + firstNew, threads.end(), ended), threads.end());
  }
  process->everRead = true;
  process->row[kThreadsRead] = 1;
  process->row[kWidestMask] = -1;
  for (const Thread& thread : threads) {
    process->row[kWidestMask] = std::max<double>(process->row[kWidestMask], thread.maskCpus);
  }
  AppendThreadRows(pid, *process);
}

void Sampler::FindNewThreads(Process* process) {
  if (!ListTasks(process->taskDir.Get(), &tids_)) return;
  std::unordered_set<pid_t> known;
  for (const Thread& thread : process->threads) known.insert(thread.tid);
  for (const pid_t tid : tids_) {
    if (process->threads.size() >= kMaxThreads) return;
    if (known.count(tid) > 0) continue;
    process->threads.emplace_back();
    process->threads.back().tid = tid;
  }
}

// False when the thread has ended. What it did since its last read goes to the process' sums, which therefore
// never step back when a thread ends.
bool Sampler::ReadThread(Process* process, Thread* thread) {
  const double ranBefore = thread->cpuSeconds;
  const double waitedBefore = thread->waitSeconds;
  const uint64_t switchesBefore = thread->switches;
  if (!ReadTimes(process, thread)) return false;
  if (kernelsOwn_ && thread->reads++ % kMaskEvery == 0) thread->maskCpus = MaskCpus(thread->tid);
  // Two threads never share a row, so a step back is the kernel's rounding.
  thread->ranSeconds = std::max(0.0, thread->cpuSeconds - ranBefore);
  std::array<double, kProcessColumns>& row = process->row;
  row[kRun] += thread->ranSeconds;
  row[kWait] += std::isnan(thread->waitSeconds) ? thread->waitSeconds : thread->waitSeconds - waitedBefore;
  row[kSwitches] += static_cast<double>(thread->switches - switchesBefore);
  return true;
}

// False when the thread has ended. One that cannot be read for another reason (no descriptor is left) keeps
// its numbers.
bool Sampler::ReadTimes(Process* process, Thread* thread) {
  const int dir = process->taskDir.Get();
  char text[kStatBytes];
  ssize_t length = thread->schedstat.Read(&fdBudget_, dir, thread->tid, "schedstat", text, sizeof text);
  // ENOENT is not the end yet: kernels without CONFIG_SCHED_INFO have no such file.
  if (length < 0 && errno == ESRCH) return false;
  bool counted = false;
  if (length > 0) {
    NumberCursor numbers(std::string_view(text, static_cast<size_t>(length)));
    thread->runNs = numbers.Next();
    thread->waitSeconds = static_cast<double>(numbers.Next()) / 1e9;
    thread->cpuSeconds = static_cast<double>(thread->runNs) / 1e9;
    const uint64_t timesOnCpu = numbers.Next();
    counted = timesOnCpu > 0;  // None means never run, or a kernel that doesn't count.
    thread->switches = std::max(thread->switches, timesOnCpu);
  }
  if (counted && thread->cpu >= 0 && thread->runNs - thread->runNsAtCpu < kCpuRereadNs) return true;

  length = thread->stat.Read(&fdBudget_, dir, thread->tid, "stat", text, sizeof text);
  if (length < 0) return !Ended(errno);
  ProcStat stat;
  if (!ParseProcStat(std::string_view(text, static_cast<size_t>(length)), &stat)) return true;
  thread->cpu = stat.cpu;
  thread->runNsAtCpu = thread->runNs;
  const uint64_t ticks = stat.userTicks + stat.systemTicks;
  if (!counted && ticks > 0) {
    thread->cpuSeconds = static_cast<double>(ticks) / ticksPerSecond_;
    thread->waitSeconds = std::nan("");
  }
  return true;
}

void Sampler::AppendThreadRows(pid_t pid, const Process& process) {
  for (const Thread& thread : process.threads) {
    threadRows_.insert(threadRows_.end(),
                       {static_cast<double>(pid), static_cast<double>(thread.tid),
                        static_cast<double>(thread.cpu), thread.cpuSeconds, thread.ranSeconds,
                        thread.waitSeconds, static_cast<double>(thread.switches),
                        static_cast<double>(thread.maskCpus)});
  }
}

}  // namespace corecast
