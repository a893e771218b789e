//===- KernelsTest.cpp - Scatter, reduction, table and flat kernels --------===//

#include "CheckKernel.h"

#include "gtest/gtest.h"

#include <cmath>
#include <random>

using namespace txc::test;

//===-- scatter ------------------------------------------------------------===//

TEST(Scatter, EmbeddingVjp) {
  for (int64_t n : {1, 7, 33, 64, 100})
    checkKernel(R"(step.kernel @k "scatter" inplace [-1] {
      ^bb0(%t: tensor<3x17xi32>, %g: tensor<3x17x$Nxf32>):
        %d = tx.embedding_vjp %t, %g : tensor<3x17xi32>, tensor<3x17x$Nxf32> -> tensor<9x$Nxf32>
        tx.yield %d : tensor<9x$Nxf32>
    })",
                {{"N", n}});
}

TEST(Scatter, EmbeddingVjpAccumulated) {
  for (const char *inplace : {"2", "-1"})
    for (int64_t n : {1, 7, 33, 64, 100})
      checkKernel(std::string("step.kernel @k \"scatter\" inplace [") + inplace + R"(] {
        ^bb0(%t: tensor<3x17xi32>, %g: tensor<3x17x$Nxf32>, %old: tensor<9x$Nxf32>):
          %d = tx.embedding_vjp %t, %g : tensor<3x17xi32>, tensor<3x17x$Nxf32> -> tensor<9x$Nxf32>
          %new = tx.add %d, %old : tensor<9x$Nxf32>
          tx.yield %new : tensor<9x$Nxf32>
      })",
                  {{"N", n}});
}

TEST(Scatter, PositionVjpAccumulated) {
  for (int64_t n : {1, 7, 33, 640})
    checkKernel(R"(step.kernel @k "scatter" inplace [1] {
      ^bb0(%g: tensor<3x17x$Nxf32>, %old: tensor<17x$Nxf32>):
        %d = tx.position_vjp %g : tensor<3x17x$Nxf32> -> tensor<17x$Nxf32>
        %new = tx.add %old, %d : tensor<17x$Nxf32>
        tx.yield %new : tensor<17x$Nxf32>
    })",
                {{"N", n}});
}

TEST(Scatter, PositionVjp) {
  checkKernel(R"(step.kernel @k "scatter" inplace [-1] {
    ^bb0(%g: tensor<3x17x33xf32>):
      %d = tx.position_vjp %g : tensor<3x17x33xf32> -> tensor<17x33xf32>
      tx.yield %d : tensor<17x33xf32>
  })",
              {});
}

//===-- reduction ----------------------------------------------------------===//

TEST(Reduction, MeanLoss) {
  for (int64_t t : {1, 5, 16, 77})
    checkKernel(R"(step.kernel @k "reduction" inplace [-1] {
      ^bb0(%l: tensor<3x$Txf32>, %c: tensor<f32>):
        %m = tx.mean_loss %l, %c : tensor<3x$Txf32>, tensor<f32> -> tensor<f32>
        tx.yield %m : tensor<f32>
    })",
                {{"T", t}}, 1e-7);
}

TEST(Reduction, TargetCount) {
  for (int64_t t : {1, 5, 16, 77})
    checkKernel(R"(step.kernel @k "reduction" inplace [-1] {
      ^bb0(%y: tensor<3x$Txi32>):
        %c = tx.target_count %y ignore_index -1 : tensor<3x$Txi32> -> tensor<f32>
        tx.yield %c : tensor<f32>
    })",
                {{"T", t}}, 0);
}

//===-- table --------------------------------------------------------------===//

TEST(Table, RopeAnglesUpTo8192) {
  for (int64_t h : {1, 5, 32})
    checkKernel(R"(step.kernel @k "table" inplace [-1, -1] {
      ^bb0:
        %c, %s = tx.rope_table theta 1.0e4 : tensor<8192x$Hxf32>, tensor<8192x$Hxf32>
        tx.yield %s, %c : tensor<8192x$Hxf32>, tensor<8192x$Hxf32>
    })",
                {{"H", h}}, 1e-7);
}

TEST(Table, RopeAnglesFromAPosition) {
  for (int64_t h : {1, 5, 32})
    checkKernel(R"(step.kernel @k "table" inplace [-1, -1] {
      ^bb0(%p: tensor<i32>):
        %c, %s = tx.rope_table theta 1.0e4 from %p : tensor<1x$Hxf32>, tensor<1x$Hxf32>
        tx.yield %c, %s : tensor<1x$Hxf32>, tensor<1x$Hxf32>
    })",
                {{"H", h}}, 1e-7);
}

//===-- attention to a cache -----------------------------------------------===//

