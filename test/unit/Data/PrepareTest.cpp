//===- PrepareTest.cpp - Data sets made from texts --------------------------===//
#include "data/prepare.h"

#include "data/dataset.h"
#include "data/sources.h"
#include "support/sha256.h"

#include "TempFolder.h"
#include "TestData.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

using namespace txc;
using namespace txc::data;
namespace fs = std::filesystem;

namespace {

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

// A place with a text, no copies of public files, and no network.
class Prepare : public ::testing::Test {
protected:
  void SetUp() override {
    for (int i = 0; i < 400; ++i)
      text_ += "line " + std::to_string(i) + (i % 7 ? "\n" : " \u00e9t\u00e9\n");
    folder_.write("text.txt", text_);
  }
  PrepareOptions options(const std::string &tokenizer) {
    PrepareOptions options;
    options.what = folder_.file("text.txt");
    options.tokenizer = tokenizer;
    options.out = folder_.file("out");
    return options;
  }
  std::string error(const PrepareOptions &options) {
    Result<Prepared> prepared = prepare(options);
    return prepared.ok() ? "prepared" : prepared.status().message();
  }
  std::string decoded(const std::string &split) {
    Result<std::string> text = decodeTokens(folder_.file("out"), split, 0, UINT64_MAX, "");
    return text.ok() ? *text : text.status().message();
  }

  TempFolder folder_;
  std::string text_;
  ScopedVariable shakespeare_{"TXC_TINYSHAKESPEARE", nullptr};
  ScopedVariable bpe_{"TXC_GPT2_BPE_DIR", nullptr};
  ScopedVariable cache_{"XDG_CACHE_HOME", folder_.file("cache").c_str()};
  // curl is not found, as on a machine without it.
  ScopedVariable path_{"PATH", folder_.path().c_str()};
};

} // namespace

TEST_F(Prepare, EveryTokenizerGivesTheTextBack) {
  for (std::string tokenizer : {"char", "byte", "bpe"}) {
    SCOPED_TRACE(tokenizer);
    PrepareOptions with = options(tokenizer);
    if (tokenizer == "bpe")
      with.vocabSize = 280;
    Result<Prepared> prepared = prepare(with);
    ASSERT_TRUE(prepared.ok()) << prepared.status().message();
    EXPECT_FALSE(prepared->upToDate);
    EXPECT_EQ(decoded("train") + decoded("val"), text_);
    Result<TokenDataset> dataset = TokenDataset::open(folder_.file("out"), {});
    ASSERT_TRUE(dataset.ok()) << dataset.status().message();
    EXPECT_EQ(dataset->tokenizerName(), tokenizer);
    EXPECT_EQ(dataset->vocabSize(), prepared->sidecar.vocabSize);
    EXPECT_EQ(dataset->train().dtype(), "uint16");
    EXPECT_EQ(prepared->sidecar.train->sha256, sha256Hex(folder_.read("out/train.bin")));
    EXPECT_EQ(prepared->sidecar.source->sha256, sha256Hex(text_));
    // Nothing else is left beside the data set, or in it.
    int beside = 0, inside = 0;
    for ([[maybe_unused]] const auto &entry : fs::directory_iterator(folder_.path()))
      ++beside;
    for ([[maybe_unused]] const auto &entry : fs::directory_iterator(folder_.file("out")))
      ++inside;
    EXPECT_EQ(beside, 2);
    EXPECT_EQ(inside, 3);
  }
}

TEST_F(Prepare, SplitsByCharacters) {
  folder_.write("text.txt", std::string("\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9x"));
  ASSERT_EQ(error(options("char")), "prepared");
  EXPECT_EQ(decoded("val"), "x");
  PrepareOptions half = options("char");
  half.valFraction = 0.5;
  ASSERT_EQ(error(half), "prepared");
  EXPECT_EQ(decoded("train"), "\u00e9\u00e9\u00e9\u00e9\u00e9");
}

TEST_F(Prepare, TokensAreRawLittleEndian) {
  folder_.write("text.txt", "bacbacbacb");
  ASSERT_EQ(error(options("char")), "prepared");
  EXPECT_EQ(folder_.read("out/train.bin"), std::string("\1\0\0\0\2\0\1\0\0\0\2\0\1\0\0\0\2\0", 18));
  EXPECT_EQ(folder_.read("out/val.bin"), std::string("\1\0", 2));
}

