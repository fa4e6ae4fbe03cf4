#include "gpu_reader.h"

#include "addon_instance.h"
#include "arguments.h"
#include "coded_errors.h"

namespace corecast {

Napi::Function GpuReader::DefineClass(Napi::Env env) {
  return Napi::ObjectWrap<GpuReader>::DefineClass(env, "GpuReader",
                                                  {
                                                      InstanceMethod<&GpuReader::Poll>("poll"),
                                                      InstanceMethod<&GpuReader::Close>("close"),
                                                  });
}

GpuReader::GpuReader(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GpuReader>(info) {
  watch_.emplace(StringArgument(info, 0, "library"));
}

Napi::Value GpuReader::Poll(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Coded(env, [&] {
    if (!watch_) throw SystemError(EBADF, "read", "the reader is closed");
    const GpuWatch::Reading reading = watch_->Poll();
    Napi::Array gpus = Napi::Array::New(env, reading.gpus.size());
    for (size_t i = 0; i < reading.gpus.size(); i++) {
      const GpuSample& sample = reading.gpus[i];
      Napi::Object gpu = Napi::Object::New(env);
      gpu.Set("name", reading.names[i]);
      gpu.Set("busy", sample.busy);
      gpu.Set("memoryUsedBytes", sample.memoryUsedBytes);
      gpu.Set("memoryTotalBytes", sample.memoryTotalBytes);
      gpu.Set("encoderBusy", sample.encoderBusy);
      gpu.Set("decoderBusy", sample.decoderBusy);
      gpus.Set(static_cast<uint32_t>(i), gpu);
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("gpus", gpus);
    result.Set("answers", static_cast<double>(reading.answers));
    result.Set("pendingMs", reading.pendingMs);
    result.Set("absent", reading.absent);
    return result;
  });
}

void GpuReader::Close(const Napi::CallbackInfo&) { watch_.reset(); }

Napi::Value OpenGpuReader(const Napi::CallbackInfo& info) {
  return AddonInstance::Of(info.Env()).gpuReaderConstructor.New({info[0]});
}

}  // namespace corecast
