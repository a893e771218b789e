//===- ReadYaml.h - YAML text to a tree with places -------------*- C++ -*-===//
//
// The subset of YAML that specs use. yaml-cpp scans and parses; its exceptions
// end here.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_LIB_IMPORT_READYAML_H
#define TXC_LIB_IMPORT_READYAML_H

#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace txc::import {

// 1-based; columns count bytes.
struct YamlPlace {
  unsigned line = 1, column = 1;
};

struct YamlNode {
  enum Kind { Nothing, Scalar, Sequence, Map } kind = Nothing;
  YamlPlace place;
  std::string text;               // of a scalar
  bool quoted = false;            // the scalar was in quotes or a block
  std::vector<YamlNode> children; // items; of a map: key, value, key, value ...
};

struct YamlFailure {
  YamlPlace place;
  std::string message;
};

// True on success. `text` must be UTF-8 without NUL. Nesting deeper than 64,
// aliases, anchors, tags and a second document fail.
bool readYaml(llvm::StringRef text, YamlNode &root, YamlFailure &failure);

} // namespace txc::import

#endif // TXC_LIB_IMPORT_READYAML_H
