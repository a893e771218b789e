//===- Sha256Test.cpp - Known answers of SHA-256 ----------------------------===//
#include "support/sha256.h"

#include <gtest/gtest.h>

using namespace txc;

TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256Hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Every length around the padding's edges, fed in two pieces.
TEST(Sha256, PiecesDoNotMatter) {
  for (size_t length = 0; length < 200; ++length) {
    std::string text(length, 'x');
    for (size_t i = 0; i < length; ++i)
      text[i] = static_cast<char>(i * 7);
    size_t cut = length / 3;
    Sha256 hash;
    hash.update(text.data(), cut);
    hash.update(text.data() + cut, length - cut);
    EXPECT_EQ(toHex(hash.finish()), sha256Hex(text)) << length;
  }
}

// By the processor's instructions and by the loop: the same. (Equal by definition where it has none.)
TEST(Sha256, BothWays) {
  std::string text(5000, '\0');
  uint32_t seed = 1;
  for (char &c : text)
    c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  for (size_t length = 0; length < text.size(); length += 37) {
    Sha256 either, portable(true);
    either.update(text.data(), length);
    portable.update(text.data(), length);
    EXPECT_EQ(either.finish(), portable.finish()) << length;
  }
  Sha256 abc(true);
  abc.update("abc", 3);
  EXPECT_EQ(toHex(abc.finish()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
