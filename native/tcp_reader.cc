#include "tcp_reader.h"

#include <cstring>
#include <unordered_set>

#include "addon_instance.h"
#include "coded_errors.h"

namespace corecast {

Napi::Function TcpReader::DefineClass(Napi::Env env) {
  return Napi::ObjectWrap<TcpReader>::DefineClass(env, "TcpReader",
                                                  {
                                                      InstanceMethod<&TcpReader::Find>("find"),
                                                      InstanceMethod<&TcpReader::Read>("read"),
                                                      InstanceMethod<&TcpReader::Close>("close"),
                                                  });
}

TcpReader::TcpReader(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TcpReader>(info) {
  Coded(info.Env(), [&] { sockets_.emplace(); });
}

void TcpReader::Find(const Napi::CallbackInfo& info) {
  Coded(info.Env(), [&] {
    std::unordered_set<uint64_t> inodes;
    if (!info[0].IsArray()) throw Napi::TypeError::New(info.Env(), "inodes must be an array of numbers");
    const Napi::Array list = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++) {
      inodes.insert(static_cast<uint64_t>(list.Get(i).ToNumber().Int64Value()));
    }
    Opened().Find(inodes);
  });
}

Napi::Value TcpReader::Read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Coded(env, [&] {
    rows_.clear();
    Opened().Read(&rows_);
    Napi::Float64Array rows = Napi::Float64Array::New(env, rows_.size());
    if (!rows_.empty()) std::memcpy(rows.Data(), rows_.data(), rows_.size() * sizeof(double));
    return rows;
  });
}

void TcpReader::Close(const Napi::CallbackInfo&) { sockets_.reset(); }

TcpSockets& TcpReader::Opened() {
  if (!sockets_) throw SystemError(EBADF, "recv", "the reader is closed");
  return *sockets_;
}

Napi::Value OpenTcpReader(const Napi::CallbackInfo& info) {
  return AddonInstance::Of(info.Env()).tcpReaderConstructor.New({});
}

}  // namespace corecast
