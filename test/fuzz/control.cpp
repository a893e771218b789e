//===- control.cpp - Messages between ranks ----------------------------------===//
//
// Parts of an input:
//   1. what a stranger sends to rank 0 while a run goes on, which must not end it;
//   2. what rank 1 of two sends to rank 0 after its greeting;
//   3. what rank 1 of two hears from rank 0.
// An empty part is left out.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include "comm/control.h"

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <sys/socket.h>

using namespace txc;

namespace {

class Socket {
public:
  explicit Socket(int number = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) : number_(number) {}
  Socket(const Socket &) = delete;
  ~Socket() { close(); }
  int number() const { return number_; }

  // A free port of this host, listened to.
  int listen() {
    sockaddr_in address = here(0);
    socklen_t length = sizeof(address);
    if (::bind(number_, reinterpret_cast<sockaddr *>(&address), length) != 0 || ::listen(number_, 8) != 0 ||
        ::getsockname(number_, reinterpret_cast<sockaddr *>(&address), &length) != 0)
      std::abort();
    return ntohs(address.sin_port);
  }
  bool connect(int port) {
    sockaddr_in address = here(port);
    return ::connect(number_, reinterpret_cast<sockaddr *>(&address), sizeof(address)) == 0;
  }
  void send(std::string_view text) {
    while (!text.empty()) {
      ssize_t put = ::send(number_, text.data(), text.size(), MSG_NOSIGNAL);
      if (put <= 0)
        return; // the other side had enough
      text.remove_prefix(static_cast<size_t>(put));
    }
  }
  // Says that there is no more, and waits for the other side to close.
  void finish() {
    ::shutdown(number_, SHUT_WR);
    char piece[4096];
    while (::recv(number_, piece, sizeof(piece), 0) > 0) {
    }
  }
  void close() {
    if (number_ >= 0)
      ::close(number_);
    number_ = -1;
  }

private:
  static sockaddr_in here(int port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }
  int number_;
};

World worldOf(int rank, int size, int port) {
  World world;
  world.rank = rank;
  world.size = size;
  world.port = port;
  return world;
}

int freePort() { return Socket().listen(); }

// Of two ranks: one that says farewell and no more is waited for as long.
constexpr double kTimeout = 0.05;

void playStranger(std::string_view text) {
  static int port = freePort();
  static const std::unique_ptr<Control> run = [] {
    auto control = Control::join(worldOf(0, 1, port), 600);
    if (!control.ok())
      std::abort();
    return std::move(*control);
  }();
  Socket socket;
  if (!socket.connect(port)) {
    if (errno == ECONNREFUSED)
      std::abort();
    return; // thousands of connections a second use up the host's ports
  }
  socket.send(text);
  socket.finish();
  // A machine so busy that its own messages come late is no finding.
  if (run->failed() && run->failure().message().find(" hangs") == std::string::npos)
    std::abort();
}

void playRank1(std::string_view text) {
  const int port = freePort();
  std::thread other([&] {
    Socket socket;
    for (int i = 0; i < 1000 && !socket.connect(port); ++i)
      ::usleep(1000);
    socket.send("{\"greeting\": \"txc-ranks-1\", \"rank\": 1, \"size\": 2, \"host\": \"b\", \"pid\": 7}\n");
    socket.send(text);
    socket.finish();
  });
  {
    auto control = Control::join(worldOf(0, 2, port), kTimeout);
    fuzz::checkSays(control);
    if (control.ok()) {
      auto texts = (*control)->gather("a");
      fuzz::checkSays(texts);
      if (texts.ok() && texts->size() != 2)
        std::abort();
    }
  }
  other.join();
}

void playRank0(std::string_view text) {
  Socket listener;
  const int port = listener.listen();
  std::thread other([&] {
    Socket socket(::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC));
    socket.send(text);
    socket.finish();
  });
  {
    auto control = Control::join(worldOf(1, 2, port), kTimeout);
    fuzz::checkSays(control);
    if (control.ok()) {
      auto texts = (*control)->gather("a");
      fuzz::checkSays(texts);
      if (texts.ok() && texts->size() != 2)
        std::abort();
      (void)(*control)->sharers();
      (void)(*control)->nameOf(0);
    }
  }
  other.join();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<std::string_view> parts = fuzz::split(fuzz::asText(data, size), 3);
  if (!parts[0].empty())
    playStranger(parts[0]);
  if (!parts[1].empty())
    playRank1(parts[1]);
  if (!parts[2].empty())
    playRank0(parts[2]);
  return 0;
}
