//===- tokenizer.h - Text to tokens and back --------------------------------===//
//
// char   one token per character: the sorted code points of a text
// byte   one token per byte, 256 of them
// gpt2   OpenAI's byte-level BPE, from its files vocab.bpe and encoder.json
// bpe    the same scheme with merges learned from a text
//
// Each describes itself in the sidecar of a data set, from which it is made
// again for decoding.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DATA_TOKENIZER_H
#define TXC_RUNTIME_DATA_TOKENIZER_H

#include "support/status.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace txc::data {

class Tokenizer {
public:
  virtual ~Tokenizer() = default;
  virtual std::string kind() const = 0;
  virtual uint32_t vocabSize() const = 0;
  // The `tokenizer` object of the sidecar.
  virtual nlohmann::ordered_json describe() const = 0;
  // The message of a failure begins with "byte N: ", an offset in `text`.
  virtual Result<std::vector<uint32_t>> encode(std::string_view text) const = 0;
  // Any sequence of tokens below vocabSize() is some sequence of bytes; a part
  // of a text's tokens may begin or end within a character.
  virtual Result<std::string> decode(const std::vector<uint32_t> &tokens) const = 0;
  // Whether encode() takes only valid UTF-8.
  virtual bool needsUtf8() const = 0;
};

using TokenizerPtr = std::shared_ptr<const Tokenizer>;

// All characters of `text`, in the order of their code points.
Result<TokenizerPtr> makeCharTokenizer(std::string_view text);

TokenizerPtr makeByteTokenizer();

// OpenAI's two files and what to call them in messages.
struct Gpt2Files {
  std::string vocabBpe, encoderJson;
  std::string vocabBpePath = "vocab.bpe", encoderJsonPath = "encoder.json";
};
Result<TokenizerPtr> makeGpt2Tokenizer(const Gpt2Files &files);

// Learns vocabSize - 256 merges. Deterministic: the most frequent pair is
// merged, of equally frequent ones the pair of the lowest token numbers.
// Fails if fewer pairs occur twice, naming the largest possible vocabulary.
Result<TokenizerPtr> trainBpeTokenizer(std::string_view text, uint32_t vocabSize);

// What `describe()` gave. `readGpt2Files` is called for kind gpt2, which
// describes its files by their hashes. `path` is for messages.
Result<TokenizerPtr> makeDescribedTokenizer(const nlohmann::ordered_json &description,
                                            const std::string &path,
                                            const std::function<Result<Gpt2Files>()> &readGpt2Files);

} // namespace txc::data

#endif // TXC_RUNTIME_DATA_TOKENIZER_H
