//===- ValuesTest.cpp - Both tools read values the same way ----------------===//
//
// txc reads values in lib/Import, txrun in runtime/src/support: two readers of one
// language, held together here.
//
//===----------------------------------------------------------------------===//

#include "support/text.h"
#include "txc/Import/Options.h"

#include <gtest/gtest.h>

using namespace txc::import;

namespace {

// Whether txc takes `text` for `key`, and what it makes of it.
template <typename T> std::optional<T> read(const char *key, T Spec::*field, const std::string &text) {
  Spec spec;
  std::string expected;
  if (!findOption(key)->set(spec, text, /*quoted=*/false, expected))
    return std::nullopt;
  return spec.*field;
}

template <typename T> std::optional<T> valueOf(const txc::Result<T> &result) {
  return result.ok() ? std::optional(*result) : std::nullopt;
}

TEST(Values, WholeNumbers) {
  for (const char *text : {"0",
                           "7",
                           "+7",
                           "007",
                           "1_000",
                           "1e3",
                           "1E3",
                           "1e+3",
                           "2.0",
                           "1.5e3",
                           "12.",
                           "1_0e2",
                           "9007199254740992",
                           "9223372036854775807",
                           "1.5",
                           "1e-1",
                           "",
                           " ",
                           "_1",
                           "1_",
                           "1__0",
                           "0x10",
                           "1e",
                           "e3",
                           "1e3.0",
                           "ten",
                           "inf",
                           "nan",
                           "1e30",
                           "++1",
                           "+-1",
                           "1,000",
                           "1 000",
                           "true",
                           "--1"})
    EXPECT_EQ(read("seed", &Spec::seed, text), valueOf(txc::parseWholeNumber(text))) << "'" << text << "'";
}

TEST(Values, Numbers) {
  for (const char *text :
       {"0", "1",    "+1",   "0.5",   ".5",    "5.",  "6e-4", "6E-4", "1e+1",  "1_0.5", "1_0",
        "",  ".",    "e",    "1e",    "0x1p1", "inf", "nan",  "1..2", "1e1e1", "1-2",   "-.",
        "+", "1_.5", "1._5", "1e0_3", "1f",    "50%", "1/2",  "--1",  "+-1",   "1e400"})
    EXPECT_EQ(read("grad_clip", &Spec::grad_clip, text), valueOf(txc::parseNumber(text)))
        << "'" << text << "'";
}

TEST(Values, Truth) {
  for (const char *text :
       {"true", "True", "TRUE", "1", "yes", "Yes", "on", "ON",    "false", "False", "0",   "no",  "off",
        "Off",  "",     "t",    "f", "y",   "n",   "2",  "maybe", "truee", "01",    "1.0", "none"})
    EXPECT_EQ(read("eval_only", &Spec::eval_only, text), valueOf(txc::parseTruth(text)))
        << "'" << text << "'";
}

} // namespace
