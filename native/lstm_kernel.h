// The compilations of lstm_kernel.cc. Which exist is decided by binding.gyp (CORECAST_X64_KERNELS).
#ifndef CORECAST_LSTM_KERNEL_H
#define CORECAST_LSTM_KERNEL_H

#include "lstm_engine.h"

namespace corecast {

std::unique_ptr<LstmEngine<float>> make_engine_portable(const LstmShape& shape, const LstmOptions& options);
#ifdef CORECAST_X64_KERNELS
std::unique_ptr<LstmEngine<float>> make_engine_avx2(const LstmShape& shape, const LstmOptions& options);
std::unique_ptr<LstmEngine<float>> make_engine_avx512(const LstmShape& shape, const LstmOptions& options);
#endif

}  // namespace corecast

#endif
