//===- DatasetTest.cpp - Opening token files and sampling batches -----------===//
#include "data/dataset.h"

#include "TempFolder.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

using namespace txc;
using namespace txc::data;

namespace {

std::vector<uint16_t> counting(size_t count, uint16_t modulus = 65535) {
  std::vector<uint16_t> out(count);
  for (size_t i = 0; i < count; ++i)
    out[i] = static_cast<uint16_t>(i % modulus);
  return out;
}

std::string llmc(const std::vector<uint16_t> &tokens, int32_t magic = 20240520, int32_t version = 1,
                 int32_t count = -1) {
  std::vector<int32_t> header(256);
  header[0] = magic, header[1] = version, header[2] = count < 0 ? int32_t(tokens.size()) : count;
  return TempFolder::bytesOf(header) + TempFolder::bytesOf(tokens);
}

// A folder with 100 and 20 uint16 tokens below 50, and a sidecar.
struct Folder : TempFolder {
  explicit Folder(const std::string &sidecar = R"({"dtype": "uint16", "vocab_size": 50})") {
    writeNumbers("train.bin", counting(100, 50));
    writeNumbers("val.bin", counting(20, 50));
    if (!sidecar.empty())
      write("meta.json", sidecar);
  }
};

std::string openError(const TempFolder &folder, OpenOptions options = {}) {
  Result<TokenDataset> dataset = TokenDataset::open(folder.path(), options);
  return dataset.ok() ? "opened" : dataset.status().message();
}

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

} // namespace

//===-- What opens ---------------------------------------------------------===//

static int32_t tokenOf(const TokenSplit &split, uint64_t index) {
  int32_t token = -1;
  Status status = split.read(index, 1, &token);
  EXPECT_TRUE(status.ok()) << status.message();
  return token;
}

TEST(Dataset, RawUint16) {
  Folder folder(R"({"dtype": "uint16", "vocab_size": 50, "tokenizer": {"kind": "char", "characters": "x"}})");
  Result<TokenDataset> dataset = TokenDataset::open(folder.path(), {});
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(dataset->train().size(), 100u);
  EXPECT_EQ(dataset->val().size(), 20u);
  EXPECT_EQ(dataset->vocabSize(), 50u);
  EXPECT_EQ(dataset->tokenizerName(), "char");
  EXPECT_EQ(dataset->directory(), folder.path());
  EXPECT_EQ(tokenOf(dataset->train(), 73), 23);
  int32_t copied[3];
  ASSERT_TRUE(dataset->train().read(48, 3, copied).ok());
  EXPECT_EQ(copied[0], 48);
  EXPECT_EQ(copied[2], 0);
}

TEST(Dataset, RawUint32) {
  TempFolder folder;
  folder.writeNumbers<uint32_t>("train.bin", {1, 2, 151668});
  folder.writeNumbers<uint32_t>("val.bin", {70000, 3});
  folder.write("meta.json", R"({"dtype": "uint32", "vocab_size": 151669})");
  Result<TokenDataset> dataset = TokenDataset::open(folder.path(), {});
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(tokenOf(dataset->train(), 2), 151668);
  EXPECT_EQ(tokenOf(dataset->val(), 0), 70000);
}

TEST(Dataset, LlmcUnderItsOwnNames) {
  TempFolder folder;
  folder.write("tiny_shakespeare_train.bin", llmc({5, 6, 7, 50256}));
  folder.write("tiny_shakespeare_val.bin", llmc({8, 9}));
  OpenOptions options;
  options.vocabSize = 50257;
  Result<TokenDataset> dataset = TokenDataset::open(folder.path(), options);
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(dataset->train().size(), 4u);
  EXPECT_EQ(tokenOf(dataset->train(), 3), 50256);
  EXPECT_EQ(tokenOf(dataset->val(), 0), 8);
}

TEST(Dataset, OptionsStandInForASidecar) {
  Folder folder("");
  OpenOptions options;
  options.dtype = "uint16";
  options.vocabSize = 50;
  EXPECT_EQ(openError(folder, options), "opened");
}

