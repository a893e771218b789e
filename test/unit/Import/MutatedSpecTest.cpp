//===- MutatedSpecTest.cpp - No text may crash the reader -----------------===//
//
// Thousands of damaged specs, the same on every run. TXC_FUZZ_ROUNDS sets how
// many (with the asan preset, some 200000 are a minute).
//
//===----------------------------------------------------------------------===//

#include "txc/Import/Spec.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

using namespace txc::import;

namespace {

const std::string seeds[] = {
    "base: other.yaml\nmodel:\n  n_layer: 12\n  n_head: 12 # heads\n  normalization: rmsnorm\ntrain:\n  "
    "learning_rate: 6e-4\n",
    "model: {n_layer: 3, bias: true, d_ff: auto}\ntrain: {dataset: 'x', out_dir: \"a\\n\"}\n",
    "model: &a\n  n_layer: 1\ntrain: *a\n",
    "%YAML 1.2\n---\nmodel:\n  - a\n  - {b: [c, d]}\n...\n---\n",
    "? a\n: b\n? - c\n: |\n  text\n  more\n",
    "- - - - a\n  - >-\n    folded\n    text\n",
};
const std::string pieces[] = {
    "\n", "  ",   "\t",   ": ", "- ", "? ", "[",     "]",     "{",     "}",     ",",      "#",        "&a ",
    "*a", "!!x ", "|",    ">",  "'",  "\"", "%",     "---\n", "...\n", "<<: ",  "\\x",    "\xc3\xa9", "\xff",
    "@",  "`",    "\r\n", "~",  "0",  "-1", "1e999", "!<",    "!!",    "\\u12", "model:", "train:"};

TEST(MutatedSpec, NeverCrashes) {
  const char *given = std::getenv("TXC_FUZZ_ROUNDS");
  int rounds = given ? std::atoi(given) : 5000;
  std::mt19937 random(20250101); // its sequence is the same everywhere
  auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  int good = 0;
  for (int round = 0; round < rounds; ++round) {
    std::string text = seeds[below(std::size(seeds))];
    for (size_t changes = 1 + below(8); changes > 0; --changes) {
      size_t place = below(text.size() + 1);
      switch (below(5)) {
      case 0:
        text.insert(place, pieces[below(std::size(pieces))]);
        break;
      case 1:
        text.erase(place, 1 + below(6));
        break;
      case 2:
        text.insert(place, text.substr(below(text.size() + 1), below(20)));
        break;
      case 3:
        if (place < text.size())
          text[place] = static_cast<char>(below(256));
        break;
      case 4: {
        std::string piece = pieces[below(std::size(pieces))];
        for (size_t times = below(200); times > 0; --times)
          text.insert(place, piece);
        break;
      }
      }
    }
    Spec spec;
    std::string errors;
    llvm::raw_string_ostream os(errors);
    LoadStatus status = parseSpec(text, "none/t.yaml", {}, os, spec);
    ASSERT_EQ(status == LoadStatus::Ok, errors.empty()) << text;
    good += status == LoadStatus::Ok;
  }
  EXPECT_LT(good, rounds);
}

} // namespace
