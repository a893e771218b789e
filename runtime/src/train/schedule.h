//===- schedule.h - Learning rate and hyperparameters of an update ---------===//
//
// Pure functions of the options and the iteration.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_SCHEDULE_H
#define TXC_RUNTIME_TRAIN_SCHEDULE_H

#include "train/options.h"
#include "txc/step_abi.h"

#include <cstdint>

namespace txc {

// Learning rate of update `iteration` = 0, 1, ...
//
//   warm-up    iteration < warmup_iters:
//              learning_rate * (iteration + 1) / (warmup_iters + 1)
//   cosine     half a cosine from learning_rate at warmup_iters to min_lr at
//              lr_decay_iters, then min_lr
//   linear     a straight line between the same points, then min_lr
//   constant   learning_rate
//   wsd        learning_rate until 4/5 of lr_decay_iters (but not before the
//              end of the warm-up), a straight line to min_lr at
//              lr_decay_iters, then min_lr
double learningRateAt(const RunOptions &options, int64_t iteration);

// What the compiled code reads during micro batch `micro` of `iteration` of rank
// `rank` of `ranks`, and during its update.
txc_hyper_t hyperAt(const RunOptions &options, int64_t iteration, int64_t micro, int64_t rank = 0,
                    int64_t ranks = 1);

// The number of that micro batch since the start of training, over all ranks:
// which samples it has and what it drops follow from it.
inline int64_t globalMicro(const RunOptions &options, int64_t iteration, int64_t micro, int64_t rank,
                           int64_t ranks) {
  return iteration * options.gradient_accumulation_steps + micro * ranks + rank;
}

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_SCHEDULE_H
