#include "lstm_gradient_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "lstm_random.h"

namespace corecast {

namespace {

std::vector<double> uniform(Random& random, size_t count) {
  std::vector<double> values(count);
  for (double& value : values) value = 2 * random.next() - 1;
  return values;
}

}  // namespace

GradientCheck check_gradient(const LstmShape& shape, int batch, uint64_t seed) {
  // The loss has kinks (ReLU, pinball); a step this short makes one between two evaluations improbable.
  constexpr double kStep = 1e-6;
  // Below this a gradient is rounding noise of the differences (1e-16 / kStep), not signal.
  constexpr double kFloor = 1e-5;
  const auto engine = make_exact_engine(shape, LstmOptions{seed, 0, 0});
  Random random(seed + 1);
  // Biases of zero put the units behind a dead layer right on ReLU's kink.
  for (size_t i = 0; i < engine->weight_count(); i++) engine->weights()[i] += 0.2 * (2 * random.next() - 1);
  const auto sequence = uniform(random, static_cast<size_t>(batch) * shape.steps * shape.sequence_features);
  const auto fixed = uniform(random, static_cast<size_t>(batch) * shape.static_features);
  auto target = uniform(random, static_cast<size_t>(batch) * shape.targets);
  for (size_t i = 0; i < target.size(); i += 5) target[i] = std::numeric_limits<double>::quiet_NaN();
  const LstmBatch<double> rows{sequence.data(), fixed.data(), target.data(), batch};

  engine->differentiate(rows);
  const std::vector<double> gradient(engine->gradient(), engine->gradient() + engine->weight_count());
  double worst = 0;
  for (size_t i = 0; i < gradient.size(); i++) {
    double& weight = engine->weights()[i];
    const double saved = weight;
    weight = saved + kStep;
    const double above = engine->loss(rows);
    weight = saved - kStep;
    const double below = engine->loss(rows);
    weight = saved;
    const double numeric = (above - below) / (2 * kStep);
    const double scale = std::max({std::abs(numeric), std::abs(gradient[i]), kFloor});
    worst = std::max(worst, std::abs(numeric - gradient[i]) / scale);
  }
  return {worst, gradient.size()};
}

}  // namespace corecast
