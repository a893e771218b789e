//===- word_splitter.h - Where BPE may not merge across ---------------------===//
#ifndef TXC_RUNTIME_DATA_WORD_SPLITTER_H
#define TXC_RUNTIME_DATA_WORD_SPLITTER_H

#include "support/status.h"

#include <functional>
#include <string_view>

namespace txc::data {

// Calls `word` with consecutive pieces of `text`, which must be valid UTF-8.
// Together they are the text. GPT-2's rule: contractions of English; a space
// goes with the letters, digits or signs that follow it.
Status splitWords(std::string_view text, const std::function<void(std::string_view)> &word);

} // namespace txc::data

#endif // TXC_RUNTIME_DATA_WORD_SPLITTER_H
