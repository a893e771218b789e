//===- sidecar.h - meta.json, the description of a data set -----------------===//
//
// docs/data.md has the keys. Only `dtype` and `vocab_size` are required, so
// that a line written by hand describes token files made elsewhere.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DATA_SIDECAR_H
#define TXC_RUNTIME_DATA_SIDECAR_H

#include "support/status.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace txc::data {

inline constexpr const char *sidecarName = "meta.json";

enum class TokenFormat { Raw, LlmC };

struct SplitInfo {
  std::string file; // a name in the data set's folder
  uint64_t tokens = 0;
  std::string sha256;
};

struct SourceInfo {
  std::string name;
  uint64_t bytes = 0;
  std::string sha256;
  bool fallback = false; // the built-in corpus stands in for what was asked
};

struct Sidecar {
  std::optional<TokenFormat> format;
  std::string dtype;
  uint32_t vocabSize = 0;
  nlohmann::ordered_json tokenizer; // null, or an object with `kind`
  std::optional<SplitInfo> train, val;
  std::optional<SourceInfo> source;
  std::optional<double> valFraction;

  std::string tokenizerKind() const;
  std::string toJson() const;
  // `path` is for messages.
  static Result<Sidecar> parse(const std::string &text, const std::string &path);
  // Nothing if `directory` has no sidecar.
  static Result<std::optional<Sidecar>> readFrom(const std::string &directory);
};

const char *formatName(TokenFormat format);

} // namespace txc::data

#endif // TXC_RUNTIME_DATA_SIDECAR_H