TEST_F(Prepare, DoesNothingTheSecondTime) {
  ASSERT_EQ(error(options("char")), "prepared");
  EXPECT_TRUE(prepare(options("char"))->upToDate);
  PrepareOptions other = options("char");
  other.valFraction = 0.2;
  EXPECT_FALSE(prepare(other)->upToDate);
  EXPECT_TRUE(prepare(other)->upToDate);
  // Another tokenizer, another text, a changed file.
  EXPECT_FALSE(prepare(options("byte"))->upToDate);
  folder_.write("text.txt", text_ + "more");
  EXPECT_FALSE(prepare(options("byte"))->upToDate);
  std::string bytes = folder_.read("out/val.bin");
  bytes[0] ^= 1;
  folder_.write("out/val.bin", bytes);
  EXPECT_FALSE(prepare(options("byte"))->upToDate);
  EXPECT_TRUE(prepare(options("byte"))->upToDate);
}

TEST_F(Prepare, SameTextSameBytes) {
  PrepareOptions with = options("bpe");
  with.vocabSize = 290;
  ASSERT_EQ(error(with), "prepared");
  std::string meta = folder_.read("out/meta.json"), train = folder_.read("out/train.bin");
  fs::remove_all(folder_.file("out"));
  ASSERT_EQ(error(with), "prepared");
  EXPECT_EQ(folder_.read("out/meta.json"), meta);
  EXPECT_EQ(folder_.read("out/train.bin"), train);
}

TEST_F(Prepare, KeepsWhatIsNotItsOwn) {
  folder_.write("out/notes.md", "mine");
  EXPECT_MENTIONS(error(options("char")), "holds notes.md");
  EXPECT_EQ(folder_.read("out/notes.md"), "mine");
  fs::remove_all(folder_.file("out"));
  folder_.write("out/train.bin", "xx");
  EXPECT_MENTIONS(error(options("char")), "made by another program");
  fs::remove_all(folder_.file("out"));
  folder_.write("out", "a file");
  EXPECT_MENTIONS(error(options("char")), "a file is in the way");
}

TEST_F(Prepare, FailureLeavesTheOldDataSet) {
  ASSERT_EQ(error(options("char")), "prepared");
  std::string before = folder_.read("out/meta.json");
  folder_.write("text.txt", text_ + "\xff");
  EXPECT_MENTIONS(error(options("char")),
                  "text.txt: byte " + std::to_string(text_.size()) + ": 0xff is not valid UTF-8");
  EXPECT_EQ(folder_.read("out/meta.json"), before);
}

TEST_F(Prepare, RemovesWhatAKilledProcessLeft) {
  folder_.write("out.partial-12345/train.bin", "xx");
  ASSERT_EQ(error(options("char")), "prepared");
  EXPECT_FALSE(fs::exists(folder_.file("out.partial-12345")));
}

TEST_F(Prepare, Errors) {
  PrepareOptions bad = options("word");
  EXPECT_MENTIONS(error(bad), "--tokenizer=word: expected char, byte, gpt2 or bpe");
  EXPECT_EQ(prepare(bad).status().code(), Code::Usage);
  bad = options("char");
  bad.valFraction = 1;
  EXPECT_MENTIONS(error(bad), "--val_fraction: expected a number between 0 and 1");
  bad = options("char");
  bad.vocabSize = 1000;
  EXPECT_MENTIONS(error(bad), "--vocab_size is for --tokenizer=bpe");
  bad = options("char");
  bad.source = "x";
  EXPECT_MENTIONS(error(bad), "is already a file");
  bad = options("bpe");
  bad.vocabSize = 100000;
  EXPECT_MENTIONS(error(bad), "text.txt: the text has too few repeated pairs");
  bad = options("");
  bad.what = "shakespeare_chr";
  EXPECT_MENTIONS(error(bad), "did you mean shakespeare_char?");
  bad.what = folder_.path();
  EXPECT_MENTIONS(error(bad), "expected a text file, found a folder");
  bad = options("char");
  folder_.write("text.txt", "");
  EXPECT_MENTIONS(error(bad), "0 characters leave an empty split");
  folder_.write("text.txt", "x");
  EXPECT_MENTIONS(error(bad), "leave an empty split");
}

//===-- Named texts --------------------------------------------------------===//

