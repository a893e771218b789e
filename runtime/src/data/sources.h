//===- sources.h - Public files that data sets are made from ----------------===//
#ifndef TXC_RUNTIME_DATA_SOURCES_H
#define TXC_RUNTIME_DATA_SOURCES_H

#include "data/tokenizer.h"
#include "support/status.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace txc::data {

// A file whose content is known by its hash, wherever it comes from.
struct PinnedFile {
  const char *title;
  const char *cacheName; // below cacheDirectory()
  const char *url;
  const char *sha256;
  uint64_t bytes;
};

extern const PinnedFile tinyShakespeare;
extern const PinnedFile gpt2VocabBpe;
extern const PinnedFile gpt2EncoderJson;

// Reads tiny Shakespeare: from `given` if that is not empty, else from the file
// TXC_TINYSHAKESPEARE names, else from the cache, else from the network into
// the cache. A copy that is not the pinned file is an error, not passed over.
Result<std::string> obtainTinyShakespeare(const std::string &given);

// Likewise vocab.bpe and encoder.json, from the folder `given`, the folder that
// TXC_GPT2_BPE_DIR names, the cache or the network.
Result<Gpt2Files> obtainGpt2Files(const std::string &given);

// The project's own text, datasets/corpus.txt, part of the program.
extern const char *const builtInCorpusName;
std::string_view builtInCorpus();

} // namespace txc::data

#endif // TXC_RUNTIME_DATA_SOURCES_H
