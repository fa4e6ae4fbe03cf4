#include "peer_credentials.h"

#include <sys/socket.h>

#include "arguments.h"
#include "system_error.h"

namespace corecast {

Napi::Value PeerCredentials(const Napi::CallbackInfo& info) {
  const int fd = IntArgument(info, 0, "fd", 0, "getsockopt");
  ucred peer;
  socklen_t length = sizeof peer;
  const std::string target = "SO_PEERCRED of fd " + std::to_string(fd);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) ThrowErrno("getsockopt", target);
  // Sockets that have no peer, TCP included, answer with uid -1 instead of an error.
  if (peer.uid == static_cast<uid_t>(-1)) throw SystemError(ENOTCONN, "getsockopt", target);

  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("pid", Napi::Number::New(info.Env(), peer.pid));
  result.Set("uid", Napi::Number::New(info.Env(), peer.uid));
  result.Set("gid", Napi::Number::New(info.Env(), peer.gid));
  return result;
}

}  // namespace corecast
