// What the addon asks of a network, whatever instruction set it was compiled for. The implementation is the
// template in lstm_network.h; lstm_kernel.cc compiles it once for each instruction set and lstm_dispatch.cc
// chooses at run time.
#ifndef CORECAST_LSTM_ENGINE_H
#define CORECAST_LSTM_ENGINE_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace corecast {

// src/forecast/network.ts describes the network; the names are the same.
struct LstmShape {
  int steps;
  int sequence_features;
  int static_features;
  int hidden;
  int embed;
  int head;
  int targets;

  int outputs() const { return targets * 3; }
};

struct LstmOptions {
  uint64_t seed;
  double weight_decay;  // decoupled (AdamW), on weights and not on biases
  double clip_norm;     // of the whole gradient; 0 or less: none
};

// Row-major, one row a sample: sequence [batch, steps, sequence_features], static [batch, static_features],
// target [batch, targets] with NaN for what is not known. Lengths are the caller's promise.
template <typename Scalar>
struct LstmBatch {
  const Scalar* sequence;
  const Scalar* fixed;
  const Scalar* target;
  int size;
};

template <typename Scalar>
class LstmEngine {
 public:
  virtual ~LstmEngine() = default;
  // The flat parameters, in the order of lstm_layout.h.
  virtual Scalar* weights() = 0;
  virtual size_t weight_count() const = 0;
  // Forgets Adam's moments, as a changed set of weights must.
  virtual void reset_optimiser() = 0;
  // Adam's state, to go on from a checkpoint; optimiser_size() numbers.
  virtual size_t optimiser_size() const = 0;
  virtual void save_optimiser(Scalar* state) const = 0;
  virtual void restore_optimiser(const Scalar* state) = 0;
  // One forward and backward pass and one Adam step; the loss is that before the step.
  virtual double step(const LstmBatch<Scalar>& batch, double learning_rate) = 0;
  // Mean pinball loss over the known targets; NaN when none is known.
  virtual double loss(const LstmBatch<Scalar>& batch) = 0;
  // As loss(), and leaves its derivative at gradient().
  virtual double differentiate(const LstmBatch<Scalar>& batch) = 0;
  virtual const Scalar* gradient() const = 0;
  // quantiles [batch, outputs] after cumulation; batch.target is not read.
  virtual void predict(const LstmBatch<Scalar>& batch, Scalar* quantiles) = 0;
  virtual const char* instruction_set() const = 0;
};

// The fastest that this CPU runs, or with a name ("portable", "avx2", "avx512") that one; null when this CPU
// or build lacks it. Results differ in the last bits from one to the next.
std::unique_ptr<LstmEngine<float>> make_engine(const LstmShape& shape, const LstmOptions& options,
                                               const std::string& instruction_set);

// Slow and exact, for the gradient check.
std::unique_ptr<LstmEngine<double>> make_exact_engine(const LstmShape& shape, const LstmOptions& options);

}  // namespace corecast

#endif
