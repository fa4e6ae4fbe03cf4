// The loss of one sample: pinball at 0.5, 0.9 and 0.99 over the targets that are known (not NaN).
#ifndef CORECAST_LSTM_PINBALL_H
#define CORECAST_LSTM_PINBALL_H

#include <cstddef>

namespace corecast {
namespace CORECAST_KERNEL {

template <typename Scalar>
size_t known_targets(const Scalar* target, ptrdiff_t count) {
  size_t known = 0;
  for (ptrdiff_t i = 0; i < count; i++) known += target[i] == target[i] ? 1 : 0;
  return known;
}

// `raw` and `plus` (its softplus) hold three planes of K. Returns the sum; d_raw holds the derivative of
// `plus` by `raw` and receives `weight` times that of the sum by `raw`.
template <typename Scalar>
double pinball_row(const Scalar* __restrict raw, const Scalar* __restrict plus,
                   const Scalar* __restrict target, ptrdiff_t K, Scalar weight, Scalar* __restrict d_raw) {
  Scalar sum = 0;
#pragma GCC ivdep  // the three planes lie K apart
  for (ptrdiff_t k = 0; k < K; k++) {
    const bool known = target[k] == target[k];
    const Scalar q50 = raw[k], q90 = q50 + plus[K + k], q99 = q90 + plus[2 * K + k];
    const Scalar y = known ? target[k] : Scalar(0);
    const Scalar mask = known ? Scalar(1) : Scalar(0);
    const Scalar slope50 = mask * (y > q50 ? Scalar(-0.5) : Scalar(0.5));
    const Scalar slope90 = mask * (y > q90 ? Scalar(-0.9) : Scalar(0.1));
    const Scalar slope99 = mask * (y > q99 ? Scalar(-0.99) : Scalar(0.01));
    sum += slope50 * (q50 - y) + slope90 * (q90 - y) + slope99 * (q99 - y);
    d_raw[k] = weight * (slope50 + slope90 + slope99);
    d_raw[K + k] *= weight * (slope90 + slope99);
    d_raw[2 * K + k] *= weight * slope99;
  }
  return static_cast<double>(sum);
}

}  // namespace CORECAST_KERNEL
}  // namespace corecast

#endif
