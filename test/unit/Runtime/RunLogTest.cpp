//===- RunLogTest.cpp - A log that is valid at every instant ---------------===//
#include "report/run_log.h"

#include "TempFolder.h"

#include <csignal>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace txc;
using Json = nlohmann::ordered_json;

static Json record(int64_t iteration) {
  return {{"iter", iteration},
          {"loss", 1.0 / static_cast<double>(iteration + 1)},
          {"time_ms", 10.0},
          {"mfu", {{"mfu_percent", 50.0}}},
          {"padding", std::string(static_cast<size_t>(iteration * 37 % 900), 'x')}};
}

static Json parse(const std::string &path) {
  std::ifstream file(path);
  return Json::parse(file, nullptr, false);
}

TEST(RunLog, CompleteAfterEveryRecord) {
  TempFolder folder;
  auto log =
      RunLog::create(folder.file("a/b"), 0, {{"config", {{"seed", 1}}}, {"startup_info", Json::object()}});
  ASSERT_TRUE(log.ok()) << log.status().message();
  Json start = parse((*log)->path());
  EXPECT_EQ(start["config"]["seed"], 1);
  EXPECT_TRUE(start["training_iterations"].empty());
  EXPECT_TRUE(start["end_time"].is_null());
  for (int64_t i = 0; i < 50; ++i) {
    ASSERT_TRUE((*log)->addIteration(record(i)).ok());
    if (i % 10 == 9)
      ASSERT_TRUE(
          (*log)->addEvaluation({{"iter", i}, {"val_loss", 2.0 - 0.01 * static_cast<double>(i)}}).ok());
    Json now = parse((*log)->path());
    ASSERT_TRUE(now.is_object()) << i;
    ASSERT_EQ(now["training_iterations"].size(), static_cast<size_t>(i + 1));
    ASSERT_EQ(now["training_iterations"].back(), record(i));
    ASSERT_EQ(now["eval_steps"].size(), static_cast<size_t>((i + 1) / 10));
    ASSERT_EQ(now["summary"]["total_iterations"], i + 1);
  }
  EXPECT_EQ((*log)->bestValIteration(), 49);
  ASSERT_TRUE((*log)->finish({{"exit_code", 0}}).ok());
  std::string path = (*log)->path();
  log->reset();
  Json end = parse(path);
  for (const char *key : {"run_name", "start_time", "config", "startup_info", "training_iterations",
                          "eval_steps", "checkpoints", "metadata", "end_time", "summary"})
    EXPECT_TRUE(end.contains(key)) << key;
  EXPECT_EQ(end["summary"]["final_iter"], 49);
  EXPECT_EQ(end["summary"]["best_val_loss"], 2.0 - 0.49);
  EXPECT_EQ(end["summary"]["avg_time_ms"], 10.0);
  EXPECT_EQ(end["summary"]["avg_mfu"], 50.0);
  EXPECT_EQ(end["summary"]["best_val_iter"], 49);
  EXPECT_EQ(end["metadata"]["exit_code"], 0);
  ASSERT_EQ(end["training_iterations"].size(), 50u);
  for (int64_t i = 0; i < 50; ++i)
    EXPECT_EQ(end["training_iterations"][static_cast<size_t>(i)], record(i));
  EXPECT_TRUE(end["end_time"].is_string());
  // Only the document and its lines remain.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.file("a/b")), {}), 2);
  std::ifstream lines(path + "l");
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    EXPECT_TRUE(Json::parse(line, nullptr, false).is_object());
  EXPECT_EQ(count, 1u + 50 + 5 + 1);
}

