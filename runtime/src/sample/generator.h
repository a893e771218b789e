//===- generator.h - Text from a model -------------------------------------===//
//
// The prompt goes through `decode` token by token, then each token that is drawn.
// When the context of block_size tokens is full, decoding starts over from the
// last half of it, so a text may be of any length at about twice the cost per
// token. Of a prompt longer than the context its last block_size tokens count.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_SAMPLE_GENERATOR_H
#define TXC_RUNTIME_SAMPLE_GENERATOR_H

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "sample/decoder.h"
#include "train/options.h"

#include <functional>
#include <string>
#include <vector>

namespace txc {

// One generated text.
struct SampleFacts {
  int64_t iteration = 0; // updates that the model has had
  int64_t number = 0;    // of the text, from 0
  std::string prompt, text;
  int64_t promptTokens = 0, tokens = 0;
  double promptSeconds = 0;     // until the first token could be drawn
  double tokensPerSecond = 0;   // after that, over all texts side by side
  bool promptShortened = false; // the prompt is longer than the context
};

class Generator {
public:
  // Reads and encodes the prompt, so that what is wrong with it shows before
  // training begins.
  static Result<std::unique_ptr<Generator>>
  create(const StepFile &step, Device &device, const data::TokenDataset &dataset, const RunOptions &options);

  struct Listener {
    std::function<int()> signal;                    // not 0: stop
    std::function<void(const SampleFacts &)> begin; // number, prompt and iteration are known
    // More of the text that was begun, in whole characters.
    std::function<void(const std::string &)> more;
    std::function<Status(const SampleFacts &)> end;
  };
  // Generates num_samples texts, which are told one after the other. The first of
  // those that are made side by side comes as it is made.
  Status generate(int64_t iteration, const Listener &listener);

private:
  Generator(const StepFile &step, Device &device, const RunOptions &options)
      : step_(step), options_(options), decoder_(step, device) {}
  Status generateGroup(int64_t iteration, int64_t first, int64_t count, const Listener &listener);
  // Runs tokens [begin, end) of all histories at positions from 0; `end - begin`
  // is the position after them.
  Status prefill(const std::vector<std::vector<uint32_t>> &histories, size_t begin,
                 const std::function<int()> &signal);
  Status dumpLogits();

  const StepFile &step_;
  const RunOptions &options_;
  Decoder decoder_;
  data::TokenizerPtr tokenizer_;
  std::string prompt_;
  std::vector<uint32_t> promptTokens_;
  uint32_t vocabulary_ = 0;
  int64_t dumped_ = 0;
};

} // namespace txc

#endif // TXC_RUNTIME_SAMPLE_GENERATOR_H
