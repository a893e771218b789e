//===- CheckpointTest.cpp - Nothing is lost, whatever fails ----------------===//
#include "checkpoint/checkpoint.h"
#include "checkpoint/folder_lock.h"

#include "TempFolder.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <random>

using namespace txc;
namespace fs = std::filesystem;

static std::string readAll(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

static void writeAll(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Weights of 40 x 60 and 9 elements, all of value `value`, and their moments.
struct State {
  explicit State(float value, uint64_t sequence) : matrix(2400, value), vector(9, value + 1) {
    content.sequence = sequence;
    content.iteration = static_cast<int64_t>(sequence) * 10;
    content.manifest = {{"run", "run_a"}, {"config", {{"run", {{"seed", 1}}}}}};
    content.model = {piece("w", {40, 60}, matrix), piece("b", {9}, vector)};
    for (const char *moment : {".moment1", ".moment2"}) {
      content.optimizer.push_back(piece(std::string("w") + moment, {40, 60}, matrix));
      content.optimizer.push_back(piece(std::string("b") + moment, {9}, vector));
    }
  }
  static TensorPiece piece(const std::string &name, std::vector<uint64_t> shape, const std::vector<float> &data) {
    return {name, std::move(shape), 0, data.size(), reinterpret_cast<const char *>(data.data())};
  }
  std::vector<float> matrix, vector;
  CheckpointContent content;
};

static float newestValue(const CheckpointFolder &folder) {
  std::vector<std::string> problems;
  std::set<std::string> bad;
  Result<Checkpoint> checkpoint = folder.openNewest(problems, bad);
  if (!checkpoint.ok())
    return -1;
  std::vector<float> values(2400);
  EXPECT_TRUE(checkpoint->read("w", 0, 2400, values.data()).ok());
  for (float value : values)
    EXPECT_EQ(value, values[0]);
  return values[0];
}

TEST(Checkpoint, NewestFirstAndPruned) {
  TempFolder temp;
  CheckpointFolder folder(temp.file("checkpoints"));
  for (uint64_t i = 1; i <= 4; ++i)
    ASSERT_TRUE(folder.write(State(float(i), i).content).ok());
  State other(9, 5);
  other.content.manifest["run"] = "run_b";
  ASSERT_TRUE(folder.write(other.content).ok());
  EXPECT_EQ(newestValue(folder), 9);
  ASSERT_TRUE(folder.prune("run_a", 2, {}).ok());
  auto scan = folder.scan();
  ASSERT_EQ(scan.valid.size(), 3u);
  EXPECT_EQ(scan.valid[0].manifest["run"], "run_b");
  EXPECT_EQ(scan.valid[1].sequence(), 4u);
  EXPECT_EQ(scan.valid[2].sequence(), 3u);
  EXPECT_EQ(scan.nextSequence, 6u);
}

TEST(Checkpoint, NoneSaysHowToStart) {
  TempFolder temp;
  std::vector<std::string> problems;
  std::set<std::string> bad;
  Result<Checkpoint> none = CheckpointFolder(temp.file("checkpoints")).openNewest(problems, bad);
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.status().message().find("--init_from=scratch"), std::string::npos);
}

// Each damage to the newest is found, and the one before it is used.
TEST(Checkpoint, EveryDamageIsFound) {
  TempFolder temp;
  CheckpointFolder folder(temp.file("checkpoints"));
  ASSERT_TRUE(folder.write(State(1, 1).content).ok());
  Result<WrittenCheckpoint> newest = folder.write(State(2, 2).content);
  ASSERT_TRUE(newest.ok());
  std::mt19937_64 random(1);
  int damages = 0;
  for (const char *name : {"model.safetensors", "optimizer.safetensors", "manifest.json"}) {
    const std::string path = newest->path + "/" + name, whole = readAll(path);
    auto damaged = [&](const std::string &bytes) {
      writeAll(path, bytes);
      ++damages;
      EXPECT_EQ(newestValue(folder), 1) << name;
    };
    uint64_t header = whole.size();
    if (whole[0] != '{')
      header = 8 + uint64_t(uint8_t(whole[0])) + (uint64_t(uint8_t(whole[1])) << 8);
    for (uint64_t i = 0; i < std::min<uint64_t>(header, whole.size()); ++i) {
      std::string bytes = whole;
      bytes[i] = char(~bytes[i]);
      damaged(bytes);
    }
    for (int i = 0; i < 700; ++i) {
      std::string bytes = whole;
      const uint64_t bit = random() % (8 * whole.size());
      bytes[bit / 8] = char(bytes[bit / 8] ^ (1 << bit % 8));
      damaged(bytes);
    }
    for (uint64_t size = 0; size < whole.size(); size += 4096)
      damaged(whole.substr(0, size));
    damaged(whole + '\0');
    fs::remove(path);
    EXPECT_EQ(newestValue(folder), 1) << name;
    writeAll(path, whole);
    EXPECT_EQ(newestValue(folder), 2) << name;
  }
  EXPECT_GT(damages, 2500);
}

TEST(Checkpoint, TheMessageSaysWhatIsWrong) {
  TempFolder temp;
  CheckpointFolder folder(temp.file("checkpoints"));
  ASSERT_TRUE(folder.write(State(1, 1).content).ok());
  Result<WrittenCheckpoint> newest = folder.write(State(2, 2).content);
  std::string path = newest->path + "/model.safetensors", bytes = readAll(path);
  bytes.back() = char(bytes.back() ^ 1);
  writeAll(path, bytes);
  std::vector<std::string> problems;
  std::set<std::string> bad;
  ASSERT_TRUE(folder.openNewest(problems, bad).ok());
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find(path + ": it is damaged: its SHA-256 is not the manifest's"), std::string::npos);
  EXPECT_EQ(bad, std::set<std::string>{newest->path});
}

