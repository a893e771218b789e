//===- utf8.h - Characters of UTF-8 text ------------------------------------===//
#ifndef TXC_RUNTIME_DATA_UTF8_H
#define TXC_RUNTIME_DATA_UTF8_H

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace txc::data {

// Decodes the character at `offset`; returns its length in bytes, 0 if the
// bytes there are not valid UTF-8 (overlong forms and surrogates are not).
size_t decodeCharacter(std::string_view text, size_t offset, uint32_t &codePoint);

void appendCharacter(std::string &text, uint32_t codePoint);

// Offset of the first byte that does not begin or continue a valid character.
std::optional<size_t> findInvalidUtf8(std::string_view text);

// Bytes that come in pieces, as whole characters. What can be part of no
// character becomes U+FFFD.
class Utf8Stream {
public:
  // The characters that are complete now.
  std::string push(std::string_view bytes);
  // What is left when no more bytes come.
  std::string finish();

private:
  std::string take(bool atEnd);
  std::string pending_;
};

// Of valid text only.
size_t countCharacters(std::string_view text);

// Offset of character number `index` of valid text; its size if it has fewer.
size_t offsetOfCharacter(std::string_view text, size_t index);

} // namespace txc::data

#endif // TXC_RUNTIME_DATA_UTF8_H
