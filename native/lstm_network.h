// The network as one template: forward, backward through time, Adam. A header, because lstm_kernel.cc
// compiles it once for each instruction set.
//
// Memory. Column-major, one column a sample; in the recurrent part a column is (step, sample), step first, so
// that the columns of one step lie together: a step is one product with a block of columns, and the weight
// gradient of all steps is one product over all of them. `joined` holds the input of a step (x_t over h_t-1)
// in one column, so that input and recurrent weights are one matrix. All buffers are cut from one arena that
// grows with the largest batch seen; a step allocates nothing.
#ifndef CORECAST_LSTM_NETWORK_H
#define CORECAST_LSTM_NETWORK_H

#include <Eigen/Core>
#include <cmath>
#include <cstring>
#include <limits>

#include "lstm_adam.h"
#include "lstm_flush_denormals.h"
#include "lstm_layout.h"
#include "lstm_pinball.h"
#include "lstm_random.h"

namespace corecast {
namespace CORECAST_KERNEL {

using Eigen::Index;

template <typename Scalar>
class Network final : public LstmEngine<Scalar> {
  using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  using View = Eigen::Map<Matrix>;
  using ConstView = Eigen::Map<const Matrix>;
  using Row = Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>>;
  using ConstRow = Eigen::Map<const Eigen::Array<Scalar, Eigen::Dynamic, 1>>;

 public:
  Network(const LstmShape& shape, const LstmOptions& options)
      : shape_(shape), options_(options), layout_(shape), parameters_(2, layout_.size), adam_(layout_.size) {
    initialise();
  }

  Scalar* weights() override { return parameters_.part(0); }
  size_t weight_count() const override { return layout_.size; }
  const Scalar* gradient() const override { return parameters_.part(1); }
  const char* instruction_set() const override { return CORECAST_KERNEL_NAME; }

  void reset_optimiser() override { adam_.forget(); }
  size_t optimiser_size() const override { return adam_.state_size(); }
  void save_optimiser(Scalar* state) const override { adam_.save(state); }
  void restore_optimiser(const Scalar* state) override { adam_.restore(state); }

  double step(const LstmBatch<Scalar>& batch, double learning_rate) override {
    const FlushDenormals flush;
    const double loss = backward(batch);
    if (std::isfinite(loss)) update(learning_rate);
    return loss;
  }

  double loss(const LstmBatch<Scalar>& batch) override {
    const FlushDenormals flush;
    forward(batch);
    return pinball(batch, false);
  }

  double differentiate(const LstmBatch<Scalar>& batch) override { return backward(batch); }

  void predict(const LstmBatch<Scalar>& batch, Scalar* quantiles) override {
    const FlushDenormals flush;
    forward(batch);
    const Index planes = shape_.targets;
    for (Index b = 0; b < batch.size; b++) {
      const Scalar* raw = raw_.data + b * shape_.outputs();
      const Scalar* plus = plus_.data + b * shape_.outputs();
      Scalar* row = quantiles + b * shape_.outputs();
      for (Index k = 0; k < planes; k++) {
        row[3 * k] = raw[k];
        row[3 * k + 1] = row[3 * k] + plus[planes + k];
        row[3 * k + 2] = row[3 * k + 1] + plus[2 * planes + k];
      }
    }
  }

 private:
  // Glorot's uniform bounds, forget gates open (bias 1), so that a fresh network carries its state along.
  void initialise() {
    Random random(options_.seed);
    const auto glorot = [&](const LstmTensor& tensor, double fan_in, double fan_out) {
      const double bound = std::sqrt(6.0 / (fan_in + fan_out));
      Scalar* w = weights() + tensor.offset;
      for (size_t i = 0; i < tensor.size(); i++) w[i] = static_cast<Scalar>((2 * random.next() - 1) * bound);
    };
    const int hidden = shape_.hidden;
    glorot(layout_.gates, shape_.sequence_features + hidden, hidden);
    glorot(layout_.embed1, shape_.static_features, shape_.embed);
    glorot(layout_.embed2, shape_.embed, shape_.embed);
    glorot(layout_.head, hidden + shape_.embed, shape_.head);
    glorot(layout_.out, shape_.head, shape_.outputs());
    Row(weights() + layout_.gates_bias.offset + 2 * hidden, hidden).setOnes();
  }