TEST_F(Prepare, WithoutACopySaysWhatWasTried) {
  PrepareOptions named;
  named.what = "shakespeare_char";
  named.out = folder_.file("out");
  std::string message = error(named);
  EXPECT_MENTIONS(message, "--source: not given");
  EXPECT_MENTIONS(message, "TXC_TINYSHAKESPEARE: not set");
  EXPECT_MENTIONS(message, "cache/txc/tinyshakespeare/input.txt: not there");
  EXPECT_MENTIONS(message, "https://raw.githubusercontent.com/karpathy/char-rnn/");
  EXPECT_MENTIONS(message, "curl is not installed");
  EXPECT_MENTIONS(message, "--allow_fallback");
  EXPECT_FALSE(fs::exists(folder_.file("out")));
}

TEST_F(Prepare, FallsBackWhenAllowedAndSaysSo) {
  PrepareOptions named;
  named.what = "shakespeare_char";
  named.out = folder_.file("out");
  named.allowFallback = true;
  Result<Prepared> prepared = prepare(named);
  ASSERT_TRUE(prepared.ok()) << prepared.status().message();
  EXPECT_MENTIONS(prepared->warning, "not at hand");
  EXPECT_TRUE(prepared->sidecar.source->fallback);
  EXPECT_EQ(prepared->sidecar.source->name, "datasets/corpus.txt");
  EXPECT_EQ(decoded("train") + decoded("val"), std::string(builtInCorpus()));
  // GPT-2's files have no stand-in.
  named.tokenizer = "gpt2";
  EXPECT_MENTIONS(error(named), "GPT-2's vocab.bpe is not at hand");
  EXPECT_MENTIONS(error(named), "--tokenizer=bpe");
}

TEST_F(Prepare, AWrongCopyIsRefused) {
  PrepareOptions named;
  named.what = "shakespeare_char";
  named.out = folder_.file("out");
  named.allowFallback = true;
  named.source = folder_.file("text.txt");
  EXPECT_MENTIONS(error(named), "not tiny Shakespeare: expected 1115394 bytes");
  named.source = "";
  ScopedVariable copy("TXC_TINYSHAKESPEARE", folder_.file("text.txt").c_str());
  named.allowFallback = false;
  EXPECT_MENTIONS(error(named), "TXC_TINYSHAKESPEARE: ");
  EXPECT_MENTIONS(error(named), "not tiny Shakespeare");
  // Right length, wrong content.
  folder_.write("text.txt", std::string(1115394, 'x'));
  EXPECT_MENTIONS(error(named), "expected SHA-256 86c4e6aa");
}

TEST_F(Prepare, DownloadsByCurlIntoTheCache) {
  TXC_SKIP_WITHOUT_TEST_DATA();
  // A curl that copies: the argument after --output is the target.
  folder_.write("curl", "#!/bin/sh\nwhile [ \"$1\" != --output ]; do shift; done\n"
                        "/bin/cp '" +
                            testDataDir() + "/tinyshakespeare/input.txt' \"$2\"\n");
  ::chmod(folder_.file("curl").c_str(), 0755);
  PrepareOptions named;
  named.what = "shakespeare_char";
  named.out = folder_.file("out");
  ASSERT_EQ(error(named), "prepared");
  EXPECT_TRUE(fs::exists(folder_.file("cache/txc/tinyshakespeare/input.txt")));
  fs::remove(folder_.file("curl"));
  fs::remove_all(folder_.file("out"));
  EXPECT_EQ(error(named), "prepared");
  // A spoilt cache is not believed.
  folder_.write("cache/txc/tinyshakespeare/input.txt", "spoilt");
  fs::remove_all(folder_.file("out"));
  EXPECT_MENTIONS(error(named), "expected 1115394 bytes, found 6");
}

TEST_F(Prepare, AFailedDownloadLeavesNothing) {
  folder_.write("curl", "#!/bin/sh\nwhile [ \"$1\" != --output ]; do shift; done\n"
                        "echo half > \"$2\"\necho 'curl: (18) transfer closed' >&2\nexit 18\n");
  ::chmod(folder_.file("curl").c_str(), 0755);
  PrepareOptions named;
  named.what = "shakespeare_char";
  named.out = folder_.file("out");
  EXPECT_MENTIONS(error(named), "curl: (18) transfer closed");
  folder_.write("curl", "#!/bin/sh\nwhile [ \"$1\" != --output ]; do shift; done\necho something > \"$2\"\n");
  EXPECT_MENTIONS(error(named), "expected 1115394 bytes, found 10");
  for (const auto &entry : fs::recursive_directory_iterator(folder_.file("cache")))
    EXPECT_FALSE(entry.is_regular_file()) << entry.path();
}

