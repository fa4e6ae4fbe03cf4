#include "cpu_times.h"

#include <fcntl.h>

#include <string_view>

#include "proc_stat.h"
#include "system_error.h"

namespace corecast {
namespace {

// The first line, "cpu  ...", is the sum of all; the lines of CPUs follow it directly.
bool IsCpuLine(std::string_view line) { return line.substr(0, 3) == "cpu"; }
bool IsSum(std::string_view line) { return line.substr(0, 4) == "cpu "; }

}  // namespace

CpuTimes::CpuTimes(const std::string& procRoot)
    : path_(procRoot + "/stat"), file_(open(path_.c_str(), O_RDONLY | O_CLOEXEC)), text_(8192) {
  if (!file_) ThrowErrno("open", path_);
}

size_t CpuTimes::Read(std::vector<double>* rows) {
  const double ticksPerSecond = static_cast<double>(sysconf(_SC_CLK_TCK));
  // In one read, since the kernel writes the text anew for each; the buffer grows until the whole file fits.
  ssize_t length;
  while ((length = pread(file_.Get(), text_.data(), text_.size(), 0)) == static_cast<ssize_t>(text_.size())) {
    text_.resize(text_.size() * 2);
  }
  if (length < 0) ThrowErrno("read", path_);

  std::string_view left(text_.data(), static_cast<size_t>(length));
  size_t count = 0;
  while (IsCpuLine(left)) {
    const std::string_view line = left.substr(0, left.find('\n'));
    left.remove_prefix(line.size() < left.size() ? line.size() + 1 : line.size());
    if (IsSum(line)) continue;
    NumberCursor numbers(line);
    const double cpu = static_cast<double>(numbers.Next());
    uint64_t ticks[8];  // user nice system idle iowait irq softirq steal
    for (uint64_t& value : ticks) value = numbers.Next();
    const auto seconds = [&](uint64_t value) { return static_cast<double>(value) / ticksPerSecond; };
    rows->insert(rows->end(), {cpu, seconds(ticks[0] + ticks[1]), seconds(ticks[2]), seconds(ticks[3]),
                               seconds(ticks[4]), seconds(ticks[5] + ticks[6]), seconds(ticks[7])});
    count++;
  }
  return count;
}

}  // namespace corecast