TEST(Checkpoint, AManifestReachesNoFileOutside) {
  for (const char *name : {"../x", "/etc/passwd", ".", "", "a/b"}) {
    nlohmann::ordered_json manifest = {{"version", 1}, {"sequence", 1}, {"iteration", 1}, {"run", "r"},
                                       {"config", nlohmann::ordered_json::object()},
                                       {"files", {{{"name", name}, {"bytes", 1}, {"sha256", ""}}}}};
    EXPECT_FALSE(openManifest(sealManifest(manifest), "m").ok()) << name;
  }
}

namespace {
// Fails the call of number `failing`, and for write() those after it.
struct FailingFiles : FileOperations {
  int failing = 0, calls = 0, error = 0;
  bool shortWrites = false;
  bool fails() { return ++calls == failing; }
  int makeFolder(const std::string &path) override { return fails() ? -error : FileOperations::makeFolder(path); }
  int create(const std::string &path) override { return fails() ? -error : FileOperations::create(path); }
  ssize_t write(int file, const void *data, size_t bytes) override {
    return fails() ? -error : FileOperations::write(file, data, shortWrites ? std::min<size_t>(bytes, 1000) : bytes);
  }
  int flush(int file) override { return fails() ? -error : FileOperations::flush(file); }
  int close(int file) override {
    const bool failed = fails();
    const int result = FileOperations::close(file);
    return failed ? -error : result;
  }
  int flushFolder(const std::string &path) override { return fails() ? -error : FileOperations::flushFolder(path); }
  int rename(const std::string &from, const std::string &to) override {
    return fails() ? -error : FileOperations::rename(from, to);
  }
};
} // namespace

