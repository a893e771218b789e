//===- char_tokenizer.cpp - One token per character, or per byte ------------===//
#include "data/tokenizer.h"

#include "data/utf8.h"

#include <algorithm>
#include <cstdio>

namespace txc::data {

using Json = nlohmann::ordered_json;

static Status invalidUtf8(std::string_view text, size_t offset) {
  char shown[8];
  std::snprintf(shown, sizeof(shown), "0x%02x", static_cast<unsigned char>(text[offset]));
  return Status::failed(
      "byte " + std::to_string(offset) + ": " + shown +
      " is not valid UTF-8 there; convert the text, or use --tokenizer=byte, which takes any bytes");
}

namespace {

class CharTokenizer : public Tokenizer {
public:
  explicit CharTokenizer(std::vector<uint32_t> characters) : characters_(std::move(characters)) {
    tokens_.assign(characters_.empty() ? 0 : characters_.back() + 1, absent);
    for (size_t token = 0; token < characters_.size(); ++token)
      tokens_[characters_[token]] = static_cast<uint32_t>(token);
  }

  std::string kind() const override { return "char"; }
  uint32_t vocabSize() const override { return static_cast<uint32_t>(characters_.size()); }
  bool needsUtf8() const override { return true; }

  Json describe() const override {
    std::string all;
    for (uint32_t character : characters_)
      appendCharacter(all, character);
    return {{"kind", "char"}, {"characters", all}};
  }

  Result<std::vector<uint32_t>> encode(std::string_view text) const override {
    std::vector<uint32_t> out;
    out.reserve(text.size());
    uint32_t character;
    for (size_t offset = 0; offset < text.size();) {
      size_t length = decodeCharacter(text, offset, character);
      if (length == 0)
        return invalidUtf8(text, offset);
      uint32_t token = character < tokens_.size() ? tokens_[character] : absent;
      if (token == absent) {
        char name[16];
        std::snprintf(name, sizeof(name), "U+%04X", character);
        return Status::failed("byte " + std::to_string(offset) + ": character " + name +
                              " is not one of the vocabulary's " + std::to_string(characters_.size()));
      }
      out.push_back(token);
      offset += length;
    }
    return out;
  }

  Result<std::string> decode(const std::vector<uint32_t> &tokens) const override {
    std::string out;
    for (uint32_t token : tokens) {
      if (token >= characters_.size())
        return Status::failed("token " + std::to_string(token) + ": the vocabulary has " +
                              std::to_string(characters_.size()) + " characters");
      appendCharacter(out, characters_[token]);
    }
    return out;
  }

private:
  static constexpr uint32_t absent = UINT32_MAX;
  std::vector<uint32_t> characters_; // by token, ascending
  std::vector<uint32_t> tokens_;     // by character
};

class ByteTokenizer : public Tokenizer {
public:
  std::string kind() const override { return "byte"; }
  uint32_t vocabSize() const override { return 256; }
  bool needsUtf8() const override { return false; }
  Json describe() const override { return {{"kind", "byte"}}; }

  Result<std::vector<uint32_t>> encode(std::string_view text) const override {
    std::vector<uint32_t> out(text.size());
    std::transform(text.begin(), text.end(), out.begin(),
                   [](char byte) { return static_cast<uint8_t>(byte); });
    return out;
  }

  Result<std::string> decode(const std::vector<uint32_t> &tokens) const override {
    std::string out;
    for (uint32_t token : tokens) {
      if (token >= 256)
        return Status::failed("token " + std::to_string(token) + ": expected a byte, below 256");
      out += static_cast<char>(token);
    }
    return out;
  }
};

} // namespace

Result<TokenizerPtr> makeCharTokenizer(std::string_view text) {
  std::vector<bool> present(0x110000);
  uint32_t character;
  for (size_t offset = 0; offset < text.size();) {
    size_t length = decodeCharacter(text, offset, character);
    if (length == 0)
      return invalidUtf8(text, offset);
    present[character] = true;
    offset += length;
  }
  std::vector<uint32_t> characters;
  for (uint32_t i = 0; i < present.size(); ++i)
    if (present[i])
      characters.push_back(i);
  return TokenizerPtr(std::make_shared<CharTokenizer>(std::move(characters)));
}

TokenizerPtr makeByteTokenizer() { return std::make_shared<ByteTokenizer>(); }

} // namespace txc::data
