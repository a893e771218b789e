//===- RowWiseTest.cpp - Row-wise kernels do what their ops say ------------===//
//
// Each case is a kernel as fuse makes it, over widths that are one column, less
// than a vector, not a multiple of one, a multiple of four, and over numbers of
// rows that do not fill the last block.
//
//===----------------------------------------------------------------------===//

#include "CheckKernel.h"

#include "gtest/gtest.h"

using namespace txc::test;

static void checkWidths(const std::string &text, double tolerance = 3e-6) {
  for (Sizes sizes : {Sizes{{"B", 1}, {"T", 1}, {"N", 1}}, Sizes{{"B", 2}, {"T", 3}, {"N", 7}},
                      Sizes{{"B", 2}, {"T", 67}, {"N", 45}}, Sizes{{"B", 3}, {"T", 5}, {"N", 64}},
                      Sizes{{"B", 2}, {"T", 9}, {"N", 391}}}) {
    checkKernel(text, sizes, tolerance);
    if (testing::Test::HasFatalFailure())
      return;
  }
}

TEST(RowWise, AddInPlace) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %y: tensor<$Bx$Tx$Nxf32>):
      %s = tx.add %x, %y : tensor<$Bx$Tx$Nxf32>
      tx.yield %s : tensor<$Bx$Tx$Nxf32>
  })");
}

TEST(RowWise, AddOfVectors) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [-1] {
    ^bb0(%x: tensor<$Nxf32>, %y: tensor<$Nxf32>):
      %s = tx.add %x, %y : tensor<$Nxf32>
      tx.yield %s : tensor<$Nxf32>
  })");
}

TEST(RowWise, BiasAndActivation) {
  for (const char *kind : {"gelu", "gelu_tanh", "silu", "relu", "leaky_relu"}) {
    std::string text = R"(step.kernel @k "row_wise" inplace [-1, 0] {
      ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %b: tensor<$Nxf32>):
        %h = tx.add_bias %x, %b : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>
        %a = tx.activation KIND %h : tensor<$Bx$Tx$Nxf32>
        tx.yield %a, %h : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Nxf32>
    })";
    text.replace(text.find("KIND"), 4, kind);
    checkWidths(text, 1e-6);
  }
}

TEST(RowWise, ActivationVjp) {
  for (const char *kind : {"gelu", "gelu_tanh", "silu", "relu", "leaky_relu"}) {
    std::string text = R"(step.kernel @k "row_wise" inplace [1] {
      ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %x: tensor<$Bx$Tx$Nxf32>):
        %d = tx.activation_vjp KIND %g, %x : tensor<$Bx$Tx$Nxf32>
        tx.yield %d : tensor<$Bx$Tx$Nxf32>
    })";
    text.replace(text.find("KIND"), 4, kind);
    checkWidths(text, 2e-6);
  }
}

TEST(RowWise, ActivationVjpAndBiasVjpAccumulated) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [0, 2] {
    ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %x: tensor<$Bx$Tx$Nxf32>, %old: tensor<$Nxf32>):
      %d = tx.activation_vjp gelu %g, %x : tensor<$Bx$Tx$Nxf32>
      %b = tx.bias_vjp %d : tensor<$Bx$Tx$Nxf32> -> tensor<$Nxf32>
      %new = tx.add %b, %old : tensor<$Nxf32>
      tx.yield %d, %new : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>
  })",
              1e-5);
}

TEST(RowWise, BiasVjp) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [-1] {
    ^bb0(%g: tensor<$Bx$Tx$Nxf32>):
      %b = tx.bias_vjp %g : tensor<$Bx$Tx$Nxf32> -> tensor<$Nxf32>
      tx.yield %b : tensor<$Nxf32>
  })",
              1e-5);
}

static void checkGated(const std::string &text, double tolerance = 3e-6) {
  for (int64_t n : {1, 7, 45, 64, 391}) {
    checkKernel(text, {{"B", 2}, {"T", 33}, {"N", n}, {"M", 2 * n}}, tolerance);
    if (testing::Test::HasFatalFailure())
      return;
  }
}

