//===- sampler.h - Draw tokens from logits ---------------------------------===//
//
// A drawn token is a function of (logits, options, seed, text, index) alone, so
// texts repeat, and text n is the same however many are made and side by side
// with which others.
//
// 1. Top-k: the k largest logits stay; of equal ones those of the lowest token
//    numbers, so that exactly k stay.
// 2. p[i] = exp((logit[i] - largest) / temperature), in double precision.
// 3. The inverse of the cumulative distribution, in the order of token numbers:
//    the first token at which the sum of p exceeds u times the sum of all.
//
// u has 53 bits: words 0 and 1 of the Philox block that support/philox.h lists
// for samples. Temperature 0 takes the largest logit, of equal ones the lowest
// token number, and no random number.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_SAMPLE_SAMPLER_H
#define TXC_RUNTIME_SAMPLE_SAMPLER_H

#include <cstdint>
#include <optional>
#include <vector>

namespace txc {

struct SamplerOptions {
  double temperature = 1;
  int64_t topK = 0; // 0: all
  uint64_t seed = 0;
};

class Sampler {
public:
  // Draws tokens below `vocabulary` only.
  Sampler(const SamplerOptions &options, uint32_t vocabulary);

  // Token number `index` (from 0) of text `text`. Nothing if a logit is not
  // finite: the model is broken.
  std::optional<uint32_t> draw(const float *logits, uint64_t text, uint64_t index);

private:
  SamplerOptions options_;
  uint64_t key_;
  std::vector<uint32_t> kept_; // tokens, scratch
  std::vector<double> weights_;
};

// Uniform in [0, 1), for token `index` of text `text`.
double sampleUniform(uint64_t seed, uint64_t text, uint64_t index);

} // namespace txc

#endif // TXC_RUNTIME_SAMPLE_SAMPLER_H
