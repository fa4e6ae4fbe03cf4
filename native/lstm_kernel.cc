// One compilation of the network. binding.gyp compiles this file once for each instruction set, each time
// with its own CORECAST_KERNEL (a namespace). Eigen is renamed with it: its inline functions would otherwise
// be merged by the linker across the compilations, and the one kept might use instructions that this CPU
// lacks.
#ifndef CORECAST_KERNEL
#error "CORECAST_KERNEL is set by binding.gyp"
#endif
#define CORECAST_JOIN2(a, b) a##b
#define CORECAST_JOIN(a, b) CORECAST_JOIN2(a, b)
#define CORECAST_TEXT2(a) #a
#define CORECAST_TEXT(a) CORECAST_TEXT2(a)
#define CORECAST_KERNEL_NAME CORECAST_TEXT(CORECAST_KERNEL)
#define Eigen CORECAST_JOIN(Eigen_, CORECAST_KERNEL)

// Products of this size pack their operands on the stack, so that a training step allocates nothing.
#define EIGEN_STACK_ALLOCATION_LIMIT (1 << 20)

#include "lstm_kernel.h"

#include "lstm_network.h"

namespace corecast {

std::unique_ptr<LstmEngine<float>> CORECAST_JOIN(make_engine_, CORECAST_KERNEL)(const LstmShape& shape,
                                                                                const LstmOptions& options) {
  return std::make_unique<CORECAST_KERNEL::Network<float>>(shape, options);
}

#ifdef CORECAST_KERNEL_EXACT
std::unique_ptr<LstmEngine<double>> make_exact_engine(const LstmShape& shape, const LstmOptions& options) {
  return std::make_unique<CORECAST_KERNEL::Network<double>>(shape, options);
}
#endif

}  // namespace corecast