TEST(RowWise, BiasAndSwiglu) {
  checkGated(R"(step.kernel @k "row_wise" inplace [-1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Mxf32>, %b: tensor<$Mxf32>):
      %h = tx.add_bias %x, %b : tensor<$Bx$Tx$Mxf32>, tensor<$Mxf32>
      %s = tx.swiglu %h : tensor<$Bx$Tx$Mxf32> -> tensor<$Bx$Tx$Nxf32>
      tx.yield %s, %h : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Mxf32>
  })");
}

TEST(RowWise, SwigluVjpAndBiasVjp) {
  checkGated(R"(step.kernel @k "row_wise" inplace [-1, 2] {
    ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %x: tensor<$Bx$Tx$Mxf32>, %old: tensor<$Mxf32>):
      %d = tx.swiglu_vjp %g, %x : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Mxf32>
      %b = tx.bias_vjp %d : tensor<$Bx$Tx$Mxf32> -> tensor<$Mxf32>
      %new = tx.add %old, %b : tensor<$Mxf32>
      tx.yield %d, %new : tensor<$Bx$Tx$Mxf32>, tensor<$Mxf32>
  })",
             1e-5);
}

TEST(RowWise, NormOfGatedRow) {
  checkGated(R"(step.kernel @k "row_wise" inplace [-1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Mxf32>, %b: tensor<$Mxf32>, %gain: tensor<$Mxf32>):
      %h = tx.add_bias %x, %b : tensor<$Bx$Tx$Mxf32>, tensor<$Mxf32>
      %y, %rstd = tx.rms_norm %h, %gain epsilon 1.0e-5 : tensor<$Bx$Tx$Mxf32>, tensor<$Mxf32> -> tensor<$Bx$Txf32>
      %s = tx.swiglu %y : tensor<$Bx$Tx$Mxf32> -> tensor<$Bx$Tx$Nxf32>
      tx.yield %s, %y : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Mxf32>
  })");
}

TEST(RowWise, Dropout) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [0] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %hyper: !tx.hyper):
      %d = tx.dropout %x, %hyper p 0.3 site 65537 : tensor<$Bx$Tx$Nxf32>
      tx.yield %d : tensor<$Bx$Tx$Nxf32>
  })");
}

TEST(RowWise, ResidualAndRmsNorm) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [1, -1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %y: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>):
      %s = tx.add %x, %y : tensor<$Bx$Tx$Nxf32>
      %n, %rstd = tx.rms_norm %s, %gain epsilon 1.0e-5 : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> -> tensor<$Bx$Txf32>
      tx.yield %s, %n, %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Txf32>
  })");
}

// The operand whose place the sum takes is read again by a later op.
TEST(RowWise, InPlaceOperandReadAfterTheNorm) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %y: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>):
      %s = tx.add %x, %y : tensor<$Bx$Tx$Nxf32>
      %n, %rstd = tx.rms_norm %s, %gain epsilon 1.0e-5 : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> -> tensor<$Bx$Txf32>
      %z = tx.add %n, %y : tensor<$Bx$Tx$Nxf32>
      tx.yield %s, %z : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Nxf32>
  })");
}

TEST(RowWise, DropoutResidualAndLayerNorm) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [0, -1, -1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %y: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>, %b: tensor<$Nxf32>,
         %hyper: !tx.hyper):
      %d = tx.dropout %y, %hyper p 0.5 site 3 : tensor<$Bx$Tx$Nxf32>
      %s = tx.add %x, %d : tensor<$Bx$Tx$Nxf32>
      %n, %mean, %rstd = tx.layer_norm %s, %gain epsilon 1.0e-5
        : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> -> tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
      %o = tx.add_bias %n, %b : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>
      tx.yield %s, %o, %mean, %rstd
        : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
  })",
              1e-5);
}

// Post-norm: the norm of a norm.
TEST(RowWise, NormOfNorm) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [0] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>, %b: tensor<$Nxf32>):
      %n, %mean, %rstd = tx.layer_norm %x, %gain epsilon 1.0e-2
        : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> -> tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
      %o = tx.add_bias %n, %b : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>
      %m, %rstd2 = tx.rms_norm %o, %gain epsilon 1.0e-2 : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> -> tensor<$Bx$Txf32>
      tx.yield %m : tensor<$Bx$Tx$Nxf32>
  })",
              1e-5);
}

