#include "tcp_sockets.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "system_error.h"

namespace corecast {
namespace {

// Of the states in net/tcp_states.h: those in which a peer may still send.
constexpr uint32_t kReceiving = 1U << 1 /* TCP_ESTABLISHED */ | 1U << 4 /* FIN_WAIT1 */ | 1U << 5 /* FIN_WAIT2 */;
// The kernel never waits for anything to answer; this is for a kernel that answers nothing.
constexpr timeval kPatience = {0, 200'000};
// Netlink fills no larger skb in a dump.
constexpr size_t kReplyBytes = 32'768;

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 query;
};

// Bytes received, from the tcp_info among the attributes of one answer; 0 on kernels before 4.1, whose
// tcp_info is shorter.
uint64_t BytesReceived(const inet_diag_msg* answer, size_t length) {
  const char* at = reinterpret_cast<const char*>(answer + 1);
  const char* end = reinterpret_cast<const char*>(answer) + length;
  while (at + sizeof(nlattr) <= end) {
    nlattr attribute;
    std::memcpy(&attribute, at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || at + attribute.nla_len > end) return 0;
    if (attribute.nla_type == INET_DIAG_INFO) {
      constexpr size_t kAt = offsetof(tcp_info, tcpi_bytes_received);
      uint64_t bytes = 0;
      if (attribute.nla_len < sizeof attribute + kAt + sizeof bytes) return 0;
      std::memcpy(&bytes, at + sizeof attribute + kAt, sizeof bytes);
      return bytes;
    }
    at += NLA_ALIGN(attribute.nla_len);
  }
  return 0;
}

}  // namespace

TcpSockets::TcpSockets()
    : netlink_(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)), reply_(kReplyBytes) {
  if (!netlink_) ThrowErrno("socket", "netlink sock_diag");
  if (setsockopt(netlink_.Get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) < 0) {
    ThrowErrno("setsockopt", "netlink sock_diag");
  }
}

void TcpSockets::Find(const std::unordered_set<uint64_t>& inodes) {
  found_.clear();
  if (inodes.empty()) return;
  Dump(AF_INET, inodes);
  Dump(AF_INET6, inodes);
}

void TcpSockets::Dump(uint8_t family, const std::unordered_set<uint64_t>& inodes) {
  Send(NLM_F_DUMP, family, 0, nullptr);
  for (;;) {
    size_t left = Receive();
    for (auto* header = reinterpret_cast<nlmsghdr*>(reply_.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_seq != sequence_) continue;
      if (header->nlmsg_type == NLMSG_DONE) return;
      if (header->nlmsg_type == NLMSG_ERROR) {
        errno = -static_cast<nlmsgerr*>(NLMSG_DATA(header))->error;
        // A kernel without IPv6, or without the module: nothing to find.
        if (errno == ENOENT || errno == EAFNOSUPPORT) return;
        ThrowErrno("recv", "netlink sock_diag");
      }
      const auto* answer = static_cast<inet_diag_msg*>(NLMSG_DATA(header));
      if (inodes.count(answer->idiag_inode) > 0) {
        found_[answer->idiag_inode] = {answer->idiag_family, answer->id};
      }
    }
  }
}

void TcpSockets::Read(std::vector<double>* rows) {
  for (auto socket = found_.begin(); socket != found_.end();) {
    socket = ReadOne(socket->first, socket->second, rows) ? std::next(socket) : found_.erase(socket);
  }
}

bool TcpSockets::ReadOne(uint64_t inode, const Socket& socket, std::vector<double>* rows) {
  Send(0, socket.family, 1U << (INET_DIAG_INFO - 1), &socket.id);
  for (;;) {
    size_t left = Receive();
    for (auto* header = reinterpret_cast<nlmsghdr*>(reply_.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_seq != sequence_) continue;  // Of a call that was given up.
      if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) return false;
      const auto* answer = static_cast<inet_diag_msg*>(NLMSG_DATA(header));
      // Closed meanwhile, and in its last states without an owner.
      if (answer->idiag_inode != inode) return false;
      rows->insert(rows->end(), {static_cast<double>(inode),
                                 static_cast<double>(BytesReceived(answer, NLMSG_PAYLOAD(header, 0))),
                                 static_cast<double>(answer->idiag_rqueue)});
      return true;
    }
  }
}

void TcpSockets::Send(uint16_t flags, uint8_t family, uint8_t extensions, const inet_diag_sockid* id) {
  Request request = {};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  request.header.nlmsg_seq = ++sequence_;
  request.query.sdiag_family = family;
  request.query.sdiag_protocol = IPPROTO_TCP;
  request.query.idiag_ext = extensions;
  request.query.idiag_states = kReceiving;
  if (id != nullptr) request.query.id = *id;
  if (send(netlink_.Get(), &request, sizeof request, 0) < 0) ThrowErrno("send", "netlink sock_diag");
}

size_t TcpSockets::Receive() {
  const ssize_t length = recv(netlink_.Get(), reply_.data(), reply_.size(), 0);
  if (length < 0) ThrowErrno("recv", "netlink sock_diag");
  return static_cast<size_t>(length);
}

}  // namespace corecast
