#ifndef CORECAST_LSTM_FLUSH_DENORMALS_H
#define CORECAST_LSTM_FLUSH_DENORMALS_H

namespace corecast {
namespace CORECAST_KERNEL {

// Adam's moments of dead units decay into denormal numbers, which cost a hundred cycles each on many CPUs.
class FlushDenormals {
#ifdef __SSE2__
 public:
  FlushDenormals() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(saved_ | 0x8040); }
  ~FlushDenormals() { __builtin_ia32_ldmxcsr(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
#endif
};

}  // namespace CORECAST_KERNEL
}  // namespace corecast

#endif
