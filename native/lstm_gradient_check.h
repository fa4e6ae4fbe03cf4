// Compares the analytic gradient with central differences, in double precision and over every parameter.
#ifndef CORECAST_LSTM_GRADIENT_CHECK_H
#define CORECAST_LSTM_GRADIENT_CHECK_H

#include "lstm_engine.h"

namespace corecast {

struct GradientCheck {
  double max_relative_error;
  size_t parameters;
};

// Random inputs and targets from the seed; one target in five is NaN.
GradientCheck check_gradient(const LstmShape& shape, int batch, uint64_t seed);

}  // namespace corecast

#endif
