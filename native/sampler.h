#ifndef CORECAST_SAMPLER_H_
#define CORECAST_SAMPLER_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cpu_times.h"
#include "kept_file.h"
#include "proc_stat.h"
#include "unique_fd.h"

namespace corecast {

// Reads /proc for all sampled processes, their threads and the host's CPUs in one go. Knows nothing of
// JavaScript.
//
// What a tick costs is a read per thread, so each is read as rarely as the numbers allow:
// - The threads of at most `maxThreads` threads' worth of processes a tick, process after process in turn.
//   Those that are watched closely, and those never read yet, come on top, every tick. What a thread did
//   between two reads is in its row whenever they are; the process' own times are read every tick.
// - schedstat, the cheaper file, first: nanoseconds run and waited, and how often it was switched in. A thread
//   that has not run has not changed.
// - stat, for the CPU the thread was last on, only once it has run for kCpuRereadNs since that was read.
// - io, whose bytes the kernel sums over all threads, every kIoEvery calls, processes in turn; the first two at once,
//   for a first rate.
// - the task directory only when the number of threads in the process' stat is not the number of threads that
//   could still be read. A thread that took the place of one that ended is found too, because reading the
//   ended one fails.
// Threads that live and die between two reads get no row; their time is in the process' own numbers.
//
// Descriptors stay with the process or thread they were opened for, so a reused pid or tid reads as gone.
class Sampler {
 public:
  // Column counts of the rows; src/lib/native.ts names the columns.
  static constexpr size_t kProcessColumns = 15;
  static constexpr size_t kThreadColumns = 8;
  static constexpr size_t kCpuColumns = 7;

  // SystemError when `procRoot` has no stat.
  explicit Sampler(std::string procRoot);

  // SystemError ESRCH when the process is gone or started at another tick. Adding one twice does nothing.
  void Add(pid_t pid, uint64_t startTicks);
  void Remove(pid_t pid) { processes_.erase(pid); }
  // Reads the threads of `pid` at every Sample(), or in turn again. An unknown pid is passed over.
  void WatchClosely(pid_t pid, bool closely);
  void Sample(size_t maxThreads);

  // Rows of the last Sample(), processes by pid. Threads: of those processes whose threads it read.
  const std::vector<double>& processRows() const { return processRows_; }
  const std::vector<double>& threadRows() const { return threadRows_; }
  const std::vector<double>& cpuRows() const { return cpuRows_; }

 private:
  struct Thread {
    pid_t tid = 0;
    KeptFile schedstat;
    KeptFile stat;
    double cpuSeconds = 0;
    double waitSeconds = 0;
    // CPU seconds between the two latest reads; at the first, all.
    double ranSeconds = 0;
    uint64_t switches = 0;
    int cpu = -1;
    // CPUs in its affinity mask; -1 when unknown.
    int maskCpus = -1;
    uint32_t reads = 0;
    uint64_t runNs = 0;
    uint64_t runNsAtCpu = 0;
  };

  struct Process {
    uint64_t startTicks = 0;
    UniqueFd stat;
    UniqueFd taskDir;
    UniqueFd io;
    // Calls since it was added, and its turn among the processes.
    uint32_t calls = 0;
    uint32_t turn = 0;
    std::vector<Thread> threads;
    std::array<double, kProcessColumns> row = {};
    bool alive = true;
    bool closely = false;
    bool everRead = false;
  };

  void ReadProcess(Process* process);
  void ReadIo(Process* process);
  void ReadThreadsInTurn(size_t maxThreads);
  void ReadThreads(pid_t pid, Process* process);
  void FindNewThreads(Process* process);
  bool ReadThread(Process* process, Thread* thread);
  bool ReadTimes(Process* process, Thread* thread);
  void AppendThreadRows(pid_t pid, const Process& process);

  const std::string procRoot_;
  // Masks are asked of the kernel by tid: only those of the kernel's own /proc.
  const bool kernelsOwn_;
  const double ticksPerSecond_;
  const double pageBytes_;
  CpuTimes cpuTimes_;
  FdBudget fdBudget_;
  std::map<pid_t, Process> processes_;
  uint32_t turns_ = 0;
  // The process whose threads were the last to be read in turn.
  pid_t lastInTurn_ = 0;
  std::vector<pid_t> tids_;
  std::vector<double> processRows_;
  std::vector<double> threadRows_;
  std::vector<double> cpuRows_;
};

}  // namespace corecast

#endif  // CORECAST_SAMPLER_H_
