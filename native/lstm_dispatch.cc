#include "lstm_kernel.h"

namespace corecast {

std::unique_ptr<LstmEngine<float>> make_engine(const LstmShape& shape, const LstmOptions& options) {
#ifdef CORECAST_X64_KERNELS
  // "fma" apart: some hypervisors show avx2 and hide it.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("fma")) {
    return make_engine_avx512(shape, options);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return make_engine_avx2(shape, options);
#endif
  return make_engine_portable(shape, options);
}

}  // namespace corecast
