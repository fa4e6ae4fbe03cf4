#include "lstm_kernel.h"

namespace corecast {

namespace {

struct Kernel {
  const char* name;
  bool runs_here;
  std::unique_ptr<LstmEngine<float>> (*make)(const LstmShape&, const LstmOptions&);
};

}  // namespace

std::unique_ptr<LstmEngine<float>> make_engine(const LstmShape& shape, const LstmOptions& options,
                                               const std::string& instruction_set) {
  const Kernel kernels[] = {
#ifdef CORECAST_X64_KERNELS
      // "fma" apart: some hypervisors show avx2 and hide it.
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma"),
       make_engine_avx512},
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), make_engine_avx2},
#endif
      {"portable", true, make_engine_portable},
  };
  for (const Kernel& kernel : kernels) {
    if (kernel.runs_here && (instruction_set.empty() || instruction_set == kernel.name)) {
      return kernel.make(shape, options);
    }
  }
  return nullptr;
}

}  // namespace corecast
