//===- text.h - Numbers as people write and read them ----------------------===//
#ifndef TXC_RUNTIME_SUPPORT_TEXT_H
#define TXC_RUNTIME_SUPPORT_TEXT_H

#include "support/status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace txc {

// printf into a string.
std::string format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

// 21943 -> "21,943".
std::string withCommas(uint64_t value);

// 6.4e9 -> "6.40 G", with a metric prefix and `digits` decimals; below 1000 no
// prefix.
std::string withPrefix(double value, int digits = 2);

// Bytes in decimal units: "2.34 GB".
std::string bytesText(uint64_t bytes);

// Two lower-case hexadecimal digits for each byte, and back: false if `text` has another
// length. What is no digit reads as 0.
std::string bytesToHex(const void *bytes, size_t size);
bool bytesFromHex(const std::string &text, void *bytes, size_t size);

// Values of options. 1e3 and 1_000 are whole numbers; true, True, yes, on and 1
// are true. The message says what was expected.
Result<int64_t> parseWholeNumber(std::string_view text);
Result<double> parseNumber(std::string_view text);
Result<bool> parseTruth(std::string_view text);

// The element of `names` with the least edit distance to `name`, or "" if none
// is near enough to be a typo of it.
std::string nearestName(std::string_view name, const std::vector<std::string> &names);

} // namespace txc

#endif // TXC_RUNTIME_SUPPORT_TEXT_H
