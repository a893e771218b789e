//===- explain.cpp - What the compiler reads of a step.so -------------------===//
#include "fuzz.h"

#include "txc/Link/Link.h"

#include "llvm/Support/JSON.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  llvm::Expected<std::string> metadata = txc::link::readMetadata(llvm::MemoryBufferRef(bytes, "step.so"));
  if (!metadata) {
    if (llvm::toString(metadata.takeError()).empty())
      std::abort();
    return 0;
  }
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(*metadata);
  if (!value)
    llvm::consumeError(value.takeError());
  return 0;
}