TEST(RowWise, RmsNormVjpWithResidualGradient) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [4, 5] {
    ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %x: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>, %rstd: tensor<$Bx$Txf32>,
         %r: tensor<$Bx$Tx$Nxf32>, %old: tensor<$Nxf32>):
      %dx, %dg = tx.rms_norm_vjp %g, %x, %gain, %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>, tensor<$Bx$Txf32>
      %s = tx.add %r, %dx : tensor<$Bx$Tx$Nxf32>
      %new = tx.add %dg, %old : tensor<$Nxf32>
      tx.yield %s, %new : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>
  })",
              1e-5);
}

TEST(RowWise, LayerNormVjpOfSumWithBias) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [0, 5, -1] {
    ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %x: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>, %mean: tensor<$Bx$Txf32>,
         %rstd: tensor<$Bx$Txf32>, %old: tensor<$Nxf32>, %h: tensor<$Bx$Tx$Nxf32>):
      %sum = tx.add %g, %h : tensor<$Bx$Tx$Nxf32>
      %b = tx.bias_vjp %sum : tensor<$Bx$Tx$Nxf32> -> tensor<$Nxf32>
      %dx, %dg = tx.layer_norm_vjp %sum, %x, %gain, %mean, %rstd
        : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>, tensor<$Bx$Txf32>
      %new = tx.add %dg, %old : tensor<$Nxf32>
      tx.yield %dx, %new, %b : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>, tensor<$Nxf32>
  })",
              1e-5);
}

TEST(RowWise, EmbeddingPositionDropoutNorm) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [-1, -1, -1] {
    ^bb0(%t: tensor<$Bx$Txi32>, %w: tensor<11x$Nxf32>, %p: tensor<$Tx$Nxf32>, %hyper: !tx.hyper,
         %gain: tensor<$Nxf32>):
      %e = tx.embedding %t, %w : tensor<$Bx$Txi32>, tensor<11x$Nxf32> -> tensor<$Bx$Tx$Nxf32>
      %a = tx.add_position %e, %p : tensor<$Bx$Tx$Nxf32>, tensor<$Tx$Nxf32>
      %d = tx.dropout %a, %hyper p 0.1 site 0 : tensor<$Bx$Tx$Nxf32>
      %n, %rstd = tx.rms_norm %d, %gain epsilon 1.0e-5 : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> -> tensor<$Bx$Txf32>
      tx.yield %d, %n, %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Txf32>
  })");
}

TEST(RowWise, EmbeddingAtAPosition) {
  for (int64_t n : {1, 7, 33, 64})
    checkKernel(R"(step.kernel @k "row_wise" inplace [-1] {
      ^bb0(%t: tensor<3x1xi32>, %w: tensor<11x$Nxf32>, %p: tensor<9x$Nxf32>, %at: tensor<i32>):
        %e = tx.embedding %t, %w : tensor<3x1xi32>, tensor<11x$Nxf32> -> tensor<3x1x$Nxf32>
        %a = tx.add_position %e, %p at %at : tensor<3x1x$Nxf32>, tensor<9x$Nxf32>
        tx.yield %a : tensor<3x1x$Nxf32>
    })",
                {{"N", n}});
}

TEST(RowWise, EmbeddingAlone) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [-1] {
    ^bb0(%t: tensor<$Bx$Txi32>, %w: tensor<5x$Nxf32>):
      %e = tx.embedding %t, %w : tensor<$Bx$Txi32>, tensor<5x$Nxf32> -> tensor<$Bx$Tx$Nxf32>
      tx.yield %e : tensor<$Bx$Tx$Nxf32>
  })");
}

TEST(RowWise, CrossEntropyOverItsLogits) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [-1, 0] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %y: tensor<$Bx$Txi32>, %count: tensor<f32>):
      %one = arith.constant dense<1.0> : tensor<f32>
      %loss, %lse = tx.cross_entropy %x, %y ignore_index -1 : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Txi32> -> tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
      %g = tx.mean_loss_vjp %one, %count : tensor<f32>, tensor<f32> -> tensor<$Bx$Txf32>
      %d = tx.cross_entropy_vjp %g, %x, %y, %lse ignore_index -1
        : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Txi32>, tensor<$Bx$Txf32>
      tx.yield %loss, %d : tensor<$Bx$Txf32>, tensor<$Bx$Tx$Nxf32>
  })");
}

