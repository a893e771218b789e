//===- prepare.h - Make a data set from a text ------------------------------===//
#ifndef TXC_RUNTIME_DATA_PREPARE_H
#define TXC_RUNTIME_DATA_PREPARE_H

#include "data/dataset.h"
#include "data/sidecar.h"
#include "data/tokenizer.h"

#include <optional>
#include <string>
#include <vector>

namespace txc::data {

struct PrepareOptions {
  std::string what;                  // a name of preparedNames(), or a text file
  std::string tokenizer;             // char, byte, gpt2, bpe; "" takes the name's, char for a file
  std::string out;                   // "" is data/NAME
  double valFraction = 0.1;          // of the characters, from the end of the text
  std::string source;                // a local copy of the text that a name stands for
  std::string bpeDir;                // folder with vocab.bpe and encoder.json
  std::optional<uint32_t> vocabSize; // of a bpe tokenizer; 1024 if not given
  bool allowFallback = false;        // the built-in corpus may stand in for a named text
};

struct Prepared {
  std::string directory;
  Sidecar sidecar;
  bool upToDate = false; // it was there already
  std::string warning;   // why the built-in corpus was taken, else ""
};

std::vector<std::string> preparedNames();
std::vector<std::string> tokenizerKinds();

// Writes train.bin, val.bin and meta.json into a new folder and renames it, so
// that the data set is there whole or not at all. Replaces an earlier data set
// of this kind; refuses a folder with other content. Does nothing if the data
// set is there and its hashes are right.
Result<Prepared> prepare(const PrepareOptions &options);

struct DescribeOptions {
  std::string directory;
  std::string dtype; // uint16 or uint32; may be "" for llm.c's files
  uint32_t vocabSize = 0;
  std::string tokenizer; // "", byte or gpt2: those that need no more than their name
};

// Writes the sidecar of token files made elsewhere, after checking every token.
Result<Sidecar> describe(const DescribeOptions &options);

// What made the tokens of an open data set, from its sidecar. For gpt2, `bpeDir` is
// the folder of its files, looked for if it is "".
Result<TokenizerPtr> tokenizerOf(const TokenDataset &dataset, const std::string &bpeDir);

// The text of tokens [begin, begin + count) of split "train" or "val".
Result<std::string> decodeTokens(const std::string &nameOrDir, const std::string &split, uint64_t begin,
                                 uint64_t count, const std::string &bpeDir);

struct SplitFacts {
  std::string path;
  uint64_t tokens = 0;
  std::string format;
};

struct Inspection {
  std::string directory;
  Sidecar sidecar;
  SplitFacts train, val;
};

// Opens a data set, with all of open()'s checks, and compares its files with
// the hashes of the sidecar.
Result<Inspection> inspect(const std::string &nameOrDir);

} // namespace txc::data

#endif // TXC_RUNTIME_DATA_PREPARE_H