  void forward(const LstmBatch<Scalar>& batch) {
    reserve(batch.size);
    unroll(batch);
    const Index B = batch.size, E = shape_.embed, H = shape_.hidden;
    const ConstView fixed(batch.fixed, shape_.static_features, B);
    dense(layout_.embed1, layout_.embed1_bias, fixed, View(embed_.data, E, B), true);
    View joint(joint_.data, H + E, B);
    joint.topRows(H) = joined_at(shape_.steps, B).bottomRows(H);
    dense(layout_.embed2, layout_.embed2_bias, View(embed_.data, E, B), joint.bottomRows(E), true);
    dense(layout_.head, layout_.head_bias, joint, View(head_.data, shape_.head, B), true);
    View raw(raw_.data, shape_.outputs(), B);
    dense(layout_.out, layout_.out_bias, View(head_.data, shape_.head, B), raw, false);
    // softplus(x) = max(x, 0) + log1p(exp(-|x|)): the base plane's is not used, but one long run is the
    // fastest.
    const ConstRow x(raw_.data, raw.size());
    Row(plus_.data, raw.size()) = x.max(Scalar(0)) + (-x.abs()).exp().log1p();
  }

  // The recurrent part: fills joined_, gates_ (activated), cell_ and cell_tanh_ for every step.
  void unroll(const LstmBatch<Scalar>& batch) {
    const Index B = batch.size, T = shape_.steps, F = shape_.sequence_features, H = shape_.hidden;
    for (Index t = 0; t < T; t++) {
      for (Index b = 0; b < B; b++) {
        std::memcpy(joined_.data + (t * B + b) * (F + H), batch.sequence + (b * T + t) * F,
                    F * sizeof(Scalar));
      }
    }
    // h_0 is zero; a shorter batch before left its later steps there.
    for (Index b = 0; b < B; b++) std::memset(joined_.data + b * (F + H) + F, 0, H * sizeof(Scalar));
    const ConstView weight = tensor(layout_.gates);
    View gates(gates_.data, 4 * H, T * B);
    gates.colwise() = ConstView(bias(layout_.gates_bias), 4 * H, 1).col(0);
    gates.noalias() += weight.leftCols(F) * View(joined_.data, F + H, T * B).topRows(F);
    for (Index t = 0; t < T; t++) {
      View now(gates_.data + t * B * 4 * H, 4 * H, B);
      if (t > 0) now.noalias() += weight.rightCols(H) * joined_at(t, B).bottomRows(H);
      for (Index b = 0; b < B; b++) cell_forward(t, b, B);
    }
  }

  void cell_forward(Index t, Index b, Index B) {
    const Index H = shape_.hidden, F = shape_.sequence_features;
    Scalar* gate = gates_.data + (t * B + b) * 4 * H;
    Row sigmoids(gate, 3 * H), cell_input(gate + 3 * H, H);
    sigmoids = sigmoids.logistic();
    cell_input = cell_input.tanh();
    const ConstRow input(gate, H), output(gate + H, H), forget(gate + 2 * H, H);
    Row cell(cell_.data + (t * B + b) * H, H);
    if (t > 0) {
      cell = forget * ConstRow(cell_.data + ((t - 1) * B + b) * H, H) + input * cell_input;
    } else {
      cell = input * cell_input;
    }
    Row cell_tanh(cell_tanh_.data + (t * B + b) * H, H);
    cell_tanh = cell.tanh();
    Row(joined_.data + ((t + 1) * B + b) * (F + H) + F, H) = output * cell_tanh;
  }

  double backward(const LstmBatch<Scalar>& batch) {
    forward(batch);
    const double loss = pinball(batch, true);
    const Index B = batch.size, E = shape_.embed, H = shape_.hidden;
    View d_raw(d_raw_.data, shape_.outputs(), B), d_head(d_head_.data, shape_.head, B);
    View d_joint(d_joint_.data, H + E, B), d_embed(d_embed_.data, E, B);
    const View head(head_.data, shape_.head, B), joint(joint_.data, H + E, B), embed(embed_.data, E, B);

    dense_gradient(layout_.out, layout_.out_bias, head, d_raw);
    d_head.noalias() = tensor(layout_.out).transpose() * d_raw;
    relu_gradient(head_.data, d_head_.data, head.size());
    dense_gradient(layout_.head, layout_.head_bias, joint, d_head);
    d_joint.noalias() = tensor(layout_.head).transpose() * d_head;
    for (Index b = 0; b < B; b++) {
      relu_gradient(joint_.data + b * (H + E) + H, d_joint_.data + b * (H + E) + H, E);
    }
    dense_gradient(layout_.embed2, layout_.embed2_bias, embed, d_joint.bottomRows(E));
    d_embed.noalias() = tensor(layout_.embed2).transpose() * d_joint.bottomRows(E);
    relu_gradient(embed_.data, d_embed_.data, embed.size());
    dense_gradient(layout_.embed1, layout_.embed1_bias, ConstView(batch.fixed, shape_.static_features, B),
                   d_embed);
    View(d_hidden_.data, H, B) = d_joint.topRows(H);
    unroll_backward(B);
    return loss;
  }