TEST(RunLog, NotAlteredUnderReaders) {
  TempFolder folder;
  auto log = RunLog::create(folder.path(), 0, Json::object({{"config", nullptr}}));
  ASSERT_TRUE(log.ok()) << log.status().message();
  // Readers that open it after some records and read it after all.
  std::vector<std::ifstream> readers;
  for (int64_t i = 0; i < 40; ++i) {
    ASSERT_TRUE((*log)->addIteration(record(i)).ok());
    if (i % 3 == 0)
      readers.emplace_back((*log)->path()).rdbuf()->pubsetbuf(nullptr, 0);
  }
  for (size_t i = 0; i < readers.size(); ++i) {
    Json document = Json::parse(readers[i], nullptr, false);
    ASSERT_TRUE(document.is_object()) << i;
    EXPECT_EQ(document["training_iterations"].size(), 3 * i + 1);
  }
  ASSERT_TRUE((*log)->finish({{"exit_code", 0}}).ok());
  EXPECT_EQ(parse((*log)->path())["training_iterations"].size(), 40u);
  log->reset();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

TEST(RunLog, SameSecondGetsAnotherName) {
  TempFolder folder;
  auto first = RunLog::create(folder.path(), 1000, Json::object({{"config", nullptr}}));
  auto second = RunLog::create(folder.path(), 1000, Json::object({{"config", nullptr}}));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE((*first)->path(), (*second)->path());
}

TEST(RunLog, FolderThatCannotBeMade) {
  TempFolder folder;
  folder.write("file", "x");
  auto log = RunLog::create(folder.file("file"), 0, Json::object({{"config", nullptr}}));
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.status().message().find("--out_dir"), std::string::npos) << log.status().message();
}

TEST(RunLog, ValidWhenKilled) {
  // A child writes as fast as it can and is killed at some instant.
  for (int round = 0; round < 20; ++round) {
    TempFolder folder;
    pid_t child = ::fork();
    if (child == 0) {
      auto log = RunLog::create(folder.path(), 0, Json::object({{"config", nullptr}}));
      for (int64_t i = 0; log.ok() && (*log)->addIteration(record(i)).ok(); ++i) {
      }
      ::_exit(1);
    }
    std::string path;
    size_t seen = 0;
    for (int look = 0; look < 3 + round; ++look) {
      ::usleep(static_cast<useconds_t>(700 + 131 * round));
      for (const auto &entry : std::filesystem::directory_iterator(folder.path()))
        if (std::string name = entry.path().filename(); name[0] != '.' && entry.path().extension() == ".json")
          path = entry.path();
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    if (path.empty())
      continue; // killed before it began
    Json log = parse(path);
    ASSERT_TRUE(log.is_object()) << "round " << round;
    seen = log["training_iterations"].size();
    EXPECT_EQ(log["summary"]["total_iterations"], seen);
  }
}

// Records of a megabyte in all, so that the end copies in several pieces.
TEST(RunLog, EndKeepsWhatWasLoggedBefore) {
  TempFolder folder;
  Json metadata = {{"plan", {{"buffers", {{{"name", "a"}}, {{"name", "b"}}}}}}, {"exit_code", nullptr}};
  auto log = RunLog::create(folder.path(), 0, {{"config", nullptr}, {"metadata", metadata}});
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(parse((*log)->path())["metadata"], metadata);
  for (int64_t i = 0; i < 5000; ++i)
    ASSERT_TRUE((*log)->addIteration(record(i)).ok());
  ASSERT_TRUE((*log)->finish({{"exit_code", 143}, {"error", std::string(1000, 'e')}}).ok());
  Json end = parse((*log)->path());
  ASSERT_EQ(end["training_iterations"].size(), 5000u);
  for (int64_t i = 0; i < 5000; ++i)
    ASSERT_EQ(end["training_iterations"][static_cast<size_t>(i)], record(i));
  EXPECT_EQ(end["metadata"]["exit_code"], 143);
  EXPECT_EQ(end["metadata"]["plan"], metadata["plan"]);
}

TEST(RunLog, ValidWhenKilledAtTheEnd) {
  // A child begins and ends one log after the other until it is killed.
  for (int round = 0; round < 10; ++round) {
    TempFolder folder;
    pid_t child = ::fork();
    if (child == 0) {
      const Json padding = std::string(100000, 'x');
      for (int n = 0; n < 90; ++n) {
        auto log = RunLog::create(folder.path(), 0, Json::object({{"config", padding}}));
        if (!log.ok() || !(*log)->addIteration(record(n)).ok() || !(*log)->finish({{"exit_code", 0}}).ok())
          break;
      }
      ::_exit(1);
    }
    ::usleep(static_cast<useconds_t>(3000 + 1717 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (const auto &entry : std::filesystem::directory_iterator(folder.path()))
      if (std::string name = entry.path().filename(); name[0] != '.' && entry.path().extension() == ".json")
        ASSERT_TRUE(parse(entry.path()).is_object()) << name;
  }
}
