//===- Utf8Test.cpp - Characters of UTF-8 text ------------------------------===//
#include "data/utf8.h"

#include <gtest/gtest.h>

using namespace txc::data;

TEST(Utf8, EveryCharacterRoundTrips) {
  for (uint32_t character = 0; character < 0x110000; ++character) {
    if (character >= 0xd800 && character <= 0xdfff)
      continue;
    std::string text;
    appendCharacter(text, character);
    uint32_t found = 0;
    ASSERT_EQ(decodeCharacter(text, 0, found), text.size());
    ASSERT_EQ(found, character);
    ASSERT_EQ(countCharacters(text), 1u);
  }
}

TEST(Utf8, NamesTheFirstBadByte) {
  EXPECT_FALSE(findInvalidUtf8("na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80"));
  EXPECT_EQ(findInvalidUtf8("ab\xff"), 2u);
  EXPECT_EQ(findInvalidUtf8("ab\x80"), 2u);           // continues nothing
  EXPECT_EQ(findInvalidUtf8("\xc0\x80"), 0u);         // overlong
  EXPECT_EQ(findInvalidUtf8("x\xe0\x80\x80"), 1u);    // overlong
  EXPECT_EQ(findInvalidUtf8("\xed\xa0\x80"), 0u);     // a surrogate
  EXPECT_EQ(findInvalidUtf8("\xf4\x90\x80\x80"), 0u); // beyond Unicode
  EXPECT_EQ(findInvalidUtf8("abc\xe2\x82"), 3u);      // cut at the end
  EXPECT_EQ(findInvalidUtf8("abc\xe2\x82 xyz"), 3u);  // cut in the middle
}

TEST(Utf8, FindsCharactersByNumber) {
  std::string text = "a\xc3\xafz";
  EXPECT_EQ(countCharacters(text), 3u);
  EXPECT_EQ(offsetOfCharacter(text, 1), 1u);
  EXPECT_EQ(offsetOfCharacter(text, 2), 3u);
  EXPECT_EQ(offsetOfCharacter(text, 3), 4u);
}

// Whatever pieces the bytes come in, the characters are the same.
TEST(Utf8Stream, CharactersOfAnyPieces) {
  const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    Utf8Stream stream;
    std::string out;
    for (size_t at = 0; at < text.size(); at += piece) {
      std::string more = stream.push(std::string_view(text).substr(at, piece));
      EXPECT_FALSE(findInvalidUtf8(more)) << piece;
      out += more;
    }
    EXPECT_EQ(out + stream.finish(), text) << piece;
  }
}

TEST(Utf8Stream, HoldsAnIncompleteCharacterOnly) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("x\xe2\x82"), "x");
  EXPECT_EQ(stream.push("\xac"), "\xe2\x82\xac");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, ReplacesWhatIsNoCharacter) {
  const std::string bad = "\xef\xbf\xbd"; // U+FFFD
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\x80"), bad);                     // continues nothing
  EXPECT_EQ(stream.push("\xff"), bad);                     // begins nothing
  EXPECT_EQ(stream.push("\xe2x"), bad + "x");              // cut short
  EXPECT_EQ(stream.push("\xed\xa0\x80"), bad + bad + bad); // a surrogate
  EXPECT_EQ(stream.push("\xf0\x9f"), "");
  EXPECT_EQ(stream.finish(), bad + bad);
}
