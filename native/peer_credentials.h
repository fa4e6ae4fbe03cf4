#ifndef CORECAST_PEER_CREDENTIALS_H_
#define CORECAST_PEER_CREDENTIALS_H_

#include <napi.h>

namespace corecast {

// SO_PEERCRED of a connected unix socket; src/lib/native.ts.
Napi::Value PeerCredentials(const Napi::CallbackInfo& info);

}  // namespace corecast

#endif  // CORECAST_PEER_CREDENTIALS_H_