TEST(Dataset, SearchOrder) {
  TempFolder root;
  for (std::string place : {"a", "b", "cache/txc/datasets"}) {
    root.writeNumbers(place + "/set/train.bin", counting(10, 50));
    root.writeNumbers(place + "/set/val.bin", counting(10, 50));
    root.write(place + "/set/meta.json", R"({"dtype": "uint16", "vocab_size": 50})");
  }
  ScopedVariable cache("XDG_CACHE_HOME", root.file("cache").c_str());
  {
    ScopedVariable data("TXC_DATA_DIR", root.file("b").c_str());
    OpenOptions options;
    options.searchPath = {root.file("a")};
    EXPECT_EQ(TokenDataset::open("set", options)->directory(), root.file("a/set"));
    EXPECT_EQ(TokenDataset::open("set", {})->directory(), root.file("b/set"));
  }
  ScopedVariable data("TXC_DATA_DIR", nullptr);
  EXPECT_EQ(TokenDataset::open("set", {})->directory(), root.file("cache/txc/datasets/set"));
}

//===-- What does not ------------------------------------------------------===//

TEST(DatasetError, NotFoundSaysWhereAndHow) {
  ScopedVariable data("TXC_DATA_DIR", "/somewhere");
  Result<TokenDataset> dataset = TokenDataset::open("shakespeare_char", {});
  ASSERT_FALSE(dataset.ok());
  std::string message = dataset.status().message();
  EXPECT_EQ(dataset.status().code(), Code::Failed);
  EXPECT_MENTIONS(message, "/somewhere/shakespeare_char");
  EXPECT_MENTIONS(message, "data/shakespeare_char");
  EXPECT_MENTIONS(message, "`txdata prepare shakespeare_char`");
}

TEST(DatasetError, AFileIsNotAFolder) {
  Folder folder;
  Result<TokenDataset> dataset = TokenDataset::open(folder.file("train.bin"), {});
  ASSERT_FALSE(dataset.ok());
  EXPECT_MENTIONS(dataset.status().message(), "expected the folder of a data set, found a file");
}

TEST(DatasetError, MissingSplit) {
  Folder folder;
  std::filesystem::remove(folder.file("val.bin"));
  EXPECT_MENTIONS(openError(folder), "val.bin: missing");
  folder.write("a_val.bin", "xx");
  folder.write("b_val.bin", "xx");
  EXPECT_MENTIONS(openError(folder), "could both stand for it");
}

TEST(DatasetError, DtypeIsNeverGuessed) {
  Folder folder("");
  EXPECT_MENTIONS(openError(folder), "never guessed");
  EXPECT_MENTIONS(openError(folder), "txdata describe");
  OpenOptions options;
  options.dtype = "uint16";
  EXPECT_MENTIONS(openError(folder, options), "never guessed");
}

TEST(DatasetError, OptionsContradictTheSidecar) {
  Folder folder;
  OpenOptions options;
  options.dtype = "uint32";
  EXPECT_MENTIONS(openError(folder, options), "dtype uint16 contradicts the given dtype uint32");
  options.dtype = "";
  options.vocabSize = 51;
  EXPECT_MENTIONS(openError(folder, options), "vocab_size 50 contradicts the given vocabulary of 51");
  options.dtype = "float";
  EXPECT_MENTIONS(openError(folder, options), "expected uint16 or uint32, found float");
}

TEST(DatasetError, OddLength) {
  Folder folder;
  folder.write("val.bin", folder.read("val.bin") + "x");
  EXPECT_MENTIONS(openError(folder), "val.bin: byte 40: the last token is cut");
}

TEST(DatasetError, EmptyFile) {
  Folder folder;
  folder.write("train.bin", "");
  EXPECT_MENTIONS(openError(folder), "train.bin: byte 0: empty");
}

TEST(DatasetError, TokenBeyondTheVocabulary) {
  Folder folder;
  // More than one piece of the scan, in the last.
  std::vector<uint16_t> tokens(3000000, 1);
  tokens[2999990] = 50;
  folder.writeNumbers("train.bin", tokens);
  EXPECT_MENTIONS(openError(folder), "train.bin: byte 5999980: token 50 (number 2999990)");
}

