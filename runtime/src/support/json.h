//===- json.h - JSON from files that are not trusted ------------------------===//
//
// The one place where the runtime parses JSON. The library's parser throws for
// some texts even when told not to (a number beyond any double is one), and
// builds nests of any depth, over which its own recursive functions overflow
// the stack.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_SUPPORT_JSON_H
#define TXC_RUNTIME_SUPPORT_JSON_H

#include "support/status.h"

#include <nlohmann/json.hpp>

#include <string_view>

namespace txc {

// The value that `text` is; `maxDepth` is how far arrays and objects may be nested
// in each other. The message of a failure is what is wrong, for the caller to
// add the file and the remedy: "not valid JSON at line 3, column 17".
Result<nlohmann::ordered_json> parseJson(std::string_view text, int maxDepth = 32);

// Likewise, for objects of many keys, whose order is lost: looking up a key of an
// ordered object reads all keys before it.
Result<nlohmann::json> parseUnorderedJson(std::string_view text, int maxDepth = 32);

} // namespace txc

#endif // TXC_RUNTIME_SUPPORT_JSON_H
