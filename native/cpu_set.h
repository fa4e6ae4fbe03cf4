#ifndef CORECAST_CPU_SET_H_
#define CORECAST_CPU_SET_H_

#include <sched.h>

#include <cstddef>
#include <vector>

namespace corecast {

// A set of CPUs as sched_setaffinity(2) takes it, sized at run time: glibc's cpu_set_t ends at CPU 1023.
class CpuSet {
 public:
  // Far above any CONFIG_NR_CPUS; a set of that many is 128 KiB.
  static constexpr int kMaxCpu = (1 << 20) - 1;

  // An empty set that has room for CPUs 0 to `cpus` - 1.
  explicit CpuSet(int cpus) : bytes_(CPU_ALLOC_SIZE(cpus)), words_(bytes_ / sizeof(__cpu_mask), 0) {}

  static CpuSet Of(const std::vector<int>& cpus) {
    int largest = 0;
    for (const int cpu : cpus) largest = cpu > largest ? cpu : largest;
    CpuSet set(largest + 1);
    for (const int cpu : cpus) CPU_SET_S(cpu, set.bytes_, set.Get());
    return set;
  }

  cpu_set_t* Get() { return reinterpret_cast<cpu_set_t*>(words_.data()); }
  const cpu_set_t* Get() const { return reinterpret_cast<const cpu_set_t*>(words_.data()); }
  size_t bytes() const { return bytes_; }

  bool IsSubsetOf(const CpuSet& other) const {
    for (size_t i = 0; i < words_.size(); i++) {
      if ((words_[i] & ~other.WordAt(i)) != 0) return false;
    }
    return true;
  }

  bool operator==(const CpuSet& other) const { return IsSubsetOf(other) && other.IsSubsetOf(*this); }
  bool operator!=(const CpuSet& other) const { return !(*this == other); }

  // Ascending.
  std::vector<int> ToList() const {
    std::vector<int> cpus;
    for (size_t i = 0; i < words_.size(); i++) {
      for (__cpu_mask left = words_[i]; left != 0; left &= left - 1) {
        cpus.push_back(static_cast<int>(i * __NCPUBITS) + __builtin_ctzl(left));
      }
    }
    return cpus;
  }

 private:
  __cpu_mask WordAt(size_t i) const { return i < words_.size() ? words_[i] : 0; }

  size_t bytes_;
  std::vector<__cpu_mask> words_;
};

}  // namespace corecast

#endif  // CORECAST_CPU_SET_H_