TEST(DatasetError, CountContradictsTheSidecar) {
  Folder folder(R"({"dtype": "uint16", "vocab_size": 50,
    "splits": {"train": {"file": "train.bin", "tokens": 90}, "val": {"file": "val.bin", "tokens": 20}}})");
  std::string message = openError(folder);
  EXPECT_MENTIONS(message, "train.bin: byte 180: the file holds 100 uint16 tokens");
  EXPECT_MENTIONS(message, "says 90");
}

TEST(DatasetError, LlmcHeaders) {
  TempFolder folder;
  OpenOptions options;
  options.vocabSize = 50257;
  folder.write("val.bin", llmc({8, 9}));
  folder.write("train.bin", llmc({8, 9}).substr(0, 1000));
  EXPECT_MENTIONS(openError(folder, options), "train.bin: byte 1000: llm.c's header is truncated");
  folder.write("train.bin", llmc({8, 9}, 20240520, 2));
  EXPECT_MENTIONS(openError(folder, options), "train.bin: byte 4: llm.c's format version 2; expected 1");
  folder.write("train.bin", llmc({8, 9}, 20240520, 1, 3));
  EXPECT_MENTIONS(openError(folder, options),
                  "train.bin: byte 8: the header says 3 uint16 tokens, the file holds 2");
  folder.write("train.bin", llmc({8, 50257}));
  EXPECT_MENTIONS(openError(folder, options), "train.bin: byte 1026: token 50257 (number 1)");
  options.dtype = "uint32";
  EXPECT_MENTIONS(openError(folder, options), "contradicts dtype uint32");
  folder.write("meta.json", R"({"format": "llm.c", "dtype": "uint16", "vocab_size": 50257})");
  folder.write("train.bin", "abcdefgh");
  EXPECT_MENTIONS(openError(folder), "train.bin: byte 0: the sidecar says format llm.c");
}

TEST(DatasetError, Sidecars) {
  auto with = [](const std::string &sidecar) { return openError(Folder(sidecar)); };
  EXPECT_MENTIONS(with("{\"dtype\": "), "meta.json: not valid JSON at line 1, column 11");
  EXPECT_MENTIONS(with("[1]"), "expected an object, found [1]");
  EXPECT_MENTIONS(with("{}"), "lacks `dtype`");
  EXPECT_MENTIONS(with(R"({"dtype": "uint16"})"), "lacks `vocab_size`");
  EXPECT_MENTIONS(with(R"({"dtype": "int8", "vocab_size": 50})"),
                  "expected \"uint16\" or \"uint32\", found \"int8\"");
  EXPECT_MENTIONS(with(R"({"dtype": "uint16", "vocab_size": -1})"), "`vocab_size`: expected a whole number");
  EXPECT_MENTIONS(with(R"({"dtype": "uint16", "vocab_size": 5e1})"), "`vocab_size`: expected a whole number");
  EXPECT_MENTIONS(with(R"({"dtype": "uint16", "vocab_size": 50, "version": 2})"), "`version`");
  EXPECT_MENTIONS(with(R"({"dtype": "uint16", "vocab_size": 50, "splits": 3})"),
                  "splits: expected an object");
  EXPECT_MENTIONS(with(R"({"dtype": "uint16", "vocab_size": 50, "splits":
    {"train": {"file": "../x", "tokens": 1}, "val": {"file": "val.bin", "tokens": 1}}})"),
                  "same folder");
  EXPECT_MENTIONS(with(std::string(100000, '[')), "meta.json: not valid JSON");
  EXPECT_MENTIONS(with(std::string(100000, '[') + std::string(100000, ']')), "nested deeper");
}

TEST(DatasetError, ASidecarNamesFilesOfItsFolderOnly) {
  TempFolder outside;
  outside.writeNumbers("secret.bin", counting(100, 50));
  Folder folder;
  const std::string up = "../" + std::filesystem::path(outside.path()).filename().string() + "/secret.bin";
  for (const std::string &name : {up, outside.file("secret.bin"), std::string(".."), std::string("."),
                                  std::string("./train.bin"), std::string("train.bin\\u0000x")}) {
    folder.write("meta.json", R"({"dtype": "uint16", "vocab_size": 50, "splits": {"train": {"file": ")" +
                                  name + R"(", "tokens": 100}, "val": {"file": "val.bin", "tokens": 20}}})");
    EXPECT_MENTIONS(openError(folder),
                    "splits.train: `file`: expected the name of a file in the same folder");
  }
}

