// N-API face of the trainer; src/feedback/lstm-addon.ts documents it. Everything runs on the calling thread:
// only the training child loads this addon, and it has nothing else to do.
#include <napi.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "lstm_gradient_check.h"
#include "lstm_layout.h"

namespace corecast {
namespace {

constexpr int kMaxDimension = 4096;
constexpr double kMaxWeights = 64e6;
constexpr int kMaxBatch = 65536;
// loss() and predict() walk longer batches in pieces, so that their memory stays bounded.
constexpr int kPiece = 256;

Napi::Error invalid(Napi::Env env, const std::string& field, const std::string& problem) {
  Napi::Error error = Napi::Error::New(env, field + ": " + problem);
  error.Set("code", Napi::String::New(env, "INVALID_ARGUMENT"));
  error.Set("field", Napi::String::New(env, field));
  return error;
}

double number(Napi::Env env, const Napi::Value& value, const std::string& field, double low, double high) {
  const double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(x >= low && x <= high)) {
    throw invalid(env, field,
                  "expected a number from " + std::to_string(low) + " to " + std::to_string(high) + ", got " +
                      value.ToString().Utf8Value());
  }
  return x;
}

int whole(Napi::Env env, const Napi::Value& value, const std::string& field, int low, int high) {
  const double x = number(env, value, field, low, high);
  if (x != std::floor(x)) throw invalid(env, field, "expected a whole number, got " + std::to_string(x));
  return static_cast<int>(x);
}

LstmShape shape_of(Napi::Env env, const Napi::Value& value) {
  if (!value.IsObject()) throw invalid(env, "shape", "expected an object");
  const Napi::Object object = value.As<Napi::Object>();
  const auto field = [&](const char* name) {
    return whole(env, object.Get(name), std::string("shape.") + name, 1, kMaxDimension);
  };
  const LstmShape shape{
      field("steps"), field("sequenceFeatures"), field("staticFeatures"), field("hidden"), field("embed"),
      field("head"),  field("targets")};
  if (static_cast<double>(LstmLayout(shape).size) > kMaxWeights)
    throw invalid(env, "shape", "too many weights");
  return shape;
}

double option(Napi::Env env, const Napi::Value& options, const char* name, double otherwise, double high) {
  if (!options.IsObject()) return otherwise;
  const Napi::Value value = options.As<Napi::Object>().Get(name);
  return value.IsUndefined() ? otherwise : number(env, value, std::string("options.") + name, 0, high);
}

std::string text_option(Napi::Env env, const Napi::Value& options, const char* name) {
  if (!options.IsObject()) return "";
  const Napi::Value value = options.As<Napi::Object>().Get(name);
  if (value.IsUndefined()) return "";
  if (!value.IsString()) throw invalid(env, std::string("options.") + name, "expected a string");
  return value.As<Napi::String>().Utf8Value();
}

class Trainer : public Napi::ObjectWrap<Trainer> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "LstmTrainer",
        {InstanceMethod<&Trainer::weights>("weights"), InstanceMethod<&Trainer::set_weights>("setWeights"),
         InstanceMethod<&Trainer::optimiser>("optimiser"),
         InstanceMethod<&Trainer::set_optimiser>("setOptimiser"),
         InstanceMethod<&Trainer::step>("step"), InstanceMethod<&Trainer::loss>("loss"),
         InstanceMethod<&Trainer::predict>("predict"),
         InstanceAccessor<&Trainer::instruction_set>("instructionSet")});
  }

  // (shape, seed, {weightDecay, clipNorm, instructionSet})
  explicit Trainer(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Trainer>(info), shape_(shape_of(info.Env(), info[0])) {
    const double seed = number(info.Env(), info[1], "seed", 0, 9007199254740991.0);
    const LstmOptions options{static_cast<uint64_t>(seed),
                              option(info.Env(), info[2], "weightDecay", 1e-4, 1),
                              option(info.Env(), info[2], "clipNorm", 1, 1e9)};
    const std::string wanted = text_option(info.Env(), info[2], "instructionSet");
    engine_ = make_engine(shape_, options, wanted);
    if (engine_ == nullptr) throw invalid(info.Env(), "options.instructionSet", "this CPU has no " + wanted);
  }

 private:
  Napi::Value weights(const Napi::CallbackInfo& info) {
    Napi::Float32Array copy = Napi::Float32Array::New(info.Env(), engine_->weight_count());
    std::copy_n(engine_->weights(), engine_->weight_count(), copy.Data());
    return copy;
  }

  void set_weights(const Napi::CallbackInfo& info) {
    const float* weights = finite_floats(info, "weights", engine_->weight_count());
    std::copy_n(weights, engine_->weight_count(), engine_->weights());
    engine_->reset_optimiser();
  }

  Napi::Value optimiser(const Napi::CallbackInfo& info) {
    Napi::Float32Array state = Napi::Float32Array::New(info.Env(), engine_->optimiser_size());
    engine_->save_optimiser(state.Data());
    return state;
  }

  void set_optimiser(const Napi::CallbackInfo& info) {
    engine_->restore_optimiser(finite_floats(info, "optimiser", engine_->optimiser_size()));
  }

  // (sequence, static, target, batch, learningRate)
  Napi::Value step(const Napi::CallbackInfo& info) {
    const LstmBatch<float> batch = batch_of(info, 3, kMaxBatch / 16);
    const double rate = number(info.Env(), info[4], "learningRate", 0, 10);
    return Napi::Number::New(info.Env(), engine_->step(batch, rate));
  }

  // (sequence, static, target, batch)
  Napi::Value loss(const Napi::CallbackInfo& info) {
    const LstmBatch<float> batch = batch_of(info, 3, kMaxBatch);
    double sum = 0, known = 0;
    for (int from = 0; from < batch.size; from += kPiece) {
      const LstmBatch<float> part = piece(batch, from);
      double weight = 0;
      for (int i = 0; i < part.size * shape_.targets; i++) weight += std::isnan(part.target[i]) ? 0 : 1;
      if (weight == 0) continue;
      sum += weight * engine_->loss(part);
      known += weight;
    }
    return Napi::Number::New(info.Env(), sum / known);
  }

  // (sequence, static, batch)
  Napi::Value predict(const Napi::CallbackInfo& info) {
    const LstmBatch<float> batch = batch_of(info, 2, kMaxBatch);
    Napi::Float32Array quantiles =
        Napi::Float32Array::New(info.Env(), static_cast<size_t>(batch.size) * shape_.outputs());
    for (int from = 0; from < batch.size; from += kPiece) {
      engine_->predict(piece(batch, from), quantiles.Data() + static_cast<size_t>(from) * shape_.outputs());
    }
    return quantiles;
  }

  Napi::Value instruction_set(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), engine_->instruction_set());
  }

  // Arguments: sequence, static, and target where `batch_at` is 3.
  LstmBatch<float> batch_of(const Napi::CallbackInfo& info, int batch_at, int most) {
    const int size = whole(info.Env(), info[batch_at], "batch", 1, most);
    const size_t rows = static_cast<size_t>(size);
    return LstmBatch<float>{floats(info, 0, "sequence", rows * shape_.steps * shape_.sequence_features),
                            floats(info, 1, "static", rows * shape_.static_features),
                            batch_at == 3 ? floats(info, 2, "target", rows * shape_.targets) : nullptr, size};
  }

  LstmBatch<float> piece(const LstmBatch<float>& batch, int from) const {
    const size_t at = static_cast<size_t>(from);
    return LstmBatch<float>{batch.sequence + at * shape_.steps * shape_.sequence_features,
                            batch.fixed + at * shape_.static_features,
                            batch.target == nullptr ? nullptr : batch.target + at * shape_.targets,
                            std::min(kPiece, batch.size - from)};
  }

  static const float* floats(const Napi::CallbackInfo& info, size_t at, const char* field, size_t length) {
    if (!info[at].IsTypedArray() || info[at].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
      throw invalid(info.Env(), field, "expected a Float32Array");
    }
    const Napi::Float32Array array = info[at].As<Napi::Float32Array>();
    if (array.ElementLength() != length) {
      throw invalid(
          info.Env(), field,
          "has " + std::to_string(array.ElementLength()) + " numbers, expected " + std::to_string(length));
    }
    return array.Data();
  }

  // The first argument.
  static const float* finite_floats(const Napi::CallbackInfo& info, const char* field, size_t length) {
    const float* numbers = floats(info, 0, field, length);
    for (size_t i = 0; i < length; i++) {
      if (!std::isfinite(numbers[i])) {
        throw invalid(info.Env(), field, "number " + std::to_string(i) + " is not finite");
      }
    }
    return numbers;
  }

  const LstmShape shape_;
  std::unique_ptr<LstmEngine<float>> engine_;
};

// (shape, batch, seed)
Napi::Value gradient_check(const Napi::CallbackInfo& info) {
  const LstmShape shape = shape_of(info.Env(), info[0]);
  if (LstmLayout(shape).size > 20000)
    throw invalid(info.Env(), "shape", "too large for a check of every weight");
  const int batch = whole(info.Env(), info[1], "batch", 1, 64);
  const GradientCheck check = check_gradient(
      shape, batch, static_cast<uint64_t>(number(info.Env(), info[2], "seed", 0, 9007199254740991.0)));
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("maxRelativeError", check.max_relative_error);
  result.Set("parameters", static_cast<double>(check.parameters));
  return result;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("LstmTrainer", Trainer::define(env));
  exports.Set("gradientCheck", Napi::Function::New(env, gradient_check, "gradientCheck"));
  return exports;
}

NODE_API_MODULE(corecast_lstm, init)

}  // namespace
}  // namespace corecast
