//===- dataset.h - Token files and batches of them -------------------------===//
//
// A data set is a folder with train.bin and val.bin and a sidecar that names
// their dtype, vocabulary and tokenizer. Files stay open and are read where they
// are needed; they are not mapped, since a mapped file that is cut off, or whose
// disk fails, would end the process.
//
// A batch is a function of (seed, stream, step) alone, so that runs repeat to
// the bit, accumulation does not change the order, and evaluation does not
// disturb training.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DATA_DATASET_H
#define TXC_RUNTIME_DATA_DATASET_H

#include "support/status.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace txc::data {

// One token file.
class TokenSplit {
public:
  // 0 if this is no split of an open data set; then only size() may be asked.
  uint64_t size() const;
  // Reads tokens [begin, begin + count). Fails if the file is no more what it was
  // when it was opened: all tokens read are below the vocabulary.
  Status read(uint64_t begin, uint64_t count, int32_t *out) const;
  // The file; "uint16" or "uint32"; "raw" or "llm.c".
  const std::string &path() const;
  std::string dtype() const;
  std::string format() const;

private:
  friend class TokenDataset;
  struct File;
  std::shared_ptr<const File> file_;
};

struct OpenOptions {
  // "uint16" or "uint32", for token files without a sidecar; must agree with
  // the sidecar if there is one. Never guessed.
  std::string dtype;
  // Likewise; 0 takes the sidecar's.
  uint32_t vocabSize = 0;
  // Folders in which NAME is looked up, in order, after NAME as a path itself
  // and before TXC_DATA_DIR, ./data and the user's cache.
  std::vector<std::string> searchPath;
};

class TokenDataset {
public:
  // Opens both splits and reads every token once: when this succeeds, all
  // tokens are below vocabSize().
  static Result<TokenDataset> open(const std::string &nameOrDir, const OpenOptions &options);
  const TokenSplit &train() const { return train_; }
  const TokenSplit &val() const { return val_; }
  uint32_t vocabSize() const { return vocabSize_; }
  std::string tokenizerName() const { return tokenizerName_; }
  const std::string &directory() const { return directory_; }

private:
  TokenSplit train_, val_;
  uint32_t vocabSize_ = 0;
  std::string tokenizerName_, directory_;
};

// Where NAME would be looked for, in order; docs/data.md documents it.
std::vector<std::string> datasetCandidates(const std::string &nameOrDir, const OpenOptions &options);

// $XDG_CACHE_HOME/txc, or ~/.cache/txc; "" if there is no home.
std::string cacheDirectory();

// Fills tokens and targets, both [batch, block], with windows of `split` that
// start at random places; targets are the tokens one later. `stream` keeps
// users of one seed apart (training, evaluation of train, of val).
Status sampleBatch(const TokenSplit &split, uint64_t seed, uint64_t stream, uint64_t step, int64_t batch,
                   int64_t block, int32_t *tokens, int32_t *targets);

// Fails if the data set has tokens that a model of `vocab` tokens lacks, or a
// split shorter than block + 1 tokens.
Status checkFits(const TokenDataset &dataset, int64_t vocab, int64_t block);

} // namespace txc::data

#endif // TXC_RUNTIME_DATA_DATASET_H
