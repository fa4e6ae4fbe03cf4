// Where each tensor lies in the flat parameter vector. src/feedback/lstm-layout.ts says the same to the ONNX
// writer. Matrices are column-major [out, in], which is row-major [in, out]. Gate rows come in ONNX's order:
// input, output, forget, cell; the first three are the sigmoid ones.
#ifndef CORECAST_LSTM_LAYOUT_H
#define CORECAST_LSTM_LAYOUT_H

#include "lstm_engine.h"

namespace corecast {

struct LstmTensor {
  size_t offset;
  int rows;
  int cols;

  size_t size() const { return static_cast<size_t>(rows) * static_cast<size_t>(cols); }
};

struct LstmLayout {
  LstmTensor gates;  // [4 hidden, sequence_features + hidden]: input weights, then recurrent ones
  LstmTensor gates_bias;
  LstmTensor embed1;
  LstmTensor embed1_bias;
  LstmTensor embed2;
  LstmTensor embed2_bias;
  LstmTensor head;  // its input is (h_T, embedding)
  LstmTensor head_bias;
  LstmTensor out;
  LstmTensor out_bias;
  size_t size;

  explicit LstmLayout(const LstmShape& s) : size(0) {
    gates = next(4 * s.hidden, s.sequence_features + s.hidden);
    gates_bias = next(4 * s.hidden, 1);
    embed1 = next(s.embed, s.static_features);
    embed1_bias = next(s.embed, 1);
    embed2 = next(s.embed, s.embed);
    embed2_bias = next(s.embed, 1);
    head = next(s.head, s.hidden + s.embed);
    head_bias = next(s.head, 1);
    out = next(s.outputs(), s.head);
    out_bias = next(s.outputs(), 1);
  }

 private:
  LstmTensor next(int rows, int cols) {
    LstmTensor tensor{size, rows, cols};
    size += tensor.size();
    return tensor;
  }
};

}  // namespace corecast

#endif