// Lengths around a block of 64 keys, heads narrower and wider than vectors, one and
// several query heads for a key/value head; positions are among the last.
TEST(DecodeAttention, AppendsAndAttends) {
  struct Case {
    int64_t s, h, k, d, t;
  };
  for (Case c :
       {Case{1, 1, 1, 1, 1}, Case{1, 4, 4, 16, 3}, Case{2, 4, 2, 8, 64}, Case{3, 6, 1, 20, 65},
        Case{1, 2, 2, 64, 66}, Case{2, 8, 2, 64, 200}, Case{1, 3, 1, 130, 130}, Case{1, 1, 1, 256, 70}})
    checkKernel(R"(step.kernel @k "attention" inplace [-1, 1, 2] {
      ^bb0(%q: tensor<$Sx1x$Pxf32>, %k: tensor<$Sx$Kx$Tx$Dxf32>, %v: tensor<$Sx$Kx$Tx$Dxf32>, %p: tensor<i32>):
        %o, %k2, %v2 = tx.decode_attention %q, %k, %v at %p heads $H kv_heads $K : tensor<$Sx1x$Pxf32>, tensor<$Sx$Kx$Tx$Dxf32>, tensor<$Sx$Kx$Tx$Dxf32> -> tensor<$Sx1x$Oxf32>
        tx.yield %o, %k2, %v2 : tensor<$Sx1x$Oxf32>, tensor<$Sx$Kx$Tx$Dxf32>, tensor<$Sx$Kx$Tx$Dxf32>
    })",
                {{"S", c.s},
                 {"H", c.h},
                 {"K", c.k},
                 {"D", c.d},
                 {"T", c.t},
                 {"P", (c.h + 2 * c.k) * c.d},
                 {"O", c.h * c.d}});
}

//===-- init, global_norm, adamw -------------------------------------------===//

namespace {
/// Three parameters: normal with decay, ones, zeros; padding between.
constexpr int64_t firsts[] = {0, 40064, 40080}, counts[] = {40050, 7, 100}, total = 40192;
const char *segments = "segments [0, 40050, 1, 2, 0, 40064, 7, 0, 1, 1, 40080, 100, 0, 0, 2] ";

bool inSegment(int64_t e) {
  for (int s = 0; s < 3; ++s)
    if (e >= firsts[s] && e < firsts[s] + counts[s])
      return true;
  return false;
}

std::vector<float> randomFloats(double scale, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<float> values(total);
  for (float &value : values)
    value = normal(generator);
  return values;
}

Bytes hyperBytes() { return bytesOf(std::vector<txc_hyper>{testHyper()}); }
} // namespace

TEST(Flat, Init) {
  for (const std::string &level : runnableLevels()) {
    KernelRunner runner(std::string("step.kernel @k \"init\" inplace [1] ") + segments +
                            "stddevs [2.0e-2, 0.0, 0.0] {}",
                        level);
    ASSERT_TRUE(runner.ok()) << runner.error;
    txc_hyper hyper = testHyper();
    auto before = randomFloats(1, 1);
    std::vector<Bytes> buffers = {hyperBytes(), bytesOf(before), bytesOf(before)};
    auto once = runner.run(buffers, 1, {-1, -1, 1});
    auto split = runner.run(buffers, 1, {-1, -1, 1}, KernelRunner::Split::Backwards);
    ASSERT_TRUE(runner.ok()) << runner.error;
    EXPECT_EQ(once, split);
    auto got = valuesOf<float>(once[2]);
    for (int64_t e = 0; e < total; ++e) {
      double expected = before[e]; // padding is not touched
      if (e < counts[0]) {
        auto w = philox({uint32_t(e), 0, 0, 0xffffffff}, hyper.seed_lo, hyper.seed_hi);
        double u1 = ((w[0] >> 8) + 1) * 0x1p-24, u2 = (w[1] >> 8) * 0x1p-24;
        expected = 2e-2f * std::sqrt(-2 * std::log(u1)) * std::cos(2 * std::acos(-1.0) * u2);
      } else if (e >= firsts[1] && e < firsts[1] + counts[1]) {
        expected = 1;
      } else if (e >= firsts[2] && e < firsts[2] + counts[2]) {
        expected = 0;
      }
      ASSERT_NEAR(got[e], expected, 3e-8) << e;
    }
  }
}

TEST(Flat, GlobalNorm) {
  for (const std::string &level : runnableLevels())
    for (float limit : {1.0f, 0.0f, 1e9f}) {
      KernelRunner runner(std::string("step.kernel @k \"global_norm\" inplace [-1] ") + segments + "{}",
                          level);
      ASSERT_TRUE(runner.ok()) << runner.error;
      txc_hyper hyper = testHyper();
      hyper.grad_clip = limit;
      auto grad = randomFloats(0.5, 2);
      std::vector<Bytes> buffers = {bytesOf(std::vector<txc_hyper>{hyper}), bytesOf(grad), Bytes(36)};
      auto once = runner.run(buffers, 1, {-1, -1, -1});
      auto split = runner.run(buffers, 1, {-1, -1, -1}, KernelRunner::Split::Thirds);
      ASSERT_TRUE(runner.ok()) << runner.error;
      EXPECT_EQ(once, split);
      double sum = 0, squares = 0, least = 1e30, most = -1e30, norms = 0, normMost = 0, normLeast = 1e30,
             n = 0;
      for (int s = 0; s < 3; ++s) {
        double own = 0;
        for (int64_t e = firsts[s]; e < firsts[s] + counts[s]; ++e, ++n) {
          double g = double(grad[e]) * hyper.grad_scale;
          sum += g;
          own += g * g;
          least = std::min(least, g);
          most = std::max(most, g);
        }
        squares += own;
        norms += std::sqrt(own);
        normMost = std::max(normMost, std::sqrt(own));
        normLeast = std::min(normLeast, std::sqrt(own));
      }
      double norm = std::sqrt(squares), clip = limit > 0 ? std::min(1.0, limit / norm) : 1;
      double expected[] = {norm,     clip, sum / n,   std::sqrt(squares / n - sum / n * sum / n),
                           least,    most, norms / 3, normMost,
                           normLeast};
      auto got = valuesOf<float>(once[2]);
      for (int i = 0; i < 9; ++i)
        EXPECT_NEAR(got[i], expected[i], 2e-7 * std::fabs(expected[i])) << i;
    }
}

