//===- schedule.cpp - Learning rate and hyperparameters of an update -------===//
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace txc {

double learningRateAt(const RunOptions &options, int64_t iteration) {
  const double peak = options.learning_rate, floor = options.min_lr;
  const int64_t warmup = options.warmup_iters, end = options.lr_decay_iters;
  if (iteration < warmup)
    return peak * static_cast<double>(iteration + 1) / static_cast<double>(warmup + 1);
  int64_t begin = warmup;
  switch (options.schedule) {
  case run::Schedule::Constant:
    return peak;
  case run::Schedule::Wsd:
    begin = std::max(warmup, end - end / 5);
    break;
  case run::Schedule::Cosine:
  case run::Schedule::Linear:
    break;
  }
  if (iteration >= end)
    return floor;
  if (iteration <= begin)
    return peak;
  double done = static_cast<double>(iteration - begin) / static_cast<double>(end - begin);
  double share =
      options.schedule == run::Schedule::Cosine ? 0.5 * (1 + std::cos(std::numbers::pi * done)) : 1 - done;
  return floor + share * (peak - floor);
}

txc_hyper_t hyperAt(const RunOptions &options, int64_t iteration, int64_t micro, int64_t rank,
                    int64_t ranks) {
  txc_hyper_t hyper = {};
  const double update = static_cast<double>(iteration + 1);
  const uint64_t seed = static_cast<uint64_t>(options.seed);
  const uint64_t step = static_cast<uint64_t>(globalMicro(options, iteration, micro, rank, ranks));
  hyper.learning_rate = static_cast<float>(learningRateAt(options, iteration));
  hyper.beta1 = static_cast<float>(options.beta1);
  hyper.beta2 = static_cast<float>(options.beta2);
  hyper.epsilon = static_cast<float>(options.eps);
  hyper.weight_decay = static_cast<float>(options.weight_decay);
  hyper.grad_clip = static_cast<float>(options.grad_clip);
  hyper.grad_scale = static_cast<float>(1.0 / static_cast<double>(options.gradient_accumulation_steps));
  hyper.bias_correction1 = static_cast<float>(1 - std::pow(options.beta1, update));
  hyper.bias_correction2 = static_cast<float>(1 - std::pow(options.beta2, update));
  hyper.seed_lo = static_cast<uint32_t>(seed);
  hyper.seed_hi = static_cast<uint32_t>(seed >> 32);
  hyper.step_lo = static_cast<uint32_t>(step);
  hyper.accumulated = static_cast<uint32_t>(micro);
  hyper.skip_nonfinite = 1; // such gradients reach no weight, whatever follows
  hyper.rank = static_cast<uint32_t>(rank);
  hyper.num_ranks = static_cast<uint32_t>(ranks);
  return hyper;
}

} // namespace txc
