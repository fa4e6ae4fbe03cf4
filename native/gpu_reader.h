#ifndef CORECAST_GPU_READER_H_
#define CORECAST_GPU_READER_H_

#include <napi.h>

#include <optional>

#include "gpu_watch.h"

namespace corecast {

// The JavaScript object around GpuWatch: GpuReader of src/lib/native.ts. Used on the thread that opened it.
class GpuReader : public Napi::ObjectWrap<GpuReader> {
 public:
  static Napi::Function DefineClass(Napi::Env env);

  // new GpuReader(library); JavaScript reaches it only through openGpuReader().
  explicit GpuReader(const Napi::CallbackInfo& info);

 private:
  Napi::Value Poll(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::optional<GpuWatch> watch_;
};

// openGpuReader of src/lib/native.ts.
Napi::Value OpenGpuReader(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_GPU_READER_H_
