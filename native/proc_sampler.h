#ifndef CORECAST_PROC_SAMPLER_H_
#define CORECAST_PROC_SAMPLER_H_

#include <napi.h>

#include <optional>
#include <vector>

#include "sampler.h"

namespace corecast {

// The JavaScript object around a Sampler: ProcSampler of src/lib/native.ts. Used on the thread that opened
// it.
class ProcSampler : public Napi::ObjectWrap<ProcSampler> {
 public:
  static Napi::Function DefineClass(Napi::Env env);

  // new ProcSampler(procRoot); JavaScript reaches it only through openSampler().
  explicit ProcSampler(const Napi::CallbackInfo& info);

 private:
  // A Float64Array that is handed out again each tick and replaced by a larger one when rows no longer fit.
  struct Rows {
    Napi::Reference<Napi::Float64Array> array;
    Napi::Float64Array Fill(Napi::Env env, const std::vector<double>& values);
  };

  void Add(const Napi::CallbackInfo& info);
  void Remove(const Napi::CallbackInfo& info);
  void WatchClosely(const Napi::CallbackInfo& info);
  Napi::Value Sample(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  Sampler& Opened();

  std::optional<Sampler> sampler_;
  Rows processes_;
  Rows threads_;
  Rows cpus_;
};

// openSampler of src/lib/native.ts.
Napi::Value OpenSampler(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_PROC_SAMPLER_H_