  // Back through time from d_hidden_ = dL/dh_T; the weights' gradient is one product over all steps at the
  // end.
  void unroll_backward(Index B) {
    const Index T = shape_.steps, F = shape_.sequence_features, H = shape_.hidden;
    const ConstView weight = tensor(layout_.gates);
    std::memset(d_cell_.data, 0, H * B * sizeof(Scalar));
    for (Index t = T - 1; t >= 0; t--) {
      for (Index b = 0; b < B; b++) cell_backward(t, b, B);
      if (t > 0) {
        View(d_hidden_.data, H, B).noalias() =
            weight.rightCols(H).transpose() * View(d_gates_.data + t * B * 4 * H, 4 * H, B);
      }
    }
    dense_gradient(layout_.gates, layout_.gates_bias, View(joined_.data, F + H, T * B),
                   View(d_gates_.data, 4 * H, T * B));
  }

  void cell_backward(Index t, Index b, Index B) {
    const Index H = shape_.hidden;
    const Index at = t * B + b;
    const Scalar* __restrict gate = gates_.data + at * 4 * H;
    const Scalar* __restrict cell_tanh = cell_tanh_.data + at * H;
    const Scalar* __restrict before = t > 0 ? cell_.data + (at - B) * H : zeros_.data;
    const Scalar* __restrict d_hidden = d_hidden_.data + b * H;
    Scalar* __restrict d_cell = d_cell_.data + b * H;
    Scalar* __restrict d_gate = d_gates_.data + at * 4 * H;
#pragma GCC ivdep  // the four gates lie H apart and never overlap
    for (Index j = 0; j < H; j++) {
      const Scalar input = gate[j], output = gate[H + j], forget = gate[2 * H + j],
                   candidate = gate[3 * H + j];
      const Scalar through = d_hidden[j] * output;
      const Scalar d = d_cell[j] + through * (1 - cell_tanh[j] * cell_tanh[j]);
      d_gate[j] = d * candidate * input * (1 - input);
      d_gate[H + j] = through * cell_tanh[j] * (1 - output);
      d_gate[2 * H + j] = d * before[j] * forget * (1 - forget);
      d_gate[3 * H + j] = d * input * (1 - candidate * candidate);
      d_cell[j] = d * forget;
    }
  }

  // Mean pinball loss over the known targets, and with `differentiate` its derivative by raw_ into d_raw_.
  double pinball(const LstmBatch<Scalar>& batch, bool differentiate) {
    const Index B = batch.size, K = shape_.targets, outputs = shape_.outputs();
    const size_t known = known_targets(batch.target, B * K);
    const Scalar weight = known == 0 ? Scalar(0) : Scalar(1) / static_cast<Scalar>(3 * known);
    // d softplus / dx is the logistic function.
    if (differentiate) Row(d_raw_.data, B * outputs) = ConstRow(raw_.data, B * outputs).logistic();
    double sum = 0;
    for (Index b = 0; b < B; b++) {
      sum += pinball_row(raw_.data + b * outputs, plus_.data + b * outputs, batch.target + b * K, K, weight,
                         differentiate ? d_raw_.data + b * outputs : spare_.data);
    }
    return known == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(3 * known);
  }

  // Decoupled weight decay (Loshchilov & Hutter 2019), on weights and not on biases.
  void update(double learning_rate) {
    const Scalar decay = static_cast<Scalar>(1 - learning_rate * options_.weight_decay);
    if (!adam_.update(gradient(), weights(), learning_rate, options_.clip_norm)) return;
    for (const LstmTensor* t :
         {&layout_.gates, &layout_.embed1, &layout_.embed2, &layout_.head, &layout_.out}) {
      Row(weights() + t->offset, t->size()) *= decay;
    }
  }

