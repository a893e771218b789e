//===- TokenizerTest.cpp - Text to tokens and back --------------------------===//
#include "data/tokenizer.h"

#include "data/utf8.h"
#include "data/word_splitter.h"
#include "support/file.h"

#include "TempFolder.h"
#include "TestData.h"

#include <gtest/gtest.h>

#include <map>

using namespace txc;
using namespace txc::data;

namespace {

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

using Tokens = std::vector<uint32_t>;

// Text with letters of several scripts, digits, signs and kinds of white space.
const std::string mixed =
    "Don't  panic: it's 42\u00b0C!\n\n\tna\u00efve \u0436\u0443\u043a\u0438 \u4f60\u597d \U0001F600's\r\n"
    "e\u0301\u00a0x\u3000 \u0663\u0664 ...they'll've   ";

Result<Gpt2Files> noFiles() { return Status::failed("no GPT-2 files"); }

Tokens encode(const TokenizerPtr &tokenizer, std::string_view text) {
  Result<Tokens> tokens = tokenizer->encode(text);
  EXPECT_TRUE(tokens.ok()) << tokens.status().message();
  return tokens.ok() ? *tokens : Tokens();
}

// Encodes, decodes, and does it again with the tokenizer that the sidecar describes.
void expectRoundTrip(const TokenizerPtr &tokenizer, const std::string &text) {
  Tokens tokens = encode(tokenizer, text);
  for (uint32_t token : tokens)
    ASSERT_LT(token, tokenizer->vocabSize());
  EXPECT_EQ(*tokenizer->decode(tokens), text);
  Result<TokenizerPtr> again = makeDescribedTokenizer(tokenizer->describe(), "meta.json", noFiles);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ((*again)->vocabSize(), tokenizer->vocabSize());
  EXPECT_EQ(encode(*again, text), tokens);
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  EXPECT_TRUE(splitWords(text, [&](std::string_view word) { out.emplace_back(word); }).ok());
  return out;
}

} // namespace

//===-- Characters and bytes -----------------------------------------------===//

