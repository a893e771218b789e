//===- control.cpp - How ranks find and watch each other -------------------===//
#include "comm/control.h"

#include "support/json.h"
#include "support/text.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

namespace txc {

using Json = nlohmann::ordered_json;

// First word of a connection, so that a stranger's is told from a rank's.
static constexpr const char *kGreeting = "txc-ranks-1";
// What one who has not greeted may send.
static constexpr size_t kLongestGreeting = 64 << 10;
// Of one rank; rank 0 answers with those of all.
static constexpr size_t kLongestLine = 4 << 20;

double Control::now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static std::string dump(const Json &value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Fields of what came over the network, whatever that is: a field that is missing
// or of another type is `otherwise`. The library's own value() throws.
static int64_t numberIn(const Json &object, const char *key, int64_t otherwise = 0) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
}

static double secondsIn(const Json &object, const char *key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

static std::string textIn(const Json &object, const char *key, const char *otherwise = "") {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

static bool flagIn(const Json &object, const char *key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

static bool sendAll(int socket, std::string_view text) {
  while (!text.empty()) {
    ssize_t put = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return false;
    text.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

static void configure(int socket) {
  int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  struct timeval limit = {5, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

// Takes complete lines off `buffer`.
template <typename Function> static void takeLines(std::string &buffer, const Function &function) {
  size_t begin = 0;
  for (size_t end; (end = buffer.find('\n', begin)) != std::string::npos; begin = end + 1)
    function(buffer.substr(begin, end - begin));
  buffer.erase(0, begin);
}

namespace {

struct Addresses {
  addrinfo *first = nullptr;
  ~Addresses() {
    if (first)
      ::freeaddrinfo(first);
  }
};

} // namespace

static Status resolve(const World &world, Addresses &addresses) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  const int error =
      ::getaddrinfo(world.address.c_str(), std::to_string(world.port).c_str(), &hints, &addresses.first);
  if (error != 0)
    return {Code::Device, "MASTER_ADDR=" + world.address + ": " + ::gai_strerror(error) +
                              "; give all ranks the name or the address of rank 0's host"};
  return {};
}

static std::string hostName() {
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

static std::string ownCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0)
    return "";
  std::string out;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set))
      out += (out.empty() ? "" : ",") + std::to_string(cpu);
  return out;
}

//===-- Rank 0's side -------------------------------------------------------===//

class ControlServer {
public:
  static Result<std::unique_ptr<ControlServer>> open(const World &world, double timeout) {
    std::unique_ptr<ControlServer> server(new ControlServer(world, timeout));
    if (Status status = server->listen(); !status.ok())
      return status;
    server->thread_ = std::thread([raw = server.get()] { raw->run(); });
    return server;
  }
  // Goes on until all ranks have left, or some seconds after a failure.
  ~ControlServer() {
    stop_ = true;
    if (thread_.joinable())
      thread_.join();
    for (int socket : {listener_})
      if (socket >= 0)
        ::close(socket);
    for (Peer &peer : peers_)
      if (peer.socket >= 0)
        ::close(peer.socket);
  }

private:
  struct Peer {
    int socket = -1, rank = -1; // -1: has not said
    std::string buffer;
    double heard = 0;
    bool left = false;
  };
  struct Rank {
    std::string host, cpus, collective;
    int64_t pid = 0, iteration = 0, entered = 0;
    double waiting = 0;
    bool present = false, busy = false, left = false;
    int socket = -1;
  };

  ControlServer(const World &world, double timeout)
      : world_(world), timeout_(timeout), ranks_(static_cast<size_t>(world.size)), started_(seconds()) {}

  Status listen();
  void run();
  void receive(Peer &peer, const Json &message);
  void lose(Peer &peer);
  void check();
  void fail(const std::string &message);
  // How long one may say nothing.
  double lossSeconds() const { return std::min(Control::kHeartbeatLossSeconds, timeout_); }
  void sendTo(Rank &rank, const std::string &line) {
    if (rank.socket >= 0 && !rank.left)
      sendAll(rank.socket, line); // a connection that is lost shows when reading
  }
  void sendToAll(const std::string &line) {
    // Rank 0 last: its process may end at once.
    for (size_t i = ranks_.size(); i-- > 0;)
      sendTo(ranks_[i], line);
  }
  std::string nameOf(size_t rank) const {
    const Rank &r = ranks_[rank];
    return format("rank %zu (host %s, process %lld)", rank, r.host.c_str(), static_cast<long long>(r.pid));
  }
  std::string placeOf(size_t rank) const {
    const Rank &r = ranks_[rank];
    std::string out = format(" in iteration %lld", static_cast<long long>(r.iteration));
    if (!r.collective.empty())
      out += ", last in collective '" + r.collective + "'";
    return out;
  }

  // Where the ranks are that are elsewhere than one.
  std::string others(size_t than) const {
    std::string out;
    for (size_t r = 0; r < ranks_.size(); ++r)
      if (ranks_[r].collective != ranks_[than].collective)
        out += (out.empty() ? "" : "; ") + nameOf(r) + " was" + placeOf(r);
    return out;
  }

  World world_;
  double timeout_;
  int listener_ = -1;
  std::vector<Peer> peers_;
  std::vector<Rank> ranks_;
  std::map<int64_t, std::pair<double, std::map<size_t, std::string>>> gathers_;
  double started_, failedAt_ = 0, beat_ = 0;
  std::string failure_; // as sent
  bool welcomed_ = false;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

Status ControlServer::listen() {
  Addresses addresses;
  if (Status status = resolve(world_, addresses); !status.ok())
    return status;
  const std::string where = format("%s port %d", world_.address.c_str(), world_.port);
  int error = EADDRNOTAVAIL;
  for (addrinfo *at = addresses.first; at; at = at->ai_next) {
    int socket = ::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (socket >= 0 && ::bind(socket, at->ai_addr, at->ai_addrlen) == 0 && ::listen(socket, 1024) == 0) {
      listener_ = socket;
      return {};
    }
    error = errno;
    if (socket >= 0)
      ::close(socket);
  }
  if (error == EADDRINUSE)
    return {Code::Device, where + " is in use on this host (" + hostName() +
                              "), where rank 0 waits for the other ranks; set MASTER_PORT to another port"};
  if (error == EADDRNOTAVAIL)
    return {Code::Device, where + ": not an address of this host (" + hostName() +
                              "), on which rank 0 runs; set MASTER_ADDR to the name or address of this host"};
  return {Code::Device, where + ": cannot wait for the other ranks: " + std::strerror(error)};
}

void ControlServer::fail(const std::string &message) {
  if (failedAt_ > 0)
    return;
  failedAt_ = seconds();
  failure_ = dump({{"failure", message}});
  sendToAll(failure_);
}

void ControlServer::lose(Peer &peer) {
  ::close(peer.socket);
  peer.socket = -1;
  if (peer.rank < 0)
    return;
  Rank &rank = ranks_[static_cast<size_t>(peer.rank)];
  rank.socket = -1;
  if (!rank.left)
    fail(nameOf(static_cast<size_t>(peer.rank)) + " died" + placeOf(static_cast<size_t>(peer.rank)) +
         ": its connection closed; its own output says why, or the system ended it (killed, out of memory: "
         "see "
         "dmesg)");
}

void ControlServer::receive(Peer &peer, const Json &message) {
  peer.heard = seconds();
  if (peer.rank < 0) {
    const int64_t number = numberIn(message, "rank", -1), size = numberIn(message, "size");
    if (textIn(message, "greeting") != kGreeting || number < 0) {
      lose(peer);
      return;
    }
    std::string wrong;
    if (size != world_.size)
      wrong = format("rank %lld was started as one of %lld ranks, rank 0 as one of %d; start all ranks with "
                     "the same number of ranks",
                     static_cast<long long>(number), static_cast<long long>(size), world_.size);
    else if (number >= world_.size || ranks_[static_cast<size_t>(number)].present)
      wrong =
          format("rank %lld of %d is there twice (hosts %s and %s); give each process a rank of its own, and "
                 "each job a MASTER_PORT of its own",
                 static_cast<long long>(number), world_.size,
                 number < world_.size ? ranks_[static_cast<size_t>(number)].host.c_str() : "?",
                 textIn(message, "host", "?").c_str());
    if (!wrong.empty()) {
      sendAll(peer.socket, dump({{"failure", wrong}}));
      // One that comes to ranks that met is another job's; that these go on is
      // more than that it hears of its mistake.
      if (welcomed_)
        lose(peer);
      else
        fail(wrong);
      return;
    }
    peer.rank = static_cast<int>(number);
    Rank &rank = ranks_[static_cast<size_t>(number)];
    rank.present = true;
    rank.socket = peer.socket;
    rank.host = textIn(message, "host");
    rank.cpus = textIn(message, "cpus");
    rank.pid = numberIn(message, "pid");
    if (failedAt_ > 0) {
      sendTo(rank, failure_); // it came later than the others heard of it
      return;
    }
    for (const Rank &other : ranks_)
      if (!other.present)
        return;
    Json places = Json::array();
    for (const Rank &other : ranks_)
      places.push_back({{"host", other.host}, {"pid", other.pid}, {"cpus", other.cpus}});
    welcomed_ = true;
    sendToAll(dump({{"welcome", places}}));
    return;
  }
  const auto number = static_cast<size_t>(peer.rank);
  Rank &rank = ranks_[number];
  if (message.contains("beat")) {
    const Json &beat = message["beat"];
    if (!beat.is_object())
      return;
    rank.iteration = numberIn(beat, "iteration");
    rank.collective = textIn(beat, "collective");
    rank.entered = numberIn(beat, "entered");
    rank.waiting = secondsIn(beat, "waiting");
    rank.busy = flagIn(beat, "busy");
  } else if (message.contains("gather")) {
    const int64_t turn = numberIn(message, "gather");
    auto &[since, texts] = gathers_[turn];
    if (texts.empty())
      since = seconds();
    texts[number] = textIn(message, "text");
    if (texts.size() == ranks_.size()) {
      Json all = Json::array();
      for (const auto &[from, text] : texts)
        all.push_back(text);
      sendToAll(dump({{"gathered", turn}, {"texts", all}}));
      gathers_.erase(turn);
    }
  } else if (message.contains("failure")) {
    fail(nameOf(number) + " failed" + placeOf(number) + ": " + textIn(message, "failure"));
  } else if (message.contains("leaves")) {
    rank.left = true;
    rank.busy = false; // nobody waits for it in vain
    peer.left = true;
  }
}

void ControlServer::check() {
  const double time = seconds();
  auto among = [&](const std::vector<size_t> &who) {
    std::string out;
    for (size_t rank : who)
      out +=
          (out.empty() ? "" : ", ") + (ranks_[rank].present ? nameOf(rank) : "rank " + std::to_string(rank));
    return out;
  };
  if (!welcomed_) {
    std::vector<size_t> missing;
    for (size_t i = 0; i < ranks_.size(); ++i)
      if (!ranks_[i].present)
        missing.push_back(i);
    if (time - started_ > timeout_)
      fail(format("of %zu ranks these did not come to %s port %d within %g s: ", ranks_.size(),
                  world_.address.c_str(), world_.port, timeout_) +
           among(missing) +
           "; see whether they were started, with this MASTER_ADDR and MASTER_PORT, and whether a "
           "firewall is between the hosts");
    return;
  }
  const double lossLimit = lossSeconds();
  for (const Peer &peer : peers_)
    if (peer.socket >= 0 && peer.rank >= 0 && !peer.left && time - peer.heard > lossLimit)
      fail(nameOf(static_cast<size_t>(peer.rank)) + " hangs" + placeOf(static_cast<size_t>(peer.rank)) +
           format(": nothing was heard from it for %g s; it is stopped, or its host or the network is down",
                  lossLimit));
  auto anyBusy = [&](const std::vector<size_t> &who) {
    for (size_t rank : who)
      if (ranks_[rank].busy)
        return true;
    return false;
  };
  for (auto &[turn, gather] : gathers_) {
    std::vector<size_t> missing;
    for (size_t i = 0; i < ranks_.size(); ++i)
      if (!gather.second.count(i))
        missing.push_back(i);
    if (anyBusy(missing))
      gather.first = time;
    if (time - gather.first > timeout_)
      fail(among(missing) + " did not reach the end of an iteration" + placeOf(missing[0]) +
           format(", for which the others waited %g s (--comm_timeout)", timeout_));
  }
  // Somebody waits too long: those who entered fewer collectives are why.
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (ranks_[i].waiting <= timeout_)
      continue;
    int64_t least = ranks_[i].entered;
    for (const Rank &rank : ranks_)
      least = std::min(least, rank.entered);
    std::vector<size_t> late;
    for (size_t r = 0; r < ranks_.size(); ++r)
      if (ranks_[r].entered == least && least < ranks_[i].entered)
        late.push_back(r);
    if (anyBusy(late))
      continue;
    bool together = true;
    for (const Rank &rank : ranks_)
      together &= rank.collective == ranks_[i].collective;
    if (late.empty() && together)
      fail(format("all ranks entered collective '%s' of iteration %lld and it is not complete after %g s "
                  "(--comm_timeout); see the network between the hosts",
                  ranks_[i].collective.c_str(), static_cast<long long>(ranks_[i].iteration), timeout_));
    else if (late.empty()) // on GPUs, which enter them later than their hosts
      fail(nameOf(i) + " waited" + placeOf(i) + format(", for %g s (--comm_timeout), ", timeout_) +
           others(i));
    else
      fail(among(late) + " did not come to collective '" + ranks_[i].collective + "' of iteration " +
           std::to_string(ranks_[i].iteration) + placeOf(late[0]) +
           format("; the others waited %g s for it (--comm_timeout)", timeout_));
  }
}

void ControlServer::run() {
  for (;;) {
    bool anyone = false;
    for (const Peer &peer : peers_)
      anyone |= peer.socket >= 0 && peer.rank > 0 && !peer.left;
    const double time = seconds();
    if (stop_ && (!anyone || (failedAt_ > 0 && time - failedAt_ > Control::kGraceSeconds)))
      return;
    std::vector<pollfd> watched = {{listener_, POLLIN, 0}};
    for (const Peer &peer : peers_)
      watched.push_back({peer.socket, POLLIN, 0});
    ::poll(watched.data(), watched.size(), stop_ ? 20 : 200);
    const size_t known = peers_.size();
    if (watched[0].revents & POLLIN) {
      int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (socket >= 0) {
        configure(socket);
        Peer peer;
        peer.socket = socket;
        peer.heard = seconds();
        peers_.push_back(peer);
      }
    }
    for (size_t i = 0; i < known; ++i) {
      if (!(watched[i + 1].revents & (POLLIN | POLLHUP | POLLERR)))
        continue;
      char piece[65536];
      ssize_t got = ::recv(peers_[i].socket, piece, sizeof(piece), MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EINTR))
        continue;
      if (got <= 0) {
        lose(peers_[i]);
        continue;
      }
      peers_[i].buffer.append(piece, static_cast<size_t>(got));
      takeLines(peers_[i].buffer, [&](const std::string &line) {
        Result<Json> message = parseJson(line);
        if (peers_[i].socket >= 0 && message.ok() && message->is_object())
          receive(peers_[i], *message);
        else if (peers_[i].socket >= 0 && peers_[i].rank < 0)
          lose(peers_[i]); // not one of us
      });
      if (peers_[i].socket >= 0 &&
          peers_[i].buffer.size() > (peers_[i].rank < 0 ? kLongestGreeting : kLongestLine))
        lose(peers_[i]);
    }
    for (Peer &peer : peers_)
      if (peer.socket >= 0 && peer.rank < 0 && seconds() - peer.heard > lossSeconds())
        lose(peer); // came and says nothing
    std::erase_if(peers_, [](const Peer &peer) { return peer.socket < 0 && peer.rank < 0; });
    if (failedAt_ == 0)
      check();
    if (seconds() - beat_ > Control::kBeatSeconds) {
      beat_ = seconds();
      sendToAll("{\"beat\":0}\n");
    }
  }
}

//===-- Every rank's side ---------------------------------------------------===//

Control::Control(World world, double timeout) : world_(std::move(world)), timeout_(timeout) {}

Result<std::unique_ptr<Control>> Control::join(const World &world, double timeout) {
  std::unique_ptr<Control> control(new Control(world, timeout));
  if (world.rank == 0) {
    auto server = ControlServer::open(world, timeout);
    if (!server.ok())
      return server.status();
    control->server_ = std::move(*server);
  }
  if (Status status = control->connect(); !status.ok())
    return status;
  return control;
}

Status Control::connect() {
  Addresses addresses;
  if (Status status = resolve(world_, addresses); !status.ok())
    return status;
  const double start = now();
  int error = 0;
  while (socket_ < 0) {
    for (addrinfo *at = addresses.first; at && socket_ < 0; at = at->ai_next) {
      int socket = ::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
      // A host that does not answer must not take the whole time.
      struct timeval limit = {static_cast<time_t>(std::max(1.0, std::min(10.0, timeout_))), 0};
      ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
      if (::connect(socket, at->ai_addr, at->ai_addrlen) == 0) {
        socket_ = socket;
      } else {
        error = errno == EINPROGRESS ? ETIMEDOUT : errno;
        ::close(socket);
      }
    }
    if (socket_ >= 0)
      break;
    if (now() - start > timeout_)
      return {
          Code::Device,
          format(
              "rank %d of %d cannot reach rank 0 at %s port %d for %g s: %s; see whether rank 0 runs on that "
              "host, whether all ranks have its MASTER_ADDR and MASTER_PORT, and whether a firewall is in "
              "between",
              world_.rank, world_.size, world_.address.c_str(), world_.port, timeout_, std::strerror(error))};
    ::usleep(100000);
  }
  configure(socket_);
  if (::pipe2(wake_, O_CLOEXEC) != 0)
    return {Code::Device, std::string("cannot make a pipe: ") + std::strerror(errno)};
  if (!send(dump({{"greeting", kGreeting},
                  {"rank", world_.rank},
                  {"size", world_.size},
                  {"host", hostName()},
                  {"pid", static_cast<int64_t>(::getpid())},
                  {"cpus", ownCpus()}})))
    return {Code::Device, format("rank %d: rank 0 at %s port %d closed the connection", world_.rank,
                                 world_.address.c_str(), world_.port)};
  thread_ = std::thread([this] { serve(); });
  std::unique_lock lock(mutex_);
  // Rank 0's server says who is missing a little before this ends.
  const bool known = changed_.wait_for(lock, std::chrono::duration<double>(timeout_ + 5),
                                       [&] { return joined_ || failed_; });
  if (joined_) // what failed since then shows in what is done next
    return {};
  if (failed_)
    return {Code::Device, failure_};
  if (!known)
    return {Code::Device,
            format("rank %d: %s port %d took the connection and said nothing for %g s; is another "
                   "program listening there? Set MASTER_PORT to a free port",
                   world_.rank, world_.address.c_str(), world_.port, timeout_)};
  return {};
}

Control::~Control() {
  watch({});
  onFailure({}); // while the thread can still end a process that is stuck in it
  finished_ = true;
  if (socket_ >= 0 && !failed_)
    send("{\"leaves\":0}\n");
  if (wake_[1] >= 0)
    (void)!::write(wake_[1], "x", 1);
  if (thread_.joinable())
    thread_.join();
  if (socket_ >= 0)
    ::close(socket_);
  for (int end : wake_)
    if (end >= 0)
      ::close(end);
}

bool Control::send(const std::string &line) {
  std::lock_guard lock(sending_);
  return sendAll(socket_, line);
}

void Control::beat() {
  const double since = waitingSince_;
  send(dump({{"beat",
              {{"iteration", iteration_.load()},
               {"collective", collective_.load()},
               {"entered", entered_.load()},
               {"waiting", since > 0 ? now() - since : 0.0},
               {"busy", busy_.load()}}}}));
}

void Control::serve() {
  std::string buffer;
  double heard = now(), beaten = 0, failedAt = 0;
  bool open = true;
  while (!finished_) {
    if (failed_) {
      if (failedAt == 0)
        failedAt = now();
      // The program is stuck where only its end helps.
      if (now() - failedAt > kGraceSeconds) {
        std::string text =
            "txrun: error: rank " + std::to_string(world_.rank) + ": " + failure().message() + "\n";
        (void)!::write(STDERR_FILENO, text.data(), text.size());
        ::_exit(static_cast<int>(Code::Device));
      }
    }
    if (open && now() - beaten > kBeatSeconds / 2) {
      beaten = now();
      beat();
      std::lock_guard lock(watching_);
      if (watch_ && !failed_)
        if (Status status = watch_(); !status.ok())
          send(dump({{"failure", status.message()}}));
    }
    pollfd watched[] = {{wake_[0], POLLIN, 0}, {open ? socket_ : -1, POLLIN, 0}};
    ::poll(watched, 2, static_cast<int>(kBeatSeconds * 500));
    if (watched[1].revents) {
      char piece[65536];
      ssize_t got = ::recv(socket_, piece, sizeof(piece), MSG_DONTWAIT);
      if (got > 0) {
        heard = now();
        buffer.append(piece, static_cast<size_t>(got));
        takeLines(buffer, [&](const std::string &line) { receive(line); });
        if (buffer.size() > kLongestLine * static_cast<size_t>(world_.size))
          setFailure(
              format("%s port %d sends what is not a message of rank 0; another program is listening there. "
                     "Set MASTER_PORT to a free port",
                     world_.address.c_str(), world_.port));
      } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        open = false;
        if (!finished_)
          setFailure(nameOf(0) +
                     " died: its connection closed; its own output says why, or the system ended it "
                     "(killed, out of memory: see dmesg)");
      }
    }
    const double limit = std::min(kHeartbeatLossSeconds, timeout_) + 1;
    bool joined;
    {
      std::lock_guard lock(mutex_);
      joined = joined_;
    }
    if (open && joined && now() - heard > limit)
      setFailure(nameOf(0) +
                 format(" hangs: nothing was heard from it for %g s; it is stopped, or its host or the "
                        "network is down",
                        limit));
  }
}

void Control::receive(const std::string &line) {
  Result<Json> parsed = parseJson(line);
  if (!parsed.ok() || !parsed->is_object())
    return;
  const Json &message = *parsed;
  if (message.contains("failure")) {
    setFailure(textIn(message, "failure", "a rank failed"));
    return;
  }
  const bool welcome = message.contains("welcome");
  if (!welcome && !message.contains("gathered"))
    return;
  static const Json nothing;
  const auto found = message.find(welcome ? "welcome" : "texts");
  const Json &items = found == message.end() ? nothing : *found;
  // What later code finds by rank.
  if (!items.is_array() || items.size() != static_cast<size_t>(world_.size)) {
    setFailure(format("%s port %d answered for other than %d ranks; another program is listening there. Set "
                      "MASTER_PORT to a free port",
                      world_.address.c_str(), world_.port, world_.size));
    return;
  }
  std::lock_guard lock(mutex_);
  if (welcome) {
    places_.clear();
    for (const Json &place : items)
      places_.push_back(place.is_object()
                            ? RankPlace{textIn(place, "host"), numberIn(place, "pid"), textIn(place, "cpus")}
                            : RankPlace());
    joined_ = true;
  } else {
    std::vector<std::string> texts;
    for (const Json &text : items)
      texts.push_back(text.is_string() ? text.get<std::string>() : "");
    gathered_[numberIn(message, "gathered")] = std::move(texts);
  }
  changed_.notify_all();
}

void Control::setFailure(const std::string &message) {
  {
    std::lock_guard lock(mutex_);
    if (failed_)
      return;
    failure_ = message;
    failed_ = true;
    // It may take long or never end: beats go on, and the end of the process.
    if (onFailure_)
      failureThread_ = std::thread(std::exchange(onFailure_, {}));
  }
  changed_.notify_all();
}

Status Control::failure() const {
  std::lock_guard lock(mutex_);
  return failed_ ? Status(Code::Device, failure_) : Status();
}

void Control::onFailure(std::function<void()> function) {
  std::thread running;
  {
    std::lock_guard lock(mutex_);
    std::swap(running, failureThread_);
    if (failed_ && function)
      failureThread_ = std::thread(std::exchange(function, {}));
    onFailure_ = std::move(function);
  }
  if (running.joinable())
    running.join();
}

void Control::watch(std::function<Status()> function) {
  std::lock_guard lock(watching_);
  watch_ = std::move(function);
}

void Control::fail(const Status &status) {
  if (failed_)
    return;
  send(dump({{"failure", status.message()}}));
  // The others must have heard it before this process ends.
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::seconds(2), [&] { return failed_.load(); });
}

std::string Control::nameOf(int rank) const {
  if (static_cast<size_t>(rank) >= places_.size())
    return "rank " + std::to_string(rank);
  const RankPlace &place = places_[static_cast<size_t>(rank)];
  return format("rank %d (host %s, process %lld)", rank, place.host.c_str(),
                static_cast<long long>(place.pid));
}

bool Control::isOneHost() const {
  return std::all_of(places_.begin(), places_.end(),
                     [&](const RankPlace &place) { return place.host == places_[0].host; });
}

int Control::sharers() const {
  int count = 0;
  const RankPlace &own = places_[static_cast<size_t>(world_.rank)];
  for (const RankPlace &place : places_)
    count += place.host == own.host && place.cpus == own.cpus;
  return count;
}

Status Control::startGather(const std::string &text) {
  int64_t turn;
  {
    std::lock_guard lock(mutex_);
    turn = started_++;
  }
  send(dump({{"gather", turn}, {"text", text}})); // a lost connection shows when reading
  return failure();
}

Result<std::vector<std::string>> Control::finishGather() {
  std::unique_lock lock(mutex_);
  const int64_t turn = finishedGathers_++;
  const bool known = changed_.wait_for(lock, std::chrono::duration<double>(timeout_ + 15),
                                       [&] { return failed_ || gathered_.count(turn); });
  if (auto found = gathered_.find(turn); found != gathered_.end()) {
    std::vector<std::string> texts = std::move(found->second);
    gathered_.erase(found);
    return texts;
  }
  if (known)
    return Status{Code::Device, failure_};
  return Status{Code::Device, format("rank 0 did not answer for %g s", timeout_ + 15)};
}

Result<std::vector<std::string>> Control::gather(const std::string &text) {
  // A rank may have failed since all have answered; this gather is complete then.
  (void)startGather(text);
  return finishGather();
}

} // namespace txc
