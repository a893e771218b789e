//===- spec.cpp - The YAML front end ----------------------------------------===//
#include "fuzz.h"

#include "txc/Import/Spec.h"

using namespace txc;

// Lines of the first part that begin with "--" are overrides "--key=value".
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  std::vector<import::Override> overrides;
  while (text.consume_front("--")) {
    auto [line, rest] = text.split('\n');
    auto [key, value] = line.split('=');
    overrides.push_back({key.str(), value.str()});
    text = rest;
  }
  import::Spec spec;
  std::string errors;
  llvm::raw_string_ostream os(errors);
  bool good = import::parseSpec(text, "none/spec.yaml", overrides, os, spec) == import::LoadStatus::Ok;
  if (good != errors.empty())
    std::abort();
  if (good)
    (void)(spec.architectureName() + std::string(llvm::formatv("{0}", llvm::json::Value(spec.toJson()))));
  return 0;
}
