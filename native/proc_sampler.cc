#include "proc_sampler.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "addon_instance.h"
#include "arguments.h"
#include "coded_errors.h"

namespace corecast {

Napi::Function ProcSampler::DefineClass(Napi::Env env) {
  return Napi::ObjectWrap<ProcSampler>::DefineClass(env, "ProcSampler",
                                                    {
                                                        InstanceMethod<&ProcSampler::Add>("add"),
                                                        InstanceMethod<&ProcSampler::Remove>("remove"),
                                                        InstanceMethod<&ProcSampler::WatchClosely>("watchClosely"),
                                                        InstanceMethod<&ProcSampler::Sample>("sample"),
                                                        InstanceMethod<&ProcSampler::Close>("close"),
                                                    });
}

ProcSampler::ProcSampler(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ProcSampler>(info) {
  Coded(info.Env(), [&] { sampler_.emplace(StringArgument(info, 0, "procRoot")); });
}

void ProcSampler::Add(const Napi::CallbackInfo& info) {
  Coded(info.Env(), [&] { Opened().Add(PidArgument(info, 0, "open"), StartTicksArgument(info, 1, "open")); });
}

void ProcSampler::Remove(const Napi::CallbackInfo& info) {
  Coded(info.Env(), [&] { Opened().Remove(PidArgument(info, 0, "close")); });
}

void ProcSampler::WatchClosely(const Napi::CallbackInfo& info) {
  Coded(info.Env(), [&] {
    Opened().WatchClosely(PidArgument(info, 0, "open"), info[1].ToBoolean().Value());
  });
}

Napi::Value ProcSampler::Sample(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Coded(env, [&] {
    Sampler& sampler = Opened();
    sampler.Sample(info[0].IsUndefined()
                       ? std::numeric_limits<size_t>::max()
                       : static_cast<size_t>(IntArgument(info, 0, "maxThreads", 0, "read")));
    const auto count = [&](const std::vector<double>& rows, size_t columns) {
      return Napi::Number::New(env, static_cast<double>(rows.size() / columns));
    };
    Napi::Object sample = Napi::Object::New(env);
    sample.Set("processes", processes_.Fill(env, sampler.processRows()));
    sample.Set("processCount", count(sampler.processRows(), Sampler::kProcessColumns));
    sample.Set("threads", threads_.Fill(env, sampler.threadRows()));
    sample.Set("threadCount", count(sampler.threadRows(), Sampler::kThreadColumns));
    sample.Set("cpus", cpus_.Fill(env, sampler.cpuRows()));
    sample.Set("cpuCount", count(sampler.cpuRows(), Sampler::kCpuColumns));
    return sample;
  });
}

void ProcSampler::Close(const Napi::CallbackInfo&) { sampler_.reset(); }

Sampler& ProcSampler::Opened() {
  if (!sampler_) throw SystemError(EBADF, "read", "the sampler is closed");
  return *sampler_;
}

Napi::Float64Array ProcSampler::Rows::Fill(Napi::Env env, const std::vector<double>& values) {
  // Also too short when a caller has transferred the array's buffer to another thread.
  Napi::Float64Array rows;
  if (!array.IsEmpty()) rows = array.Value();
  if (rows.IsEmpty() || rows.ElementLength() < values.size()) {
    const size_t room = std::max<size_t>(64, values.size() * 2);
    rows = Napi::Float64Array::New(env, room);
    array = Napi::Reference<Napi::Float64Array>::New(rows, 1);
  }
  if (!values.empty()) std::memcpy(rows.Data(), values.data(), values.size() * sizeof(double));
  return rows;
}

Napi::Value OpenSampler(const Napi::CallbackInfo& info) {
  return AddonInstance::Of(info.Env()).samplerConstructor.New({info[0]});
}

}  // namespace corecast
