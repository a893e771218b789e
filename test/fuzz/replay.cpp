//===- replay.cpp - Runs a fuzz target without a fuzzer ---------------------===//
//
//   replay [--rounds=N] FILE|FOLDER ...
//
// Gives the target every file, and then N inputs made from them by random
// changes, the same on every machine. This is what the tests run, with any
// compiler; scripts/fuzz.sh runs the same targets under libFuzzer, which knows
// what a change reached.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include <algorithm>
#include <cstdio>
#include <random>

namespace fs = std::filesystem;

static std::string readWhole(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

static void run(const std::string &input) {
  // A copy of exact size, so that sanitizers see a read past the end.
  std::vector<uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

namespace {
class Mutator {
public:
  explicit Mutator(const std::vector<std::string> &seeds) : seeds_(seeds) {}

  std::string next() {
    std::string text = seeds_[below(seeds_.size())];
    for (size_t changes = 1 + below(4); changes > 0; --changes)
      change(text);
    return text;
  }

private:
  size_t below(size_t n) { return n ? static_cast<size_t>(random_() % n) : 0; }

  void change(std::string &text) {
    static const std::string words[] = {
        // JSON and YAML
        "0", "-1", "18446744073709551616", "1e999", "null", "{", "}", "[[[[[[[[", "]", "\"", "'", "\\u12",
        ",", ": ", "- ", "? ", "&a ", "*a", "|", ">", "!!x ", "%", "---\n", "<<: ", "#", "\n  ", "\t", "\r\n",
        "model:",
        // bytes
        "\xff", "\xc3\xa9", "../", std::string(4, '\0'), std::string(8, '\xff')};
    size_t place = below(text.size() + 1);
    switch (below(6)) {
    case 0: // a bit
      if (place < text.size())
        text[place] = static_cast<char>(text[place] ^ 1 << below(8));
      break;
    case 1: // a byte
      if (place < text.size())
        text[place] = static_cast<char>(below(256));
      break;
    case 2: // less
      text.erase(place, 1 + below(std::max<size_t>(8, text.size() / 4)));
      break;
    case 3: // a word
      text.insert(place, words[below(std::size(words))]);
      break;
    case 4: { // a piece of an input
      const std::string &other = seeds_[below(seeds_.size())];
      text.insert(place, other.substr(below(other.size() + 1), 1 + below(64)));
      break;
    }
    case 5: { // an aligned integer of the extremes
      static const uint64_t values[] = {
          0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, ~uint64_t(0)};
      size_t width = size_t(1) << below(4);
      if (text.size() >= width) {
        uint64_t value = values[below(std::size(values))];
        place = below(text.size() - width + 1) / width * width;
        text.replace(place, width, std::string(reinterpret_cast<const char *>(&value), width));
      }
      break;
    }
    }
  }

  const std::vector<std::string> &seeds_;
  std::mt19937_64 random_{20261123};
};
} // namespace

int main(int argc, char **argv) {
  long rounds = 0;
  std::vector<fs::path> paths;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.rfind("--rounds=", 0) == 0)
      rounds = std::strtol(argument.c_str() + 9, nullptr, 10);
    else if (fs::is_directory(argument))
      for (const auto &entry : fs::directory_iterator(argument))
        paths.push_back(entry.path());
    else
      paths.push_back(argument);
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const fs::path &path : paths) {
    if (!fs::is_regular_file(path)) {
      std::fprintf(stderr, "error: %s is no file\n", path.c_str());
      return 2;
    }
    seeds.push_back(readWhole(path));
    run(seeds.back());
  }
  if (seeds.empty()) {
    std::fprintf(stderr, "usage: %s [--rounds=N] FILE|FOLDER ...\nerror: no inputs\n", argv[0]);
    return 2;
  }
  Mutator mutator(seeds);
  for (long round = 0; round < rounds; ++round)
    run(mutator.next());
  std::printf("%zu inputs and %ld changed ones: no crash\n", seeds.size(), rounds);
}
