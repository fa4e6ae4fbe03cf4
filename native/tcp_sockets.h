#ifndef CORECAST_TCP_SOCKETS_H_
#define CORECAST_TCP_SOCKETS_H_

#include <linux/inet_diag.h>

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "unique_fd.h"

namespace corecast {

// What TCP sockets of this network namespace have received, asked of the kernel by sock_diag(7): the counter
// that /proc/PID/io lacks, since FFmpeg reads sockets by recv(2). Needs no privilege. Knows nothing of JavaScript.
//
// The kernel finds a socket by its addresses and cookie, not by its inode, and lists all of them in one dump.
// So the dump is made only by Find(), as rarely as the caller likes; Read() then asks for the found ones one
// by one, whose cost does not grow with the connections of the host.
class TcpSockets {
 public:
  // inode, bytes received, bytes that wait to be read.
  static constexpr size_t kColumns = 3;

  // SystemError when the kernel has no sock_diag.
  TcpSockets();

  // Looks for the established sockets with these inodes; those found before and not named are forgotten.
  void Find(const std::unordered_set<uint64_t>& inodes);
  // Appends a row for each found socket that is still there; one that is gone is forgotten.
  void Read(std::vector<double>* rows);

 private:
  struct Socket {
    uint8_t family;
    inet_diag_sockid id;
  };

  void Dump(uint8_t family, const std::unordered_set<uint64_t>& inodes);
  bool ReadOne(uint64_t inode, const Socket& socket, std::vector<double>* rows);
  void Send(uint16_t flags, uint8_t family, uint8_t extensions, const inet_diag_sockid* id);
  size_t Receive();

  UniqueFd netlink_;
  uint32_t sequence_ = 0;
  std::vector<char> reply_;
  std::unordered_map<uint64_t, Socket> found_;
};

}  // namespace corecast

#endif  // CORECAST_TCP_SOCKETS_H_
