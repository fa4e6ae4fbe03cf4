#ifndef CORECAST_TCP_READER_H_
#define CORECAST_TCP_READER_H_

#include <napi.h>

#include <optional>
#include <vector>

#include "tcp_sockets.h"

namespace corecast {

// The JavaScript object around TcpSockets: TcpReader of src/lib/native.ts. Used on the thread that opened it.
class TcpReader : public Napi::ObjectWrap<TcpReader> {
 public:
  static Napi::Function DefineClass(Napi::Env env);

  // JavaScript reaches it only through openTcpReader().
  explicit TcpReader(const Napi::CallbackInfo& info);

 private:
  void Find(const Napi::CallbackInfo& info);
  Napi::Value Read(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  TcpSockets& Opened();

  std::optional<TcpSockets> sockets_;
  std::vector<double> rows_;
};

// openTcpReader of src/lib/native.ts.
Napi::Value OpenTcpReader(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_TCP_READER_H_