TEST(DatasetError, CountsThatOverflow) {
  auto withTokens = [](const std::string &tokens) {
    return openError(Folder(R"({"dtype": "uint16", "vocab_size": 50, "splits": {"train": {"file": "train.bin",
      "tokens": )" + tokens +
                            R"(}, "val": {"file": "val.bin", "tokens": 20}}})"));
  };
  // Times two these are 0, 200 modulo 2^64, and too large for a number.
  EXPECT_MENTIONS(withTokens("9223372036854775808"), "train.bin: byte 200: the file holds 100 uint16 tokens");
  EXPECT_MENTIONS(withTokens("9223372036854775908"), "train.bin: byte 200: the file holds 100 uint16 tokens");
  EXPECT_MENTIONS(withTokens("18446744073709551616"), "`tokens`: expected a whole number");
  TempFolder folder;
  OpenOptions options;
  options.vocabSize = 50;
  folder.write("val.bin", llmc({8, 9}));
  folder.write("train.bin", llmc({8, 9}, 20240520, 1, INT32_MAX));
  EXPECT_MENTIONS(openError(folder, options), "the header says 2147483647 uint16 tokens, the file holds 2");
}

// Links are followed, as for any file that a user names; what they lead to is
// checked like anything else.
TEST(Dataset, Links) {
  Folder folder;
  TempFolder links;
  std::filesystem::create_symlink(folder.path(), links.file("whole"));
  OpenOptions options;
  options.searchPath = {links.path()};
  Result<TokenDataset> dataset = TokenDataset::open("whole", options);
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(dataset->train().size(), 100u);

  std::filesystem::remove(folder.file("train.bin"));
  std::filesystem::create_symlink("/dev/zero", folder.file("train.bin"));
  EXPECT_MENTIONS(openError(folder), "train.bin: missing");
  std::filesystem::remove(folder.file("train.bin"));
  std::filesystem::create_symlink("train.bin", folder.file("train.bin"));
  EXPECT_MENTIONS(openError(folder), "train.bin: missing");
}

TEST(DatasetError, ModelDoesNotFit) {
  Folder folder;
  Result<TokenDataset> dataset = TokenDataset::open(folder.path(), {});
  ASSERT_TRUE(dataset.ok());
  EXPECT_TRUE(checkFits(*dataset, 50, 19).ok());
  EXPECT_TRUE(checkFits(*dataset, 50304, 19).ok());
  EXPECT_MENTIONS(checkFits(*dataset, 49, 19).message(), "a vocabulary of 50 tokens; the model has 49");
  EXPECT_MENTIONS(checkFits(*dataset, 50, 20).message(), "val.bin: ends at byte 40 after 20 tokens");
  EXPECT_MENTIONS(checkFits(*dataset, 50, 20).message(), "needs at least 21");
}

//===-- Batches ------------------------------------------------------------===//

class Batches : public ::testing::Test {
protected:
  void SetUp() override {
    folder_.writeNumbers("train.bin", counting(1000));
    folder_.writeNumbers("val.bin", counting(6));
    folder_.write("meta.json", R"({"dtype": "uint16", "vocab_size": 1000})");
    dataset_ = std::make_unique<TokenDataset>(*TokenDataset::open(folder_.path(), {}));
  }
  std::vector<int32_t> sample(const TokenSplit &split, uint64_t seed, uint64_t stream, uint64_t step,
                              int64_t batch, int64_t block) {
    std::vector<int32_t> tokens(batch * block), targets(batch * block);
    Status status = sampleBatch(split, seed, stream, step, batch, block, tokens.data(), targets.data());
    EXPECT_TRUE(status.ok()) << status.message();
    for (int64_t i = 0; i < batch * block; ++i)
      EXPECT_EQ(targets[i], tokens[i] + 1);
    for (int64_t i = 0; i < batch * block; ++i)
      EXPECT_EQ(tokens[i], tokens[i / block * block] + i % block);
    return tokens;
  }
  TempFolder folder_;
  std::unique_ptr<TokenDataset> dataset_;
};