// Whatever call fails and however: the message names a file and the system's reason,
// the older checkpoint is as it was, and the next save works.
TEST(Checkpoint, EveryCallMayFail) {
  for (int error : {ENOSPC, EIO, EROFS, EDQUOT}) {
    TempFolder temp;
    FailingFiles files;
    files.error = error;
    files.shortWrites = true;
    CheckpointFolder folder(temp.file("checkpoints"), files);
    ASSERT_TRUE(folder.write(State(1, 1).content).ok());
    files.calls = 0;
    ASSERT_TRUE(folder.write(State(2, 2).content).ok());
    const int calls = files.calls;
    EXPECT_GT(calls, 40);
    fs::remove_all(temp.file("checkpoints/000002-iter-20"));
    for (int i = 1; i <= calls; ++i) {
      files.calls = 0;
      files.failing = i;
      Result<WrittenCheckpoint> written = folder.write(State(2, 2).content);
      ASSERT_FALSE(written.ok()) << i;
      EXPECT_NE(written.status().message().find(std::strerror(error)), std::string::npos);
      EXPECT_NE(written.status().message().find(temp.file("checkpoints")), std::string::npos);
      files.failing = 0;
      // When only the last flush fails, the new one is there, and whole.
      EXPECT_EQ(newestValue(folder), i == calls ? 2 : 1) << i;
      fs::remove_all(temp.file("checkpoints/000002-iter-20"));
      for (const auto &entry : fs::directory_iterator(temp.file("checkpoints")))
        EXPECT_EQ(entry.path().filename(), "000001-iter-10") << i;
    }
    EXPECT_TRUE(folder.write(State(3, 3).content).ok());
    EXPECT_EQ(newestValue(folder), 3);
  }
}

TEST(Checkpoint, LeftoversOfAKilledRunAreRemoved) {
  TempFolder temp;
  CheckpointFolder folder(temp.file("checkpoints"));
  ASSERT_TRUE(folder.write(State(1, 1).content).ok());
  fs::create_directories(temp.file("checkpoints/.incomplete-000002-iter-20"));
  writeAll(temp.file("checkpoints/.incomplete-000002-iter-20/model.safetensors"), "half");
  EXPECT_EQ(newestValue(folder), 1);
  folder.removeLeftovers();
  EXPECT_FALSE(fs::exists(temp.file("checkpoints/.incomplete-000002-iter-20")));
  EXPECT_EQ(newestValue(folder), 1);
}

// Four ranks write shards; any range is read back from them.
TEST(Checkpoint, ShardsOfSeveralRanks) {
  TempFolder temp;
  CheckpointFolder folder(temp.file("checkpoints"));
  std::vector<float> whole(2400);
  for (size_t i = 0; i < whole.size(); ++i)
    whole[i] = float(i);
  const uint64_t size = 640; // the last shard is shorter
  for (int64_t rank : {3, 2, 1, 0}) {
    CheckpointContent content;
    content.sequence = 1;
    content.iteration = 7;
    content.rank = rank;
    content.numRanks = 4;
    content.manifest = {{"run", "run_a"}, {"config", nlohmann::ordered_json::object()}};
    const uint64_t begin = uint64_t(rank) * size, end = std::min<uint64_t>(begin + size, whole.size());
    content.model = {{"w", {40, 60}, begin, end, reinterpret_cast<const char *>(&whole[begin])}};
    Result<WrittenCheckpoint> written = folder.write(content, 5);
    ASSERT_TRUE(written.ok()) << written.status().message();
  }
  std::vector<std::string> problems;
  std::set<std::string> bad;
  Result<Checkpoint> checkpoint = folder.openNewest(problems, bad);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->model().at("w"), (std::vector<uint64_t>{40, 60}));
  for (uint64_t ranks : {1, 2, 3, 8}) {
    const uint64_t part = (whole.size() + ranks - 1) / ranks;
    for (uint64_t begin = 0; begin < whole.size(); begin += part) {
      std::vector<float> values(std::min(part, whole.size() - begin));
      ASSERT_TRUE(checkpoint->read("w", begin, values.size(), values.data()).ok());
      EXPECT_TRUE(std::equal(values.begin(), values.end(), whole.begin() + static_cast<int64_t>(begin)));
    }
  }
  float value;
  EXPECT_FALSE(checkpoint->read("w", 2400, 1, &value).ok());
  EXPECT_FALSE(checkpoint->read("v", 0, 1, &value).ok());
}

