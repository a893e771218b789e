//===- ScheduleTest.cpp - The learning rate, iteration by iteration --------===//
#include "train/schedule.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace txc;

static RunOptions recipe(run::Schedule schedule) {
  RunOptions options;
  options.schedule = schedule;
  options.learning_rate = 1.0;
  options.min_lr = 0.1;
  options.warmup_iters = 4;
  options.lr_decay_iters = 14;
  return options;
}

static void expectTable(const RunOptions &options, const std::vector<double> &table) {
  for (size_t i = 0; i < table.size(); ++i)
    EXPECT_NEAR(learningRateAt(options, static_cast<int64_t>(i)), table[i], 1e-12) << "iteration " << i;
}

TEST(Schedule, Cosine) {
  auto at = [](double done) { return 0.1 + 0.9 * 0.5 * (1 + std::cos(M_PI * done)); };
  expectTable(recipe(run::Schedule::Cosine), {0.2, 0.4, 0.6, 0.8, 1.0, at(.1), at(.2), at(.3), at(.4), 0.55,
                                              at(.6), at(.7), at(.8), at(.9), 0.1, 0.1, 0.1});
}

TEST(Schedule, Linear) {
  expectTable(recipe(run::Schedule::Linear),
              {0.2, 0.4, 0.6, 0.8, 1.0, 0.91, 0.82, 0.73, 0.64, 0.55, 0.46, 0.37, 0.28, 0.19, 0.1, 0.1});
}

TEST(Schedule, Constant) {
  expectTable(recipe(run::Schedule::Constant), {0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
}

TEST(Schedule, WarmUpStableDecay) {
  // The last fifth of 14 iterations, rounded down, is 2.
  expectTable(recipe(run::Schedule::Wsd), {0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.55, 0.1, 0.1});
}

TEST(Schedule, WithoutWarmUpOrDecay) {
  RunOptions options = recipe(run::Schedule::Cosine);
  options.warmup_iters = 0;
  EXPECT_EQ(learningRateAt(options, 0), 1.0);
  options.lr_decay_iters = 1;
  EXPECT_EQ(learningRateAt(options, 1), 0.1);
  // A warm-up that outlasts the decay ends at the lower rate.
  options.warmup_iters = 5;
  EXPECT_NEAR(learningRateAt(options, 4), 5.0 / 6, 1e-12);
  EXPECT_EQ(learningRateAt(options, 5), 0.1);
}

TEST(Schedule, HyperOfAnUpdate) {
  RunOptions options = recipe(run::Schedule::Constant);
  options.beta1 = 0.9;
  options.beta2 = 0.95;
  options.gradient_accumulation_steps = 4;
  options.seed = 0x123456789;
  txc_hyper_t hyper = hyperAt(options, 2, 3);
  EXPECT_FLOAT_EQ(hyper.learning_rate, 0.6f);
  EXPECT_FLOAT_EQ(hyper.grad_scale, 0.25f);
  EXPECT_FLOAT_EQ(hyper.bias_correction1, 1 - 0.9 * 0.9 * 0.9);
  EXPECT_FLOAT_EQ(hyper.bias_correction2, 1 - 0.95 * 0.95 * 0.95);
  EXPECT_EQ(hyper.seed_lo, 0x23456789u);
  EXPECT_EQ(hyper.seed_hi, 1u);
  EXPECT_EQ(hyper.step_lo, 11u);
  EXPECT_EQ(hyper.step_hi, 0u);
}
