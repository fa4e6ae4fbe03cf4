#include "notify.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "arguments.h"
#include "system_error.h"
#include "unique_fd.h"

namespace corecast {
namespace {

// One datagram to the socket that the service manager named. '@' stands for the NUL of an abstract address.
void Send(const std::string& path, const std::string& state) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path[0] != '/' && path[0] != '@') throw SystemError(EAFNOSUPPORT, "sendto", path);
  if (path.size() < 2 || path.size() >= sizeof address.sun_path) throw SystemError(EINVAL, "sendto", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  const size_t length = offsetof(sockaddr_un, sun_path) + path.size();

  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) ThrowErrno("socket", path);
  // This runs on the event loop: a service manager that doesn't read must not hold it for long.
  const timeval patience = {0, 250'000};
  if (setsockopt(fd.Get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
    ThrowErrno("setsockopt", path);
  }
  const ssize_t sent = sendto(fd.Get(), state.data(), state.size(), MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(length));
  if (sent < 0) ThrowErrno("sendto", path);
}

}  // namespace

Napi::Value Notify(const Napi::CallbackInfo& info) {
  const std::string state = StringArgument(info, 0, "state");
  if (state.empty()) throw SystemError(EINVAL, "sendto", "empty state");
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return Napi::Boolean::New(info.Env(), false);
  Send(path, state);
  return Napi::Boolean::New(info.Env(), true);
}

}  // namespace corecast