TEST(Flat, AdamW) {
  for (const std::string &level : runnableLevels()) {
    KernelRunner runner(std::string("step.kernel @k \"adamw\" inplace [2, 3, 4, 5] ") + segments + "{}",
                        level);
    ASSERT_TRUE(runner.ok()) << runner.error;
    txc_hyper h = testHyper();
    auto w = randomFloats(1, 1), g = randomFloats(0.1, 2), m = randomFloats(0.1, 3), v = randomFloats(0.1, 4);
    for (float &x : v)
      x = std::fabs(x);
    float clip = 0.75f;
    std::vector<Bytes> buffers = {hyperBytes(), bytesOf(std::vector<float>{0, clip, 0, 0, 0, 0, 0, 0, 0}),
                                  bytesOf(w),   bytesOf(g),
                                  bytesOf(m),   bytesOf(v)};
    for (int i = 2; i < 6; ++i)
      buffers.push_back(buffers[i]);
    std::vector<int> shares = {-1, -1, -1, -1, -1, -1, 2, 3, 4, 5};
    auto once = runner.run(buffers, 4, shares);
    auto split = runner.run(buffers, 4, shares, KernelRunner::Split::OneByOne);
    ASSERT_TRUE(runner.ok()) << runner.error;
    EXPECT_EQ(once, split);
    auto gotW = valuesOf<float>(once[6]), gotG = valuesOf<float>(once[7]);
    auto gotM = valuesOf<float>(once[8]), gotV = valuesOf<float>(once[9]);
    for (int64_t e = 0; e < total; ++e) {
      if (!inSegment(e)) {
        ASSERT_EQ(gotW[e], w[e]);
        ASSERT_EQ(gotG[e], g[e]);
        continue;
      }
      double grad = double(g[e]) * h.grad_scale * clip;
      double m1 = h.beta1 * double(m[e]) + (1 - double(h.beta1)) * grad;
      double v1 = h.beta2 * double(v[e]) + (1 - double(h.beta2)) * grad * grad;
      double w1 = w[e];
      if (e < counts[0])
        w1 -= double(h.learning_rate) * h.weight_decay * w1;
      w1 -= h.learning_rate * (m1 / h.bias_correction1) / (std::sqrt(v1 / h.bias_correction2) + h.epsilon);
      ASSERT_NEAR(gotM[e], m1, 1e-6 * std::fabs(m1) + 1e-8) << e;
      ASSERT_NEAR(gotV[e], v1, 1e-6 * v1) << e;
      ASSERT_NEAR(gotW[e], w1, 1e-6 * std::fabs(w1) + 1e-7) << e;
      ASSERT_EQ(gotG[e], 0.0f) << e;
    }
  }
}

//===-- What is refused ----------------------------------------------------===//

TEST(Refused, UnknownKindAndLevel) {
  EXPECT_NE(KernelRunner("step.kernel @k \"magic\" {}").error.find("has kind magic"), std::string::npos);
  EXPECT_NE(KernelRunner("step.kernel @k \"magic\" {}", "x86-64-v2").error.find("unknown CPU level"),
            std::string::npos);
}

TEST(Refused, KernelWithoutBody) {
  EXPECT_NE(KernelRunner("step.kernel @k \"row_wise\" {}").error.find("has no body"), std::string::npos);
}

// The verifier finds a kernel whose code is missing.
TEST(Refused, ObjectWithoutAKernel) {
  KernelRunner runner("step.kernel @k \"adamw\" inplace [2, 3, 4, 5] segments [0, 4, 0, 0, 0] {}");
  ASSERT_TRUE(runner.ok()) << runner.error;
  EXPECT_NE(runner.verifyRenamed("gone").find("has no function 'gone.0' in the object"), std::string::npos);
}

TEST(Refused, DoubleTensors) {
  EXPECT_NE(KernelRunner(R"(step.kernel @k "row_wise" inplace [-1] {
    ^bb0(%x: tensor<2x3x4xf64>):
      %s = tx.add %x, %x : tensor<2x3x4xf64>
      tx.yield %s : tensor<2x3x4xf64>
  })")
                .error.find("compute in f32"),
            std::string::npos);
}