TEST_F(Prepare, CountsOfTinyShakespeare) {
  TXC_SKIP_WITHOUT_TEST_DATA();
  ScopedVariable copy("TXC_TINYSHAKESPEARE", (testDataDir() + "/tinyshakespeare/input.txt").c_str());
  ScopedVariable merges("TXC_GPT2_BPE_DIR", (testDataDir() + "/gpt2-bpe").c_str());
  PrepareOptions named;
  named.what = "shakespeare_char";
  named.out = folder_.file("out");
  Result<Prepared> characters = prepare(named);
  ASSERT_TRUE(characters.ok()) << characters.status().message();
  EXPECT_EQ(characters->sidecar.vocabSize, 65u);
  EXPECT_EQ(characters->sidecar.train->tokens, 1003854u);
  EXPECT_EQ(characters->sidecar.val->tokens, 111540u);
  named.what = "shakespeare";
  Result<Prepared> pieces = prepare(named);
  ASSERT_TRUE(pieces.ok()) << pieces.status().message();
  EXPECT_EQ(pieces->sidecar.vocabSize, 50257u);
  EXPECT_EQ(pieces->sidecar.train->tokens, 301966u);
  EXPECT_EQ(pieces->sidecar.val->tokens, 36059u);
  EXPECT_EQ(sha256Hex(decoded("train") + decoded("val")), tinyShakespeare.sha256);
}

//===-- describe, inspect, decode ------------------------------------------===//

TEST_F(Prepare, DescribesFilesOfOthers) {
  folder_.writeNumbers<uint16_t>("theirs/train.bin", {1, 2, 3});
  folder_.writeNumbers<uint16_t>("theirs/val.bin", {4, 50256});
  DescribeOptions describeIt;
  describeIt.directory = folder_.file("theirs");
  EXPECT_MENTIONS(describe(describeIt).status().message(), "--vocab_size");
  describeIt.vocabSize = 50257;
  EXPECT_MENTIONS(describe(describeIt).status().message(), "never guessed");
  describeIt.dtype = "uint16";
  describeIt.tokenizer = "char";
  EXPECT_MENTIONS(describe(describeIt).status().message(), "expected gpt2 or byte");
  describeIt.tokenizer = "gpt2";
  describeIt.vocabSize = 50256;
  EXPECT_MENTIONS(describe(describeIt).status().message(), "val.bin: byte 2: token 50256");
  describeIt.vocabSize = 50257;
  Result<Sidecar> sidecar = describe(describeIt);
  ASSERT_TRUE(sidecar.ok()) << sidecar.status().message();
  Result<Inspection> found = inspect(folder_.file("theirs"));
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(found->train.tokens, 3u);
  EXPECT_EQ(found->sidecar.tokenizerKind(), "gpt2");
  EXPECT_MENTIONS(describe(describeIt).status().message(), "is there already");
}

TEST_F(Prepare, InspectFindsAlteredFiles) {
  ASSERT_EQ(error(options("char")), "prepared");
  EXPECT_TRUE(inspect(folder_.file("out")).ok());
  std::string bytes = folder_.read("out/train.bin");
  bytes[0] ^= 1;
  folder_.write("out/train.bin", bytes);
  Result<Inspection> found = inspect(folder_.file("out"));
  ASSERT_FALSE(found.ok());
  EXPECT_MENTIONS(found.status().message(), "train.bin: altered: expected SHA-256");
}

TEST_F(Prepare, DecodesARange) {
  folder_.write("text.txt", "abcdefghij");
  ASSERT_EQ(error(options("char")), "prepared");
  std::string out = folder_.file("out");
  EXPECT_EQ(*decodeTokens(out, "train", 2, 3, ""), "cde");
  EXPECT_EQ(*decodeTokens(out, "train", 7, 100, ""), "hi");
  EXPECT_MENTIONS(decodeTokens(out, "train", 9, 1, "").status().message(),
                  "train has 9 tokens, numbered from 0");
  EXPECT_MENTIONS(decodeTokens(out, "test", 0, 1, "").status().message(), "expected train or val");
}

TEST(BuiltInCorpus, IsTextOfAUsefulSize) {
  std::string_view corpus = builtInCorpus();
  EXPECT_GT(corpus.size(), 20000u);
  EXPECT_EQ(corpus.find('\0'), std::string_view::npos);
  EXPECT_TRUE(makeCharTokenizer(corpus).ok());
  EXPECT_TRUE(trainBpeTokenizer(corpus, 1024).ok());
}
