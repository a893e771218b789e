//===- ElementaryTest.cpp - Accuracy of the elementary functions -----------===//
//
// Holds the functions of CpuBuilder.h to their errors over dense points of their
// ranges, through the ops that use them.
//
//===----------------------------------------------------------------------===//

#include "CheckKernel.h"

#include "gtest/gtest.h"

#include <cmath>
#include <functional>

using namespace txc::test;

namespace {

constexpr int64_t rows = 64, columns = 1024;

/// Calls `check` with x and op(x) for x over [low, high] at each level; `op`
/// computes %r from %x and %g, which is all ones.
void sweep(const std::string &op, double low, double high,
           const std::function<void(double x, double y)> &check) {
  std::string text = R"(step.kernel @k "row_wise" inplace [-1] {
    ^bb0(%x: tensor<$Rx$Cxf32>, %g: tensor<$Rx$Cxf32>):
      %r = )" + op + R"( : tensor<$Rx$Cxf32>
      tx.yield %r : tensor<$Rx$Cxf32>
  })";
  std::vector<float> x(rows * columns), ones(rows * columns, 1.0f);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = low + (high - low) * i / (x.size() - 1);
  for (const std::string &level : runnableLevels()) {
    KernelRunner runner(substitute(text, {{"R", rows}, {"C", columns}}), level);
    ASSERT_TRUE(runner.ok()) << runner.error;
    auto y = valuesOf<float>(runner.run({bytesOf(x), bytesOf(ones), bytesOf(x)}, 1, {-1, -1, -1})[2]);
    for (size_t i = 0; i < x.size(); ++i)
      check(x[i], y[i]);
  }
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

/// The largest error, relative to |expected| + floor.
struct Worst {
  double error = 0, at = 0;
  void see(double x, double got, double expected, double floor) {
    double e = std::fabs(got - expected) / (std::fabs(expected) + floor);
    if (!(e <= error)) {
      error = e;
      at = x;
    }
  }
};

} // namespace

TEST(Elementary, SiluIsAccurateInBothTails) {
  Worst worst;
  sweep("tx.activation silu %x", -80, 80,
        [&](double x, double y) { worst.see(x, y, x * sigmoid(x), 1e-30); });
  EXPECT_LE(worst.error, 6e-7) << "at " << worst.at;
}

TEST(Elementary, GeluIsAccurate) {
  Worst near, far;
  sweep("tx.activation gelu %x", -4, 4, [&](double x, double y) { near.see(x, y, x * phi(x), 1e-30); });
  EXPECT_LE(near.error, 1e-6) << "at " << near.at;
  sweep("tx.activation gelu %x", -13, 13, [&](double x, double y) { far.see(x, y, x * phi(x), 1e-8); });
  EXPECT_LE(far.error, 1e-6) << "at " << far.at;
}

TEST(Elementary, GeluTanhIsAccurate) {
  Worst worst;
  sweep("tx.activation gelu_tanh %x", -6, 6, [&](double x, double y) {
    worst.see(x, y, x * sigmoid(2 * std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)), 1e-6);
  });
  EXPECT_LE(worst.error, 2e-6) << "at " << worst.at;
}

// d silu = s (1 + x (1 - s)); where that crosses 0 only the absolute error counts.
TEST(Elementary, DerivativesAreAccurate) {
  Worst silu, gelu;
  sweep("tx.activation_vjp silu %g, %x", -30, 30,
        [&](double x, double y) { silu.see(x, y, sigmoid(x) * (1 + x * sigmoid(-x)), 0.1); });
  EXPECT_LE(silu.error, 5e-7) << "at " << silu.at;
  sweep("tx.activation_vjp gelu %g, %x", -8, 8, [&](double x, double y) {
    gelu.see(x, y, phi(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0)), 0.1);
  });
  EXPECT_LE(gelu.error, 1e-6) << "at " << gelu.at;
}

// Infinities and NaN come out as such, so that a run that diverges is seen.
TEST(Elementary, NonFiniteValuesStay) {
  for (const std::string &level : runnableLevels())
    for (const char *kind : {"gelu", "gelu_tanh", "silu", "relu", "leaky_relu"}) {
      KernelRunner runner(std::string(R"(step.kernel @k "row_wise" inplace [-1] {
        ^bb0(%x: tensor<1x2xf32>):
          %r = tx.activation )") +
                              kind + R"( %x : tensor<1x2xf32>
          tx.yield %r : tensor<1x2xf32>
      })",
                          level);
      ASSERT_TRUE(runner.ok()) << runner.error;
      float nan = std::nanf(""), infinity = INFINITY;
      auto y =
          valuesOf<float>(runner.run({bytesOf(std::vector<float>{nan, infinity}), Bytes(8)}, 1, {-1, -1})[1]);
      EXPECT_TRUE(std::isnan(y[0])) << kind;
      EXPECT_EQ(y[1], infinity) << kind;
    }
}
