//===- sidecar.cpp - meta.json of a data set, tokenizer included ------------===//
#include "fuzz.h"

#include "data/sidecar.h"
#include "data/tokenizer.h"

using namespace txc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto sidecar = data::Sidecar::parse(std::string(fuzz::asText(data, size)), "meta.json");
  fuzz::checkSays(sidecar);
  if (!sidecar.ok())
    return 0;
  (void)sidecar->tokenizerKind();
  // What is written is read again.
  if (!data::Sidecar::parse(sidecar->toJson(), "meta.json").ok())
    std::abort();
  auto noFiles = []() -> Result<data::Gpt2Files> { return Status::failed("no BPE files here"); };
  auto tokenizer = data::makeDescribedTokenizer(sidecar->tokenizer, "meta.json", noFiles);
  fuzz::checkSays(tokenizer);
  if (!tokenizer.ok())
    return 0;
  auto tokens = (*tokenizer)->encode("To be, or not to be\n\xc3\xa9 1234");
  fuzz::checkSays(tokens);
  if (tokens.ok())
    fuzz::checkSays((*tokenizer)->decode(*tokens));
  return 0;
}
