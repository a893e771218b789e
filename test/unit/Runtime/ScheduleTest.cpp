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

// docs/schedules.md, word for word, in long double: W warm-up, E end, P peak, M
// least rate, i iteration.
static long double documented(run::Schedule schedule, int64_t i, int64_t W, int64_t E, long double P,
                              long double M) {
  if (i < W)
    return P * (i + 1) / (W + 1);
  if (schedule == run::Schedule::Constant)
    return P;
  if (i >= E)
    return M;
  if (schedule == run::Schedule::Cosine)
    return M + (P - M) * (1 + cosl(acosl(-1) * (i - W) / (E - W))) / 2;
  if (schedule == run::Schedule::Linear)
    return P - (P - M) * (i - W) / (E - W);
  int64_t D = E - E / 5 > W ? E - E / 5 : W;
  return i <= D ? P : P - (P - M) * (i - D) / (E - D);
}

TEST(Schedule, EveryIterationIsAsDocumented) {
  struct Recipe {
    int64_t warmup, end, iterations;
    double peak, floor;
  };
  const Recipe recipes[] = {
      {2000, 600000, 600100, 6e-4, 6e-5}, // the presets
      {100, 5000, 5200, 1e-3, 1e-4},      // train_shakespeare
      {50, 1000, 1000, 2e-3, 2e-4},       // demo_cpu
      {0, 1, 5, 1, 0.5},
      {0, 7, 12, 1, 0},
      {9, 10, 20, 1, 0.1},
      {10, 10, 20, 1, 0.1},
      {30, 10, 40, 1, 0.1},
      {3, 4, 4, 1, 1},
  };
  for (const Recipe &recipe : recipes)
    for (run::Schedule schedule :
         {run::Schedule::Cosine, run::Schedule::Linear, run::Schedule::Constant, run::Schedule::Wsd}) {
      RunOptions options;
      options.schedule = schedule;
      options.learning_rate = recipe.peak;
      options.min_lr = recipe.floor;
      options.warmup_iters = recipe.warmup;
      options.lr_decay_iters = recipe.end;
      double worst = 0;
      for (int64_t i = 0; i < recipe.iterations; ++i) {
        auto expected = static_cast<double>(
            documented(schedule, i, recipe.warmup, recipe.end, recipe.peak, recipe.floor));
        worst = std::max(worst, std::abs(learningRateAt(options, i) - expected) / recipe.peak);
        // What the step reads is this, rounded once.
        if (i < 20)
          EXPECT_EQ(hyperAt(options, i, 0).learning_rate, static_cast<float>(learningRateAt(options, i)));
      }
      EXPECT_LT(worst, 1e-15) << "schedule " << static_cast<int>(schedule) << ", warm-up " << recipe.warmup
                              << ", end " << recipe.end;
    }
}

// Worked out by hand for the recipe of the presets: 6e-4 to 6e-5, warm-up 2000,
// decay until 600000.
TEST(Schedule, AnchorsOfThePresets) {
  RunOptions options;
  options.learning_rate = 6e-4;
  options.min_lr = 6e-5;
  options.warmup_iters = 2000;
  options.lr_decay_iters = 600000;
  auto at = [&](run::Schedule schedule, int64_t iteration) {
    options.schedule = schedule;
    return learningRateAt(options, iteration);
  };
  for (run::Schedule any :
       {run::Schedule::Cosine, run::Schedule::Linear, run::Schedule::Constant, run::Schedule::Wsd}) {
    EXPECT_DOUBLE_EQ(at(any, 0), 6e-4 / 2001);
    EXPECT_DOUBLE_EQ(at(any, 1000), 6e-4 * 1001 / 2001);
    EXPECT_DOUBLE_EQ(at(any, 1999), 6e-4 * 2000 / 2001);
    EXPECT_DOUBLE_EQ(at(any, 2000), 6e-4);
  }
  EXPECT_DOUBLE_EQ(at(run::Schedule::Cosine, 301000), 3.3e-4); // half of the way
  EXPECT_DOUBLE_EQ(at(run::Schedule::Cosine, 151500), 6e-5 + 5.4e-4 * (1 + std::sqrt(0.5)) / 2);
  EXPECT_DOUBLE_EQ(at(run::Schedule::Linear, 301000), 3.3e-4);
  EXPECT_DOUBLE_EQ(at(run::Schedule::Linear, 151500), 4.65e-4); // a quarter
  EXPECT_DOUBLE_EQ(at(run::Schedule::Wsd, 480000), 6e-4);       // four fifths: the decay begins
  EXPECT_DOUBLE_EQ(at(run::Schedule::Wsd, 540000), 3.3e-4);
  for (run::Schedule any : {run::Schedule::Cosine, run::Schedule::Linear, run::Schedule::Wsd}) {
    EXPECT_DOUBLE_EQ(at(any, 600000), 6e-5);
    EXPECT_DOUBLE_EQ(at(any, 1000000), 6e-5);
  }
  EXPECT_DOUBLE_EQ(at(run::Schedule::Constant, 1000000), 6e-4);
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
  EXPECT_EQ(hyper.accumulated, 3u);
}