TEST(Checkpoint, AMissingRankIsNamed) {
  TempFolder temp;
  CheckpointFolder folder(temp.file("checkpoints"));
  State state(1, 1);
  state.content.numRanks = 2;
  Result<WrittenCheckpoint> written = folder.write(state.content, 0.1);
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.status().message().find("rank 1 of 2"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(temp.file("checkpoints")));
}

TEST(Checkpoint, ARankThatFailsTellsRankZero) {
  TempFolder temp;
  FailingFiles files;
  files.error = ENOSPC;
  State theirs(1, 1), own(1, 1);
  theirs.content.rank = 1;
  theirs.content.numRanks = own.content.numRanks = 2;
  files.failing = 4; // its first file, not the folders
  CheckpointFolder theirFolder(temp.file("checkpoints"), files);
  ASSERT_FALSE(theirFolder.write(theirs.content).ok());
  CheckpointFolder folder(temp.file("checkpoints"));
  Result<WrittenCheckpoint> written = folder.write(own.content, 600); // it does not wait so long
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.status().message().find("rank 1 of 2: "), std::string::npos) << written.status().message();
  EXPECT_NE(written.status().message().find(std::strerror(ENOSPC)), std::string::npos);
  EXPECT_TRUE(fs::is_empty(temp.file("checkpoints")));
}

TEST(FolderLock, TheSecondIsTurnedAwayByName) {
  TempFolder temp;
  auto first = FolderLock::take(temp.file("out"));
  ASSERT_TRUE(first.ok()) << first.status().message();
  auto second = FolderLock::take(temp.file("out"));
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find("process " + std::to_string(::getpid()) + " on "), std::string::npos);
  first->reset();
  EXPECT_TRUE(FolderLock::take(temp.file("out")).ok());
}

static Result<SafetensorsHeader> parsed(const std::string &json, uint64_t dataBytes) {
  std::string text(8, '\0');
  for (int i = 0; i < 8; ++i)
    text[size_t(i)] = char(uint64_t(json.size()) >> (8 * i));
  text += json;
  return parseSafetensors(text, text.size() + dataBytes, "f");
}

TEST(Safetensors, RefusesWhatIsNotSound) {
  const std::string f4 = R"("dtype":"F32","shape":[1])";
  EXPECT_TRUE(parsed("{\"a\":{" + f4 + ",\"data_offsets\":[0,4]}}", 4).ok());
  EXPECT_TRUE(parsed("{}", 0).ok());
  const std::pair<std::string, std::string> cases[] = {
      {"[]", "no JSON object"},
      {"{\"a\":{" + f4 + ",\"data_offsets\":[0,4]},\"a\":{" + f4 + ",\"data_offsets\":[0,4]}}", "'a' twice"},
      {"{\"a\":{" + f4 + ",\"data_offsets\":[0,8]}}", "not within"},
      {"{\"a\":{" + f4 + ",\"data_offsets\":[4,0]}}", "not within"},
      {"{\"a\":{" + f4 + ",\"data_offsets\":[0,3]}}", "3 bytes, its dtype and shape need 4"},
      {"{\"a\":{" + f4 + ",\"data_offsets\":[-4,0]}}", "not within"},
      {R"({"a":{"dtype":"X","shape":[1],"data_offsets":[0,4]}})", "unknown dtype 'X'"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "more elements"},
      {R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", "no list of sizes"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", "not described"},
      {R"({"__metadata__":{"x":1}})", "no text"},
      {"{}", "its tensors have 0"},
  };
  for (const auto &[json, message] : cases) {
    auto result = parsed(json, 4);
    ASSERT_FALSE(result.ok()) << json;
    EXPECT_NE(result.status().message().find(message), std::string::npos) << result.status().message();
  }
  std::string huge(8, '\xff');
  EXPECT_FALSE(parseSafetensors(huge + "{}", 10, "f").ok());
  EXPECT_FALSE(parseSafetensors("", 0, "f").ok());
}