  // --- small pieces ---

  template <typename In, typename Out>
  void dense(const LstmTensor& weight, const LstmTensor& offset, const In& in, Out&& out, bool relu) {
    out.colwise() = ConstView(bias(offset), weight.rows, 1).col(0);
    out.noalias() += tensor(weight) * in;
    if (relu) out = out.cwiseMax(Scalar(0));
  }

  template <typename In, typename Delta>
  void dense_gradient(const LstmTensor& weight, const LstmTensor& offset, const In& in, const Delta& delta) {
    Scalar* gradient = parameters_.part(1);
    View(gradient + weight.offset, weight.rows, weight.cols).noalias() =
        delta * in.leftCols(delta.cols()).transpose();
    Row sums(gradient + offset.offset, offset.rows);
    sums.setZero();
    for (Index b = 0; b < delta.cols(); b++) sums += delta.col(b).array();
  }

  static void relu_gradient(const Scalar* __restrict activated, Scalar* __restrict delta, Index count) {
    for (Index i = 0; i < count; i++) delta[i] = activated[i] > 0 ? delta[i] : Scalar(0);
  }

  ConstView tensor(const LstmTensor& t) const {
    return ConstView(parameters_.part(0) + t.offset, t.rows, t.cols);
  }
  const Scalar* bias(const LstmTensor& t) const { return parameters_.part(0) + t.offset; }
  View joined_at(Index t, Index B) {
    const Index rows = shape_.sequence_features + shape_.hidden;
    return View(joined_.data + t * B * rows, rows, B);
  }

  // --- memory ---

  // Equal parts of one aligned allocation: weights and gradient.
  class Parts {
   public:
    Parts(size_t parts, size_t size) : stride_((size + 15) / 16 * 16) {
      memory_ = Eigen::Array<Scalar, Eigen::Dynamic, 1>::Zero(static_cast<Index>(parts * stride_));
    }
    Scalar* part(size_t i) { return memory_.data() + i * stride_; }
    const Scalar* part(size_t i) const { return memory_.data() + i * stride_; }

   private:
    size_t stride_;
    Eigen::Array<Scalar, Eigen::Dynamic, 1> memory_;
  };

  struct Buffer {
    Scalar* data = nullptr;
  };

  void reserve(int batch) {
    if (batch <= capacity_) return;
    const Index B = batch, T = shape_.steps, F = shape_.sequence_features, H = shape_.hidden,
                E = shape_.embed;
    const struct {
      Buffer* buffer;
      Index size;
    } cuts[] = {
        {&joined_, (T + 1) * B * (F + H)},
        {&gates_, T * B * 4 * H},
        {&cell_, T * B * H},
        {&cell_tanh_, T * B * H},
        {&embed_, B * E},
        {&joint_, B * (H + E)},
        {&head_, B * shape_.head},
        {&raw_, B * shape_.outputs()},
        {&plus_, B * shape_.outputs()},
        {&d_raw_, B * shape_.outputs()},
        {&d_head_, B * shape_.head},
        {&d_joint_, B * (H + E)},
        {&d_embed_, B * E},
        {&d_hidden_, B * H},
        {&d_cell_, B * H},
        {&d_gates_, T * B * 4 * H},
        {&spare_, shape_.outputs()},
        {&zeros_, H},
    };
    Index total = 0;
    for (const auto& cut : cuts) total += padded(cut.size);
    // Zero: zeros_ is never written.
    arena_ = Eigen::Array<Scalar, Eigen::Dynamic, 1>::Zero(total);
    Index offset = 0;
    for (const auto& cut : cuts) {
      cut.buffer->data = arena_.data() + offset;
      offset += padded(cut.size);
    }
    capacity_ = batch;
  }

  static Index padded(Index size) { return (size + 15) / 16 * 16; }

  const LstmShape shape_;
  const LstmOptions options_;
  const LstmLayout layout_;
  Parts parameters_;
  Adam<Scalar> adam_;
  int capacity_ = 0;
  Eigen::Array<Scalar, Eigen::Dynamic, 1> arena_;
  Buffer joined_, gates_, cell_, cell_tanh_, embed_, joint_, head_, raw_, plus_, d_raw_, d_head_, d_joint_,
      d_embed_, d_hidden_, d_cell_, d_gates_, spare_, zeros_;
};

}  // namespace CORECAST_KERNEL
}  // namespace corecast

#endif
