#ifndef CORECAST_PROC_STAT_H_
#define CORECAST_PROC_STAT_H_

#include <cstdint>
#include <string_view>

namespace corecast {

// Reads numbers separated by anything that is not a digit. Written by hand because a tick reads tens of
// thousands of them: strtoull and sscanf cost several times as much.
class NumberCursor {
 public:
  explicit NumberCursor(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  // The next number, 0 when there is none. A sign is passed over.
  uint64_t Next() {
    while (at_ < end_ && !IsDigit(*at_)) at_++;
    uint64_t value = 0;
    while (at_ < end_ && IsDigit(*at_)) value = value * 10 + static_cast<uint64_t>(*at_++ - '0');
    return value;
  }

  void Skip(int numbers) {
    while (numbers-- > 0) Next();
  }

  bool AtEnd() const { return at_ >= end_; }

 private:
  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }

  const char* at_;
  const char* end_;
};

// What corecast uses of /proc/PID/stat and /proc/PID/task/TID/stat (proc(5)). Times in clock ticks.
struct ProcStat {
  char state = 0;
  uint64_t minorFaults = 0;
  uint64_t majorFaults = 0;
  uint64_t userTicks = 0;
  uint64_t systemTicks = 0;
  uint64_t threads = 0;
  uint64_t startTicks = 0;
  uint64_t rssPages = 0;
  int cpu = 0;
};

// False when the text is not a whole stat line.
bool ParseProcStat(std::string_view text, ProcStat* stat);

}  // namespace corecast

#endif  // CORECAST_PROC_STAT_H_
