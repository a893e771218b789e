//===- sampler.cpp - Draw tokens from logits -------------------------------===//
#include "sample/sampler.h"

#include "support/philox.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace txc {

static double uniform(uint64_t key, uint64_t text, uint64_t index) {
  PhiloxBlock words =
      philox4x32({uint32_t(index), uint32_t(index >> 32), uint32_t(text), uint32_t(text >> 32)}, key);
  return static_cast<double>(uint64_t(words[0]) << 21 | words[1] >> 11) * 0x1p-53;
}

double sampleUniform(uint64_t seed, uint64_t text, uint64_t index) {
  return uniform(streamKey(seed, static_cast<uint64_t>(Stream::Sample)), text, index);
}

Sampler::Sampler(const SamplerOptions &options, uint32_t vocabulary)
    : options_(options), key_(streamKey(options.seed, static_cast<uint64_t>(Stream::Sample))),
      kept_(vocabulary), weights_(vocabulary) {}

std::optional<uint32_t> Sampler::draw(const float *logits, uint64_t text, uint64_t index) {
  const size_t vocabulary = weights_.size();
  if (!std::all_of(logits, logits + vocabulary, [](float x) { return std::isfinite(x); }))
    return std::nullopt;
  // max_element takes the first of equal ones.
  const auto best = static_cast<uint32_t>(std::max_element(logits, logits + vocabulary) - logits);
  if (options_.temperature == 0)
    return best;

  kept_.resize(vocabulary);
  std::iota(kept_.begin(), kept_.end(), 0);
  if (options_.topK > 0 && static_cast<uint64_t>(options_.topK) < vocabulary) {
    std::nth_element(kept_.begin(), kept_.begin() + options_.topK, kept_.end(), [&](uint32_t a, uint32_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    kept_.resize(options_.topK);
    std::sort(kept_.begin(), kept_.end());
  }
  double total = 0;
  for (size_t i = 0; i < kept_.size(); ++i) {
    double difference = static_cast<double>(logits[kept_[i]]) - static_cast<double>(logits[best]);
    total += weights_[i] = std::exp(difference / options_.temperature);
  }
  const double target = uniform(key_, text, index) * total;
  double sum = 0;
  for (size_t i = 0; i < kept_.size(); ++i)
    if ((sum += weights_[i]) > target)
      return kept_[i];
  return best; // unreachable: u < 1, and the sums are made in one order
}

} // namespace txc
