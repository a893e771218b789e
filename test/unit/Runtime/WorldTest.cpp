//===- WorldTest.cpp - Launchers' environments and the control plane -------===//
#include "comm/control.h"
#include "comm/launch.h"
#include "comm/world.h"

#include <gtest/gtest.h>
#include <map>
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

// Most likely no other test's.
int somePort(int turn) { return 30000 + (static_cast<int>(::getpid()) * 8 + turn) % 20000; }

// Calls `function` for each rank on a thread of its own.
template <typename Function> void onRanks(int size, int port, double timeout, const Function &function) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([=] { function(rank, Control::join(localWorld(rank, size, port), timeout)); });
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace

TEST(World, KnowsLaunchers) {
  Result<World> world = worldIn({});
  ASSERT_TRUE(world.ok());
  EXPECT_EQ(world->size, 1);
  EXPECT_EQ(world->launcher, "");

  world = worldIn({{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"MASTER_ADDR", "a"},
                   {"MASTER_PORT", "1234"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  ASSERT_TRUE(world.ok());
  EXPECT_EQ(world->rank, 3);
  EXPECT_EQ(world->size, 4);
  EXPECT_EQ(world->localRank, 1);
  EXPECT_EQ(world->address, "a");
  EXPECT_EQ(world->port, 1235);

  world = worldIn({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  ASSERT_TRUE(world.ok());
  EXPECT_EQ(world->launcher, "mpirun");
  EXPECT_EQ(world->address, "127.0.0.1");

  world = worldIn({{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "1"}, {"SLURM_STEP_ID", "0"},
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
  EXPECT_MENTIONS(worldIn({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}})
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