TEST_F(Batches, AreAFunctionOfSeedStreamStepAndRow) {
  auto base = sample(dataset_->train(), 1, 2, 3, 4, 16);
  EXPECT_EQ(base, sample(dataset_->train(), 1, 2, 3, 4, 16));
  EXPECT_NE(base, sample(dataset_->train(), 2, 2, 3, 4, 16));
  EXPECT_NE(base, sample(dataset_->train(), 1, 3, 3, 4, 16));
  EXPECT_NE(base, sample(dataset_->train(), 1, 2, 4, 4, 16));
  EXPECT_NE(base, sample(dataset_->train(), 1, 2, 3 + (uint64_t(1) << 32), 4, 16));
  // More rows leave the first ones as they are.
  auto more = sample(dataset_->train(), 1, 2, 3, 8, 16);
  more.resize(base.size());
  EXPECT_EQ(base, more);
}

// Changes here change every run of every user: the numbers are part of the format.
TEST_F(Batches, StartWhereTheyAlwaysDid) {
  std::vector<int32_t> starts = sample(dataset_->train(), 1337, 0, 0, 6, 1);
  EXPECT_EQ(starts, (std::vector<int32_t>{548, 978, 534, 480, 678, 730}));
}

TEST_F(Batches, ReachEveryPlaceEquallyOften) {
  // 6 tokens, block 2: places 0 to 3.
  std::map<int32_t, int> seen;
  for (uint64_t step = 0; step < 1000; ++step)
    for (int row = 0; row < 4; ++row)
      ++seen[sample(dataset_->val(), 7, 1, step, 4, 2)[2 * row]];
  ASSERT_EQ(seen.size(), 4u);
  for (auto [place, count] : seen) {
    EXPECT_LT(place, 4);
    // Mean 1000, standard deviation 27.
    EXPECT_NEAR(count, 1000, 140);
  }
}

TEST_F(Batches, TakeTheWholeSplitIfItJustFits) {
  EXPECT_EQ(sample(dataset_->val(), 7, 1, 0, 1, 5), (std::vector<int32_t>{0, 1, 2, 3, 4}));
}

//===-- Files that change while they are used ------------------------------===//

// Cut off, or written over: an error that names the file, whatever its size and width.
TEST(DatasetError, AFileChangesUnderTheReader) {
  for (const char *dtype : {"uint16", "uint32"}) {
    TempFolder folder;
    const uint64_t width = dtype == std::string("uint16") ? 2 : 4;
    std::string tokens(30000 * width, '\0');
    folder.write("train.bin", tokens);
    folder.write("val.bin", tokens);
    folder.write("meta.json", R"({"dtype": ")" + std::string(dtype) + R"(", "vocab_size": 7})");
    auto dataset = TokenDataset::open(folder.path(), {});
    ASSERT_TRUE(dataset.ok()) << dataset.status().message();
    std::vector<int32_t> read(8000, -1);
    ASSERT_TRUE(dataset->train().read(0, read.size(), read.data()).ok());
    // Its name may go: the file itself does not while it is open.
    std::filesystem::remove(folder.path() + "/val.bin");
    EXPECT_TRUE(dataset->val().read(22000, read.size(), read.data()).ok());

    std::filesystem::resize_file(folder.path() + "/train.bin", 8001 * width + 1);
    EXPECT_TRUE(dataset->train().read(0, read.size(), read.data()).ok());
    Status status = dataset->train().read(8000, read.size(), read.data());
    EXPECT_EQ(status.code(), Code::Failed);
    EXPECT_MENTIONS(status.message(), "train.bin: it ends at byte " + std::to_string(8001 * width + 1));
    EXPECT_MENTIONS(status.message(), "with " + std::to_string(30000 * width) + " bytes, when it was opened");
    EXPECT_MENTIONS(status.message(), "--init_from=resume");

    tokens[20 * width] = 7;
    folder.write("train.bin", tokens);
    status = dataset->train().read(10, 100, read.data());
    EXPECT_MENTIONS(status.message(), "train.bin: token 7 between byte " + std::to_string(10 * width));
    EXPECT_MENTIONS(status.message(), "all were below the vocabulary of 7");
  }
}
