#ifndef CORECAST_CPU_TIMES_H_
#define CORECAST_CPU_TIMES_H_

#include <string>
#include <vector>

#include "unique_fd.h"

namespace corecast {

// The time that each CPU has spent on what, from /proc/stat, kept open.
class CpuTimes {
 public:
  // SystemError when `procRoot` has no stat.
  explicit CpuTimes(const std::string& procRoot);

  // Appends a row of CPU_COLUMNS (src/lib/native.ts) for each CPU that is online now; returns how many.
  // `user` includes nice (and, as the kernel counts, guests), `irq` includes softirq.
  size_t Read(std::vector<double>* rows);

 private:
  std::string path_;
  UniqueFd file_;
  std::vector<char> text_;
};

}  // namespace corecast

#endif  // CORECAST_CPU_TIMES_H_
