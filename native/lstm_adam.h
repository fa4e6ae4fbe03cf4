// Kingma & Ba 2015, with the norm of the whole gradient clipped.
#ifndef CORECAST_LSTM_ADAM_H
#define CORECAST_LSTM_ADAM_H

#include <Eigen/Core>
#include <cmath>

namespace corecast {
namespace CORECAST_KERNEL {

template <typename Scalar>
class Adam {
  using Array = Eigen::Array<Scalar, Eigen::Dynamic, 1>;

 public:
  explicit Adam(size_t size) : mean_(Array::Zero(size)), square_(Array::Zero(size)) {}

  void forget() {
    mean_.setZero();
    square_.setZero();
    steps_ = 0;
  }

  // Moments and number of steps, as 2 x size + 1 numbers: a training that is taken up again goes on as it would
  // have.
  size_t state_size() const { return 2 * static_cast<size_t>(mean_.size()) + 1; }
  void save(Scalar* state) const {
    Eigen::Map<Array>(state, mean_.size()) = mean_;
    Eigen::Map<Array>(state + mean_.size(), mean_.size()) = square_;
    state[2 * mean_.size()] = static_cast<Scalar>(steps_);
  }
  void restore(const Scalar* state) {
    mean_ = Eigen::Map<const Array>(state, mean_.size());
    square_ = Eigen::Map<const Array>(state + mean_.size(), mean_.size());
    steps_ = state[2 * mean_.size()];
  }

  // clip_norm of 0 or less: none. False, and nothing changed, when the gradient is not finite.
  bool update(const Scalar* gradient, Scalar* weights, double learning_rate, double clip_norm) {
    const Eigen::Map<const Array> g(gradient, mean_.size());
    const double norm = std::sqrt(static_cast<double>(g.square().sum()));
    if (!std::isfinite(norm)) return false;
    const Scalar scale = static_cast<Scalar>(clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1.0);
    steps_++;
    const double rate =
        learning_rate * std::sqrt(1 - std::pow(kBeta2, steps_)) / (1 - std::pow(kBeta1, steps_));
    mean_ = Scalar(kBeta1) * mean_ + (Scalar(1 - kBeta1) * scale) * g;
    square_ = Scalar(kBeta2) * square_ + (Scalar(1 - kBeta2) * scale * scale) * g.square();
    Eigen::Map<Array>(weights, mean_.size()) -=
        static_cast<Scalar>(rate) * mean_ / (square_.sqrt() + Scalar(kEpsilon));
    return true;
  }

 private:
  static constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

  Array mean_;
  Array square_;
  double steps_ = 0;
};

}  // namespace CORECAST_KERNEL
}  // namespace corecast

#endif
