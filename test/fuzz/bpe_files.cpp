//===- bpe_files.cpp - vocab.bpe and encoder.json ---------------------------===//
//
// Parts of an input: vocab.bpe, encoder.json, a text to encode.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include "data/tokenizer.h"

using namespace txc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<std::string_view> parts = fuzz::split(fuzz::asText(data, size), 3);
  data::Gpt2Files files;
  files.vocabBpe = parts[0];
  files.encoderJson = parts[1];
  auto tokenizer = data::makeGpt2Tokenizer(files);
  fuzz::checkSays(tokenizer);
  if (!tokenizer.ok())
    return 0;
  auto tokens = (*tokenizer)->encode(parts[2]);
  fuzz::checkSays(tokens);
  if (!tokens.ok())
    return 0;
  auto text = (*tokenizer)->decode(*tokens);
  if (!text.ok() || *text != parts[2])
    std::abort();
  return 0;
}
