//===- TextTest.cpp - Numbers as people write and read them ----------------===//
#include "support/text.h"

#include <gtest/gtest.h>

using namespace txc;

TEST(Text, WholeNumbers) {
  for (auto [text, value] :
       std::vector<std::pair<const char *, int64_t>>{{"12", 12},
                                                     {"1e3", 1000},
                                                     {"1_000", 1000},
                                                     {" 7 ", 7},
                                                     {"-3", -3},
                                                     {"+4", 4},
                                                     {"2.5e1", 25},
                                                     {"9223372036854775807", INT64_MAX}}) {
    Result<int64_t> parsed = parseWholeNumber(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(*parsed, value) << text;
  }
  for (const char *text : {"", "x", "1.5", "1_", "_1", "1__0", "1e400", "nan", "12abc", "0x10", "1e17"})
    EXPECT_FALSE(parseWholeNumber(text).ok()) << text;
}

TEST(Text, Numbers) {
  EXPECT_EQ(*parseNumber("6e-4"), 6e-4);
  EXPECT_EQ(*parseNumber("1_000.5"), 1000.5);
  for (const char *text : {"", "inf", "nan", "1e999", "a", "1,5", "--1"})
    EXPECT_FALSE(parseNumber(text).ok()) << text;
}

TEST(Text, Truth) {
  for (const char *text : {"true", "True", "TRUE", "1", "yes", "on"})
    EXPECT_TRUE(parseTruth(text).ok() && *parseTruth(text)) << text;
  for (const char *text : {"false", "False", "0", "no", "off"})
    EXPECT_TRUE(parseTruth(text).ok() && !*parseTruth(text)) << text;
  for (const char *text : {"", "2", "tru", "truee"})
    EXPECT_FALSE(parseTruth(text).ok()) << text;
}

TEST(Text, Printing) {
  EXPECT_EQ(withCommas(0), "0");
  EXPECT_EQ(withCommas(999), "999");
  EXPECT_EQ(withCommas(21943), "21,943");
  EXPECT_EQ(withCommas(162220800), "162,220,800");
  EXPECT_EQ(withPrefix(854654976.0, 1), "854.7 M");
  EXPECT_EQ(bytesText(2340000000), "2.34 GB");
  EXPECT_EQ(bytesText(12), "12 B");
}

TEST(Text, BytesAsHex) {
  const unsigned char bytes[] = {0x00, 0x0f, 0x80, 0xff};
  EXPECT_EQ(bytesToHex(bytes, sizeof(bytes)), "000f80ff");
  unsigned char back[4] = {1, 2, 3, 4};
  ASSERT_TRUE(bytesFromHex("000f80ff", back, sizeof(back)));
  EXPECT_EQ(std::string(back, back + 4), std::string(bytes, bytes + 4));
  EXPECT_FALSE(bytesFromHex("000f80f", back, sizeof(back)));
  EXPECT_FALSE(bytesFromHex("000f80ff00", back, sizeof(back)));
}

TEST(Text, NearestName) {
  std::vector<std::string> names = {"max_iters", "min_lr", "seed", "n_layer"};
  EXPECT_EQ(nearestName("max_iter", names), "max_iters");
  EXPECT_EQ(nearestName("maxiters", names), "max_iters");
  EXPECT_EQ(nearestName("sede", names), "seed");
  EXPECT_EQ(nearestName("n_layers", names), "n_layer");
  EXPECT_EQ(nearestName("completely_different", names), "");
}
