// splitmix64 (Steele, Lea, Flood 2014): a few lines that give the same numbers on every machine, which std::
// distributions do not promise.
#ifndef CORECAST_LSTM_RANDOM_H
#define CORECAST_LSTM_RANDOM_H

#include <cstdint>

namespace corecast {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  // Uniform in [0, 1).
  double next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
  }

 private:
  uint64_t state_;
};

}  // namespace corecast

#endif
