//===- word_splitter.cpp - Where BPE may not merge across -------------------===//
#include "data/word_splitter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <memory>
#include <string>

namespace txc::data {

// GPT-2's regular expression. `\s` is spelled by its Unicode property, since
// PCRE2's own \s takes in U+180E, which has not been white space since Unicode 6.3.
static const char pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d)"
                              R"(| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+)"
                              R"(|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+)";

static std::string errorText(int code) {
  char text[256];
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR *>(text), sizeof(text));
  return text;
}

Status splitWords(std::string_view text, const std::function<void(std::string_view)> &word) {
  int error = 0;
  PCRE2_SIZE where = 0;
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), sizeof(pattern) - 1, PCRE2_UTF | PCRE2_UCP, &error,
                    &where, nullptr),
      pcre2_code_free);
  if (!code)
    return Status(Code::Device, "PCRE2 refuses GPT-2's pattern at character " + std::to_string(where) + ": " +
                                    errorText(error) + "; PCRE2 10.40 or newer is needed");
  // Without JIT the interpreter does the same, slower.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code.get(), nullptr), pcre2_match_data_free);
  auto *subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  for (size_t offset = 0; offset < text.size();) {
    int count = pcre2_match(code.get(), subject, text.size(), offset, PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED,
                            match.get(), nullptr);
    PCRE2_SIZE *range = pcre2_get_ovector_pointer(match.get());
    if (count < 0 || range[1] <= offset)
      return Status(Code::Device,
                    "byte " + std::to_string(offset) + ": PCRE2 cannot split the text: " + errorText(count));
    word(text.substr(offset, range[1] - offset));
    offset = range[1];
  }
  return Status();
}

} // namespace txc::data
