//===- WorldTest.cpp - Launchers' environments and the control plane -------===//
#include "comm/world.h"
#include "comm/control.h"
#include "comm/launch.h"

#include <arpa/inet.h>
#include <chrono>
#include <gtest/gtest.h>
#include <map>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

using namespace txc;

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

namespace {

Result<World> worldIn(const std::map<std::string, std::string> &variables) {
  return worldOf([&](const char *name) {
    auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

World localWorld(int rank, int size, int port) {
  World world;
  world.rank = rank;
  world.size = size;
  world.port = port;
  return world;
}

// Most likely no other test's, and none that connections get by themselves (from 32768 on).
int somePort(int turn) { return 10000 + (static_cast<int>(::getpid()) * 16 + turn) % 20000; }

// Calls `function` for each rank on a thread of its own.
template <typename Function> void onRanks(int size, int port, double timeout, const Function &function) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([=] { function(rank, Control::join(localWorld(rank, size, port), timeout)); });
  for (std::thread &thread : threads)
    thread.join();
}

// A program that is none of the ranks, and comes to their port or has it.
class Stranger {
public:
  explicit Stranger(int port) {
    address_.sin_family = AF_INET;
    address_.sin_port = htons(static_cast<uint16_t>(port));
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  }
  ~Stranger() { ::close(socket_); }
  Stranger(const Stranger &) = delete;
  Stranger &operator=(const Stranger &) = delete;

  void come() {
    for (int turn = 0; turn < 200; ++turn) {
      if (::connect(socket_, reinterpret_cast<sockaddr *>(&address_), sizeof(address_)) == 0)
        return;
      ::usleep(20000);
    }
    FAIL() << "nobody listens";
  }
  // Waits for somebody who comes.
  void serve() {
    int on = 1;
    ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    ASSERT_EQ(::bind(socket_, reinterpret_cast<sockaddr *>(&address_), sizeof(address_)), 0);
    ASSERT_EQ(::listen(socket_, 4), 0);
  }
  void take() {
    const int taken = ::accept(socket_, nullptr, nullptr);
    ::close(socket_);
    socket_ = taken;
  }
  // Whether all of it went out.
  bool say(const std::string &text) {
    for (size_t at = 0; at < text.size();) {
      ssize_t put = ::send(socket_, text.data() + at, text.size() - at, MSG_NOSIGNAL);
      if (put <= 0)
        return false;
      at += static_cast<size_t>(put);
    }
    return true;
  }
  // What comes until the other side closes, or for `seconds`; whether it closed.
  bool hear(std::string &text, int seconds = 20) {
    struct timeval limit = {1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    char piece[4096];
    while (std::chrono::steady_clock::now() < end) {
      const ssize_t got = ::recv(socket_, piece, sizeof(piece), 0);
      if (got == 0 || (got < 0 && errno == ECONNRESET))
        return true;
      if (got > 0)
        text.append(piece, static_cast<size_t>(got));
    }
    return false;
  }

private:
  int socket_;
  sockaddr_in address_ = {};
};

const char *const kWrongTypes[] = {R"([1])",
                                   R"({})",
                                   R"({"greeting": 5})",
                                   R"({"greeting": "txc-ranks-1"})",
                                   R"({"greeting": "txc-ranks-1", "rank": "0", "size": 2})",
                                   R"({"greeting": "txc-ranks-1", "rank": -1, "size": 2})",
                                   R"({"greeting": "txc-ranks-1", "rank": 1e300, "size": 2})",
                                   R"({"greeting": "txc-ranks-1", "rank": 18446744073709551615, "size": 2})",
                                   R"({"beat": {"iteration": "x"}})",
                                   "\xff\xfe\x00",
                                   "GET / HTTP/1.1\r",
                                   "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["};

} // namespace

TEST(World, KnowsLaunchers) {
  Result<World> world = worldIn({});
  ASSERT_TRUE(world.ok());
  EXPECT_EQ(world->size, 1);
  EXPECT_EQ(world->launcher, "");

  world = worldIn({{"RANK", "3"},
                   {"WORLD_SIZE", "4"},
                   {"LOCAL_RANK", "1"},
                   {"MASTER_ADDR", "a"},
                   {"MASTER_PORT", "1234"},
                   {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  ASSERT_TRUE(world.ok());
  EXPECT_EQ(world->rank, 3);
  EXPECT_EQ(world->size, 4);
  EXPECT_EQ(world->localRank, 1);
  EXPECT_EQ(world->address, "a");
  EXPECT_EQ(world->port, 1235);

  world = worldIn(
      {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  ASSERT_TRUE(world.ok());
  EXPECT_EQ(world->launcher, "mpirun");
  EXPECT_EQ(world->address, "127.0.0.1");

  world = worldIn({{"SLURM_PROCID", "5"},
                   {"SLURM_NTASKS", "8"},
                   {"SLURM_LOCALID", "1"},
                   {"SLURM_STEP_ID", "0"},
                   {"SLURM_STEP_NODELIST", "node[03-06]"}});
  ASSERT_TRUE(world.ok());
  EXPECT_EQ(world->launcher, "srun");
  EXPECT_EQ(world->address, "node03");
  // A batch script that starts one process.
  world = worldIn({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}});
  ASSERT_TRUE(world.ok());
  EXPECT_EQ(world->size, 1);
}

TEST(World, RefusesNonsense) {
  EXPECT_MENTIONS(worldIn({{"RANK", "4"}, {"WORLD_SIZE", "4"}}).status().message(), "RANK=4");
  EXPECT_MENTIONS(worldIn({{"RANK", "x"}, {"WORLD_SIZE", "4"}}).status().message(), "RANK=x");
  EXPECT_MENTIONS(
      worldIn(
          {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}})
          .status()
          .message(),
      "MASTER_ADDR is not set");
}

TEST(World, ReadsHostLists) {
  EXPECT_EQ(firstHost("a"), "a");
  EXPECT_EQ(firstHost("a,b[1-2]"), "a");
  EXPECT_EQ(firstHost("n[007-9,12]x,b"), "n007x");
}

TEST(Launch, TakesTheWorstCode) {
  EXPECT_EQ(worstExitCode({0, 0}), 0);
  EXPECT_EQ(worstExitCode({0, 3 << 8, 1 << 8}), 3);
  EXPECT_EQ(worstExitCode({9, 3 << 8}), 3); // killed
  EXPECT_EQ(worstExitCode({9, 0}), 137);
}

TEST(Control, Gathers) {
  onRanks(3, somePort(0), 20, [](int rank, Result<std::unique_ptr<Control>> control) {
    ASSERT_TRUE(control.ok()) << control.status().message();
    EXPECT_EQ((*control)->places().size(), 3u);
    EXPECT_EQ((*control)->sharers(), 3);
    for (int turn = 0; turn < 3; ++turn) {
      auto all = (*control)->gather(std::to_string(10 * turn + rank));
      ASSERT_TRUE(all.ok()) << all.status().message();
      for (int other = 0; other < 3; ++other)
        EXPECT_EQ((*all)[static_cast<size_t>(other)], std::to_string(10 * turn + other));
    }
  });
}

TEST(Control, TellsWhatFailed) {
  onRanks(2, somePort(1), 20, [](int rank, Result<std::unique_ptr<Control>> control) {
    ASSERT_TRUE(control.ok()) << control.status().message();
    (*control)->enter("blocks.0.grad");
    (*control)->atIteration(7);
    if (rank == 1) {
      (*control)->fail(Status::failed("no data"));
      return;
    }
    auto all = (*control)->gather("");
    ASSERT_FALSE(all.ok());
    EXPECT_EQ(all.status().code(), Code::Device);
    EXPECT_MENTIONS(all.status().message(), "rank 1 (host ");
    EXPECT_MENTIONS(all.status().message(), "no data");
  });
}

// Rank 1 fails before rank 2 is there: rank 2 need not wait to hear of it.
TEST(Control, TellsLateComersWhatFailed) {
  const int port = somePort(30);
  std::thread first([&] {
    auto control = Control::join(localWorld(0, 3, port), 600);
    ASSERT_FALSE(control.ok());
    EXPECT_MENTIONS(control.status().message(), "no data");
  });
  {
    Stranger stranger(port);
    stranger.come();
    stranger.say("{\"greeting\": \"txc-ranks-1\", \"rank\": 1, \"size\": 3}\n{\"failure\": \"no data\"}\n");
    std::string answer;
    stranger.hear(answer, 1);
    EXPECT_MENTIONS(answer, "no data");
    const auto start = std::chrono::steady_clock::now();
    auto control = Control::join(localWorld(2, 3, port), 600);
    ASSERT_FALSE(control.ok());
    EXPECT_MENTIONS(control.status().message(), "no data");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
  }
  first.join();
}

TEST(Control, NamesWhoIsLate) {
  onRanks(2, somePort(2), 1, [](int rank, Result<std::unique_ptr<Control>> control) {
    ASSERT_TRUE(control.ok()) << control.status().message();
    if (rank == 0) {
      (*control)->enter("blocks.3.grad");
      (*control)->waiting(true);
    }
    for (int turn = 0; turn < 100 && !(*control)->failed(); ++turn)
      ::usleep(50000);
    ASSERT_TRUE((*control)->failed());
    EXPECT_MENTIONS((*control)->failure().message(), "rank 1 (host ");
    EXPECT_MENTIONS((*control)->failure().message(), "did not come to collective 'blocks.3.grad'");
  });
}

TEST(Control, SaysWhoIsMissing) {
  auto alone = Control::join(localWorld(0, 3, somePort(3)), 1);
  ASSERT_FALSE(alone.ok());
  EXPECT_MENTIONS(alone.status().message(), "rank 1, rank 2");
  auto lost = Control::join(localWorld(1, 2, somePort(4)), 1);
  ASSERT_FALSE(lost.ok());
  EXPECT_MENTIONS(lost.status().message(), "cannot reach rank 0 at 127.0.0.1");
}

TEST(Control, NeedsAPortOfItsOwn) {
  const int port = somePort(5);
  std::thread first([&] { EXPECT_FALSE(Control::join(localWorld(0, 2, port), 2).ok()); });
  ::usleep(500000);
  auto second = Control::join(localWorld(0, 2, port), 2);
  ASSERT_FALSE(second.ok());
  EXPECT_MENTIONS(second.status().message(), "is in use");
  EXPECT_MENTIONS(second.status().message(), "MASTER_PORT");
  first.join();
}

// Ranks meet, gather and part while strangers come to their port, before, among and after them.
TEST(Control, IgnoresStrangers) {
  const int port = somePort(6);
  std::thread strangers([&] {
    Stranger silent(port);
    silent.come(); // and stays
    for (const char *line : kWrongTypes) {
      Stranger stranger(port);
      stranger.come();
      stranger.say(std::string(line) + "\n");
      std::string answer;
      EXPECT_TRUE(stranger.hear(answer)) << line;
      EXPECT_EQ(answer, "") << line;
    }
    Stranger endless(port);
    endless.come();
    EXPECT_FALSE(endless.say(std::string(64 << 20, 'x')));
    std::string answer;
    EXPECT_TRUE(silent.hear(answer)) << "one who says nothing keeps his place";
  });
  std::vector<std::thread> ranks;
  std::atomic<bool> done{false};
  for (int rank = 0; rank < 2; ++rank)
    ranks.emplace_back([&, rank] {
      ::usleep(static_cast<useconds_t>(rank) * 300000);
      auto control = Control::join(localWorld(rank, 2, port), 3);
      ASSERT_TRUE(control.ok()) << control.status().message();
      for (int turn = 0;; ++turn) {
        auto all = (*control)->gather(done ? "end" : "go on");
        ASSERT_TRUE(all.ok()) << all.status().message();
        if ((*all)[0] == "end")
          return;
        ::usleep(20000);
      }
    });
  strangers.join();
  done = true;
  for (std::thread &rank : ranks)
    rank.join();
}

// One that is no rank but says that it is.
TEST(Control, SurvivesARankOfWrongTypes) {
  const int port = somePort(7);
  std::thread other([&] {
    Stranger stranger(port);
    stranger.come();
    stranger.say("{\"greeting\": \"txc-ranks-1\", \"rank\": 1, \"size\": 2, \"host\": 5, \"pid\": \"x\", "
                 "\"cpus\": []}\n");
    for (const char *line :
         {R"({"beat": 5})", R"({"beat": {"iteration": "x", "entered": {}, "waiting": "y", "busy": 3}})",
          R"({"gather": "x", "text": 5})", R"({"gather": [], "text": {}})", R"([])", R"(nonsense)",
          R"({"failure": 7})"})
      stranger.say(std::string(line) + "\n");
    std::string answer;
    stranger.hear(answer, 2);
  });
  auto control = Control::join(localWorld(0, 2, port), 20);
  for (int turn = 0; control.ok() && turn < 400 && !(*control)->failed(); ++turn)
    ::usleep(50000);
  other.join();
  const Status status = control.ok() ? (*control)->failure() : control.status();
  ASSERT_FALSE(status.ok());
  EXPECT_MENTIONS(status.message(), "rank 1 (host ");
}

// Another program has the port that rank 0 should have.
TEST(Control, SurvivesAStrangeServer) {
  const std::pair<const char *, const char *> answers[] = {
      {R"({"welcome": 7})", "another program"},
      {R"({"welcome": {"0": 1, "1": 2}})", "another program"},
      {R"({"welcome": []})", "another program"},
      {R"({"welcome": [1, 2, 3]})", "another program"},
      {R"({"gathered": 0, "texts": 9})", "another program"},
      {R"({"gathered": 0})", "another program"},
      {R"({"failure": []})", "a rank failed"},
      {"SSH-2.0-Server\r", "said nothing"},
  };
  for (const auto &[answer, expected] : answers) {
    const int port = somePort(8);
    Stranger server(port);
    server.serve();
    std::thread answering([&, text = answer] {
      server.take();
      server.say(std::string(text) + "\n");
    });
    auto control = Control::join(localWorld(1, 2, port), 1);
    answering.join();
    ASSERT_FALSE(control.ok()) << answer;
    EXPECT_MENTIONS(control.status().message(), expected);
  }
  // What it is told of each rank and text may be nonsense too.
  const int port = somePort(8);
  Stranger server(port);
  server.serve();
  std::thread answering([&] {
    server.take();
    server.say(R"({"welcome": [1, {"host": 2, "pid": "x", "cpus": {}}]})"
               "\n"
               R"({"gathered": 0, "texts": [3, {}]})"
               "\n");
    std::string rest;
    server.hear(rest, 2);
  });
  auto control = Control::join(localWorld(1, 2, port), 5);
  ASSERT_TRUE(control.ok()) << control.status().message();
  auto all = (*control)->gather("x");
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(*all, (std::vector<std::string>{"", ""}));
  EXPECT_EQ((*control)->sharers(), 2);
  answering.join();
}

// A process of another job that has the same port must not end this one.
TEST(Control, RefusesWhoComesLate) {
  const int port = somePort(9);
  onRanks(2, port, 20, [port](int rank, Result<std::unique_ptr<Control>> control) {
    ASSERT_TRUE(control.ok()) << control.status().message();
    ASSERT_TRUE((*control)->gather("").ok());
    if (rank == 1) {
      auto late = Control::join(localWorld(1, 2, port), 5);
      ASSERT_FALSE(late.ok());
      EXPECT_MENTIONS(late.status().message(), "is there twice");
      auto larger = Control::join(localWorld(3, 4, port), 5);
      ASSERT_FALSE(larger.ok());
      EXPECT_MENTIONS(larger.status().message(), "one of 4 ranks");
    }
    EXPECT_TRUE((*control)->gather("").ok());
    EXPECT_FALSE((*control)->failed());
  });
}

// What it runs at a failure may take as long as it likes: the others hear on.
TEST(Control, RunsWhatEndsWaits) {
  onRanks(2, somePort(10), 20, [](int rank, Result<std::unique_ptr<Control>> control) {
    ASSERT_TRUE(control.ok()) << control.status().message();
    std::atomic<int> ran{0}, late{0};
    (*control)->onFailure([&] {
      ::usleep(100000);
      ++ran;
    });
    (*control)->watch([&] { return rank == 1 ? Status(Code::Device, "the link is broken") : Status(); });
    auto all = (*control)->gather(rank == 0 ? "" : "x");
    for (int turn = 0; turn < 200 && !(*control)->failed(); ++turn)
      ::usleep(20000);
    ASSERT_TRUE((*control)->failed());
    EXPECT_MENTIONS((*control)->failure().message(), "the link is broken");
    EXPECT_MENTIONS((*control)->failure().message(), "rank 1 (host ");
    (*control)->onFailure({});
    EXPECT_EQ(ran, 1);
    (*control)->onFailure([&] { ++late; }); // the failure was before
    (*control)->onFailure({});
    EXPECT_EQ(late, 1);
  });
}