TEST(CharTokenizer, TokensAreTheRanksOfCodePoints) {
  TokenizerPtr tokenizer = *makeCharTokenizer("hello \u20acuro\n");
  EXPECT_EQ(tokenizer->vocabSize(), 9u); // \n, space, e h l o r u, euro sign
  EXPECT_EQ(encode(tokenizer, "\n ehloru\u20ac"), (Tokens{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(tokenizer->describe()["characters"], "\n ehloru\u20ac");
}

TEST(CharTokenizer, RoundTrip) { expectRoundTrip(*makeCharTokenizer(mixed), mixed); }

TEST(CharTokenizer, Errors) {
  TokenizerPtr tokenizer = *makeCharTokenizer("abc");
  EXPECT_MENTIONS(tokenizer->encode("ab\u017c").status().message(), "byte 2: character U+017C");
  EXPECT_MENTIONS(tokenizer->encode("a\xff").status().message(), "byte 1: 0xff is not valid UTF-8");
  EXPECT_MENTIONS(makeCharTokenizer("a\xff").status().message(), "byte 1: 0xff is not valid UTF-8");
  EXPECT_MENTIONS(tokenizer->decode({3}).status().message(), "token 3");
}

TEST(ByteTokenizer, TakesAnyBytes) {
  std::string all;
  for (int i = 0; i < 512; ++i)
    all += static_cast<char>(i);
  TokenizerPtr tokenizer = makeByteTokenizer();
  EXPECT_EQ(encode(tokenizer, "a\xff"), (Tokens{97, 255}));
  expectRoundTrip(tokenizer, all);
  EXPECT_MENTIONS(tokenizer->decode({256}).status().message(), "token 256");
}

//===-- Words --------------------------------------------------------------===//

TEST(WordSplitter, FollowsGpt2sRule) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(words("Hello world"), (Words{"Hello", " world"}));
  EXPECT_EQ(words("don't they'll I'VE"), (Words{"don", "'t", " they", "'ll", " I", "'", "VE"}));
  EXPECT_EQ(words("a1b22 33"), (Words{"a", "1", "b", "22", " 33"}));
  // The last of several spaces goes with the word.
  EXPECT_EQ(words("x   y"), (Words{"x", "  ", " y"}));
  EXPECT_EQ(words("x \n y  "), (Words{"x", " \n", " y", "  "}));
  EXPECT_EQ(words("end.\n\nNew"), (Words{"end", ".", "\n", "\n", "New"}));
  EXPECT_EQ(words("(a) != b"), (Words{"(", "a", ")", " !=", " b"}));
  EXPECT_EQ(words("na\u00efve \u4f60\u597d\uff01"), (Words{"na\u00efve", " \u4f60\u597d", "\uff01"}));
  // Combining accents are no letters; U+00A0 is white space, U+180E is none.
  EXPECT_EQ(words("e\u0301"), (Words{"e", "\u0301"}));
  EXPECT_EQ(words("a\u00a0b\u180e"), (Words{"a", "\u00a0", "b", "\u180e"}));
}

TEST(WordSplitter, WordsTileTheText) {
  std::string joined;
  for (const std::string &word : words(mixed)) {
    EXPECT_FALSE(word.empty());
    joined += word;
  }
  EXPECT_EQ(joined, mixed);
  EXPECT_TRUE(words("").empty());
}

//===-- GPT-2's files ------------------------------------------------------===//

namespace {

std::string jsonText(const std::string &text) { return nlohmann::json(text).dump(); }

// Files in GPT-2's format: bytes in the order of their spelling's code point,
// as OpenAI numbers them, then one token per merge.
Gpt2Files smallFiles(const std::vector<std::pair<std::string, std::string>> &merges) {
  std::vector<std::string> spelled;
  for (uint32_t byte = 33; byte <= 255; ++byte)
    if (byte <= 126 || (byte >= 161 && byte != 173)) {
      spelled.emplace_back();
      appendCharacter(spelled.back(), byte);
    }
  for (uint32_t i = 0; spelled.size() < 256; ++i) {
    spelled.emplace_back();
    appendCharacter(spelled.back(), 256 + i);
  }
  Gpt2Files files;
  files.vocabBpe = "#version: 0.2\n";
  for (auto &[left, right] : merges) {
    files.vocabBpe += left + " " + right + "\n";
    spelled.push_back(left + right);
  }
  spelled.push_back("<|endoftext|>");
  for (size_t i = 0; i < spelled.size(); ++i)
    files.encoderJson += (i ? ", " : "{") + jsonText(spelled[i]) + ": " + std::to_string(i);
  files.encoderJson += "}";
  return files;
}

// What the scheme says, with no heap and no cache: merge all places of the
// pair that comes first, left to right, until there is none.
std::vector<std::string> mergedSlowly(std::vector<std::string> parts,
                                      const std::vector<std::pair<std::string, std::string>> &merges) {
  for (;;) {
    size_t best = merges.size();
    for (size_t i = 0; i + 1 < parts.size(); ++i)
      for (size_t rank = 0; rank < best; ++rank)
        if (merges[rank].first == parts[i] && merges[rank].second == parts[i + 1])
          best = rank;
    if (best == merges.size())
      return parts;
    std::vector<std::string> next;
    for (size_t i = 0; i < parts.size(); ++i) {
      bool here =
          i + 1 < parts.size() && parts[i] == merges[best].first && parts[i + 1] == merges[best].second;
      next.push_back(here ? parts[i] + parts[i + 1] : parts[i]);
      i += here;
    }
    parts = next;
  }
}

} // namespace

TEST(Gpt2Tokenizer, MergesByRank) {
  // U+0120 spells the space.
  TokenizerPtr tokenizer =
      *makeGpt2Tokenizer(smallFiles({{"a", "b"}, {"b", "c"}, {"ab", "c"}, {"\u0120", "a"}}));
  EXPECT_EQ(tokenizer->vocabSize(), 261u);
  EXPECT_EQ(encode(tokenizer, "!"), (Tokens{0}));
  EXPECT_EQ(encode(tokenizer, "abc"), (Tokens{258}));
  EXPECT_EQ(encode(tokenizer, "bc"), (Tokens{257}));
  // "a b" comes before " a" in the list, so the space stays alone.
  EXPECT_EQ(encode(tokenizer, " ab"), (Tokens{220, 256}));
  EXPECT_EQ(encode(tokenizer, " a"), (Tokens{259}));
  EXPECT_EQ(*tokenizer->decode({259, 256, 260}), " aab<|endoftext|>");
  // The text of the special token is no special token.
  EXPECT_EQ(*tokenizer->decode(encode(tokenizer, "<|endoftext|>")), "<|endoftext|>");
  EXPECT_GT(encode(tokenizer, "<|endoftext|>").size(), 1u);
}

TEST(Gpt2Tokenizer, EqualsTheSlowRule) {
  std::vector<std::pair<std::string, std::string>> merges = {{"a", "a"},    {"a", "b"},    {"aa", "a"},
                                                             {"b", "a"},    {"aa", "aa"},  {"ab", "ab"},
                                                             {"ba", "aaa"}, {"aaaa", "b"}, {"abab", "a"}};
  TokenizerPtr tokenizer = *makeGpt2Tokenizer(smallFiles(merges));
  // All words of a and b up to 13 letters.
  for (int length = 1; length <= 13; ++length)
    for (int bits = 0; bits < 1 << length; ++bits) {
      std::vector<std::string> parts;
      std::string word;
      for (int i = 0; i < length; ++i) {
        parts.push_back(bits >> i & 1 ? "b" : "a");
        word += parts.back();
      }
      std::vector<std::string> found;
      for (uint32_t token : encode(tokenizer, word))
        found.push_back(*tokenizer->decode({token}));
      ASSERT_EQ(found, mergedSlowly(parts, merges)) << word;
    }
}

TEST(Gpt2Tokenizer, RoundTripThroughTheSidecar) {
  Gpt2Files files = smallFiles({{"a", "b"}, {"\u0120", "a"}, {"\u00c3", "\u00af"}});
  TokenizerPtr tokenizer = *makeGpt2Tokenizer(files);
  EXPECT_EQ(*tokenizer->decode(encode(tokenizer, mixed)), mixed);
  auto read = [&]() -> Result<Gpt2Files> { return files; };
  EXPECT_TRUE(makeDescribedTokenizer(tokenizer->describe(), "meta.json", read).ok());
  files = smallFiles({{"a", "c"}});
  EXPECT_MENTIONS(makeDescribedTokenizer(tokenizer->describe(), "meta.json", read).status().message(),
                  "meta.json: tokenizer: vocab_bpe_sha256");
}

TEST(Gpt2Tokenizer, LongWordsAreQuick) {
  std::vector<std::pair<std::string, std::string>> merges = {{"a", "a"}};
  for (int i = 2; i <= 1024; i *= 2)
    merges.push_back({std::string(i, 'a'), std::string(i, 'a')});
  TokenizerPtr tokenizer = *makeGpt2Tokenizer(smallFiles(merges));
  // One word of two million letters: minutes if merging were quadratic.
  EXPECT_EQ(encode(tokenizer, std::string(2048 * 1000 + 1, 'a')).size(), 1001u);
}

TEST(Gpt2Tokenizer, Errors) {
  auto error = [](const Gpt2Files &files) { return makeGpt2Tokenizer(files).status().message(); };
  Gpt2Files good = smallFiles({{"a", "b"}, {"ab", "c"}});
  EXPECT_TRUE(makeGpt2Tokenizer(good).ok());
  Gpt2Files bad = good;
  bad.encoderJson = "[]";
  EXPECT_MENTIONS(error(bad), "encoder.json: not a JSON object");
  bad = good;
  bad.encoderJson = "{\"a\": 5}";
  EXPECT_MENTIONS(error(bad), "has the number 5");
  bad.encoderJson = "{\"a\": 0}";
  EXPECT_MENTIONS(error(bad), "no token for byte 0");
  bad = good;
  bad.vocabBpe = "#version: 0.2\na b\nab d\n";
  EXPECT_MENTIONS(error(bad), "vocab.bpe:3: merges tokens that encoder.json lacks");
  bad.vocabBpe = "#version: 0.2\nab c\na b\n";
  EXPECT_MENTIONS(error(bad), "vocab.bpe:2: merges a token that no earlier line makes");
  bad.vocabBpe = "#version: 0.2\na b\na b\n";
  EXPECT_MENTIONS(error(bad), "vocab.bpe:3: makes a token that an earlier line makes");
  bad.vocabBpe = "#version: 0.2\nab\n";
  EXPECT_MENTIONS(error(bad), "vocab.bpe:2: not two spelled tokens");
  bad.vocabBpe = "";
  EXPECT_MENTIONS(error(bad), "vocab.bpe: no merges");
  EXPECT_MENTIONS((*makeGpt2Tokenizer(good))->encode("ok\xc3(").status().message(),
                  "byte 2: 0xc3 is not valid UTF-8");
}

TEST(Gpt2Tokenizer, OpenAisFiles) {
  TXC_SKIP_WITHOUT_TEST_DATA();
  Gpt2Files files;
  files.vocabBpe = *readFile(testDataDir() + "/gpt2-bpe/vocab.bpe");
  files.encoderJson = *readFile(testDataDir() + "/gpt2-bpe/encoder.json");
  TokenizerPtr tokenizer = *makeGpt2Tokenizer(files);
  EXPECT_EQ(tokenizer->vocabSize(), 50257u);
  // Widely published: GPT-2's tokens of these texts.
  EXPECT_EQ(encode(tokenizer, "Hello world"), (Tokens{15496, 995}));
  EXPECT_EQ(encode(tokenizer, "Hello, my dog is cute"), (Tokens{15496, 11, 616, 3290, 318, 13779}));
  EXPECT_EQ(*tokenizer->decode({50256}), "<|endoftext|>");
  EXPECT_EQ(*tokenizer->decode(encode(tokenizer, mixed)), mixed);
}

//===-- Learned BPE --------------------------------------------------------===//

TEST(BpeTraining, TakesTheMostFrequentPairThenTheLowest) {
  // Words: "ab" 3 times (2 with a space), "cd" 3 times (2 with a space).
  TokenizerPtr tokenizer = *trainBpeTokenizer("ab ab ab\ncd cd cd", 259);
  nlohmann::ordered_json merges = tokenizer->describe()["merges"];
  ASSERT_EQ(merges.size(), 3u);
  // (a, b) and (c, d) occur 3 times each; then (space, ab) and (space, cd) twice.
  EXPECT_EQ(merges[0].dump(), "[97,98]");
  EXPECT_EQ(merges[1].dump(), "[99,100]");
  EXPECT_EQ(merges[2].dump(), "[32,256]");
  EXPECT_EQ(encode(tokenizer, "ab abcd"), (Tokens{256, 258, 257}));
}

// The definition, with everything counted anew for each merge.
static std::vector<std::pair<uint32_t, uint32_t>> learnSlowly(const std::string &text, size_t count) {
  std::vector<Tokens> all;
  for (const std::string &word : words(text))
    all.emplace_back(reinterpret_cast<const uint8_t *>(word.data()),
                     reinterpret_cast<const uint8_t *>(word.data()) + word.size());
  std::vector<std::pair<uint32_t, uint32_t>> merges;
  while (merges.size() < count) {
    std::map<std::pair<uint32_t, uint32_t>, int> seen;
    for (const Tokens &word : all)
      for (size_t i = 0; i + 1 < word.size(); ++i)
        ++seen[{word[i], word[i + 1]}];
    auto best = seen.begin();
    for (auto it = seen.begin(); it != seen.end(); ++it)
      if (it->second > best->second)
        best = it;
    uint32_t token = static_cast<uint32_t>(256 + merges.size());
    for (Tokens &word : all) {
      Tokens next;
      for (size_t i = 0; i < word.size(); ++i) {
        bool here = i + 1 < word.size() && std::make_pair(word[i], word[i + 1]) == best->first;
        next.push_back(here ? token : word[i]);
        i += here;
      }
      word = next;
    }
    merges.push_back(best->first);
  }
  return merges;
}

TEST(BpeTraining, EqualsTheDefinition) {
  std::string text;
  uint32_t state = 1;
  for (int i = 0; i < 6000; ++i) {
    state = state * 1664525 + 1013904223;
    text += " aaabbcd\n"[state >> 24 & 7];
  }
  auto expected = learnSlowly(text, 150);
  nlohmann::ordered_json merges = (*trainBpeTokenizer(text, 256 + 150))->describe()["merges"];
  ASSERT_EQ(merges.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_EQ(merges[i].dump(), nlohmann::json({expected[i].first, expected[i].second}).dump()) << i;
}

TEST(BpeTraining, RoundTrip) {
  TokenizerPtr tokenizer = *trainBpeTokenizer(mixed + mixed, 300);
  expectRoundTrip(tokenizer, mixed);
  expectRoundTrip(tokenizer, "a text it has never seen: \u00e9\u4e16\u754c");
}

TEST(BpeTraining, Errors) {
  EXPECT_MENTIONS(trainBpeTokenizer("ab ab", 300).status().message(),
                  "the most it gives is --vocab_size=257");
  EXPECT_MENTIONS(trainBpeTokenizer("ab ab", 256).status().message(), "at least 257");
  EXPECT_MENTIONS(trainBpeTokenizer("a\xff", 300).status().message(), "byte 1");
}

//===-- Sidecars -----------------------------------------------------------===//

TEST(DescribedTokenizer, Errors) {
  auto error = [](const char *json) {
    return makeDescribedTokenizer(nlohmann::ordered_json::parse(json), "meta.json", noFiles)
        .status()
        .message();
  };
  EXPECT_MENTIONS(error("null"), "meta.json: names no tokenizer");
  EXPECT_MENTIONS(error(R"({"kind": "runes"})"), "kind runes is unknown");
  EXPECT_MENTIONS(error(R"({"kind": "char"})"), "expected a string `characters`");
  EXPECT_MENTIONS(error(R"({"kind": "char", "characters": "ba"})"), "sorted and distinct");
  EXPECT_MENTIONS(error(R"({"kind": "gpt2"})"), "no GPT-2 files");
  EXPECT_MENTIONS(error(R"({"kind": "bpe"})"), "expected an array `merges`");
  EXPECT_MENTIONS(error(R"({"kind": "bpe", "merges": [[97, 256]]})"),
                  "merge 0: expected two tokens below 256");
  EXPECT_MENTIONS(error(R"({"kind": "bpe", "merges": [[97, -1]]})"), "merge 0");
  // Doubling merges would need 2^64 bytes.
  std::string doubling = R"({"kind": "bpe", "merges": [[97, 97])";
  for (int i = 0; i < 64; ++i)
    doubling += ", [" + std::to_string(256 + i) + ", " + std::to_string(256 + i) + "]";
  EXPECT_MENTIONS(error((doubling + "]}").c_str()), "more than 256 bytes");
}
