//===- utf8.cpp - Characters of UTF-8 text ----------------------------------===//
#include "data/utf8.h"

namespace txc::data {

size_t decodeCharacter(std::string_view text, size_t offset, uint32_t &codePoint) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[offset + i]); };
  uint8_t lead = byte(0);
  if (lead < 0x80) {
    codePoint = lead;
    return 1;
  }
  size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  // 0x80-0xc1 continue or are overlong; above 0xf4 lies beyond Unicode.
  if (lead < 0xc2 || lead > 0xf4 || text.size() - offset < length)
    return 0;
  uint32_t value = lead & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80)
      return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  static constexpr uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
    return 0;
  codePoint = value;
  return length;
}

void appendCharacter(std::string &text, uint32_t codePoint) {
  auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (codePoint < 0x80)
    return put(codePoint);
  if (codePoint < 0x800) {
    put(0xc0 | codePoint >> 6);
  } else {
    if (codePoint < 0x10000) {
      put(0xe0 | codePoint >> 12);
    } else {
      put(0xf0 | codePoint >> 18);
      put(0x80 | (codePoint >> 12 & 0x3f));
    }
    put(0x80 | (codePoint >> 6 & 0x3f));
  }
  put(0x80 | (codePoint & 0x3f));
}

std::optional<size_t> findInvalidUtf8(std::string_view text) {
  uint32_t codePoint;
  for (size_t offset = 0; offset < text.size();) {
    size_t length = decodeCharacter(text, offset, codePoint);
    if (length == 0)
      return offset;
    offset += length;
  }
  return std::nullopt;
}

static bool continues(char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; }

// Whether `text`, which is no character, could become one with more bytes.
static bool mayContinue(std::string_view text) {
  auto lead = static_cast<uint8_t>(text[0]);
  size_t length = lead < 0xc2 || lead > 0xf4 ? 0 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (text.size() >= length)
    return false;
  for (size_t i = 1; i < text.size(); ++i)
    if (!continues(text[i]))
      return false;
  return true;
}

std::string Utf8Stream::take(bool atEnd) {
  std::string out;
  size_t offset = 0;
  for (uint32_t codePoint; offset < pending_.size();) {
    size_t length = decodeCharacter(pending_, offset, codePoint);
    if (length == 0 && !atEnd && mayContinue(std::string_view(pending_).substr(offset)))
      break;
    appendCharacter(out, length == 0 ? 0xfffd : codePoint);
    offset += length == 0 ? 1 : length;
  }
  pending_.erase(0, offset);
  return out;
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  return take(/*atEnd=*/false);
}

std::string Utf8Stream::finish() { return take(/*atEnd=*/true); }

size_t countCharacters(std::string_view text) {
  size_t count = 0;
  for (char byte : text)
    count += !continues(byte);
  return count;
}

size_t offsetOfCharacter(std::string_view text, size_t index) {
  size_t seen = 0;
  for (size_t offset = 0; offset < text.size(); ++offset)
    if (!continues(text[offset]) && seen++ == index)
      return offset;
  return text.size();
}

} // namespace txc::data