TEST(RowWise, CrossEntropyOfBiasedLogits) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [-1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %y: tensor<$Bx$Txi32>, %b: tensor<$Nxf32>):
      %l = tx.add_bias %x, %b : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>
      %loss, %lse = tx.cross_entropy %l, %y ignore_index -100 : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Txi32> -> tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
      tx.yield %loss, %lse : tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
  })");
}

TEST(RowWise, CastBothWays) {
  checkWidths(R"(step.kernel @k "row_wise" inplace [-1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>):
      %h = tx.cast %x : tensor<$Bx$Tx$Nxf32> -> tensor<$Bx$Tx$Nxbf16>
      tx.yield %h : tensor<$Bx$Tx$Nxbf16>
  })");
  checkWidths(R"(step.kernel @k "row_wise" inplace [-1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxbf16>):
      %h = tx.cast %x : tensor<$Bx$Tx$Nxbf16> -> tensor<$Bx$Tx$Nxf32>
      %a = tx.activation silu %h : tensor<$Bx$Tx$Nxf32>
      tx.yield %a, %h : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Nxf32>
  })");
}

// Head sizes whose halves are a vector, a part of one, and neither.
TEST(RowWise, RopeInPlace) {
  for (const char *layout : {"half", "interleaved", "half inverse", "interleaved inverse"})
    for (int64_t dim : {64, 16, 6, 20}) {
      std::string text = R"(step.kernel @k "row_wise" inplace [0] {
        ^bb0(%x: tensor<2x5x$Nxf32>, %c: tensor<5x$Hxf32>, %s: tensor<5x$Hxf32>):
          %r = tx.rope %x, %c, %s LAYOUT heads 3 head_dim $D : tensor<2x5x$Nxf32>, tensor<5x$Hxf32>
          tx.yield %r : tensor<2x5x$Nxf32>
      })";
      text.replace(text.find("LAYOUT"), 6, layout);
      checkKernel(text, {{"N", 5 * dim}, {"H", dim / 2}, {"D", dim}}, 3e-6, ropeTakesBf16(layout, dim));
      if (HasFatalFailure())
        return;
    }
}

TEST(RowWise, Rope) {
  for (const char *layout : {"half", "interleaved", "half inverse", "interleaved inverse"})
    for (int64_t dim : {64, 16, 8, 6, 2, 20}) {
      std::string text = R"(step.kernel @k "row_wise" inplace [-1, -1] {
        ^bb0(%x: tensor<2x5x$Nxf32>, %b: tensor<$Nxf32>, %c: tensor<5x$Hxf32>, %s: tensor<5x$Hxf32>):
          %i = tx.add_bias %x, %b : tensor<2x5x$Nxf32>, tensor<$Nxf32>
          %r = tx.rope %i, %c, %s LAYOUT heads 3 head_dim $D : tensor<2x5x$Nxf32>, tensor<5x$Hxf32>
          %q = tx.bias_vjp %r : tensor<2x5x$Nxf32> -> tensor<$Nxf32>
          tx.yield %r, %q : tensor<2x5x$Nxf32>, tensor<$Nxf32>
      })";
      text.replace(text.find("LAYOUT"), 6, layout);
      checkKernel(text, {{"N", 5 * dim}, {"H", dim / 2}, {"D", dim}}, 3e-6, ropeTakesBf16(layout, dim));
      if (HasFatalFailure())
        return;
    }
}

// The code is that of @other, called with the sites of @k.
TEST(RowWise, DropoutWithSharedCode) {
  checkWidths(R"(
    step.kernel @other "row_wise" inplace [0] {
      ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %hyper: !tx.hyper):
        %d = tx.dropout %x, %hyper p 0.3 site 1 : tensor<$Bx$Tx$Nxf32>
        %e = tx.dropout %d, %hyper p 0.3 site 2 : tensor<$Bx$Tx$Nxf32>
        tx.yield %e : tensor<$Bx$Tx$Nxf32>
    }
    step.kernel @k "row_wise" inplace [0] {
      ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %hyper: !tx.hyper):
        %d = tx.dropout %x, %hyper p 0.3 site 65537 : tensor<$Bx$Tx$Nxf32>
        %e = tx.dropout %d, %hyper p 0.3 site 65538 : tensor<$Bx$Tx$Nxf32>
        tx.yield %e : tensor<$Bx$Tx$Nxf32>
    })");
}
