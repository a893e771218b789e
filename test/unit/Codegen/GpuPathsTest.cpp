//===- GpuPathsTest.cpp - Sizes at which the code for GPUs differs ---------===//
//
// On a GPU a row belongs to a warp, to a block, or is read again by every loop;
// sums over rows go through a grid of fixed size; an embedding's gradient is
// added in segments; attention goes to the tensor cores or not. The sizes here
// are on both sides of each border. They hold on the CPU too, where the same
// kernels run at the sizes that do not take long.
//
//===----------------------------------------------------------------------===//

#include "CheckKernel.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace txc::test;

/// Runs on the CPU would take long, and show nothing that the other tests do not.
#define FOR_GPUS_ONLY()                                                                                      \
  if (!CaseSink::current)                                                                                    \
  GTEST_SKIP() << "only --export-gpu-cases takes these sizes"

namespace {

/// Widths of a warp's rows, a block's, and of those that do not fit into registers:
/// lanes of 8, 4, 2 and 1 elements; few rows, so that blocks are not full.
const Sizes widths[] = {
    {{"B", 1}, {"T", 5}, {"N", 3}},    {{"B", 1}, {"T", 3}, {"N", 1020}},  {{"B", 1}, {"T", 7}, {"N", 1024}},
    {{"B", 1}, {"T", 2}, {"N", 1032}}, {{"B", 2}, {"T", 3}, {"N", 1333}},  {{"B", 1}, {"T", 2}, {"N", 4096}},
    {{"B", 1}, {"T", 3}, {"N", 8192}}, {{"B", 1}, {"T", 2}, {"N", 16390}}, {{"B", 1}, {"T", 1}, {"N", 70000}},
};

void checkAtWidths(const std::string &text, double tolerance = 3e-6) {
  for (const Sizes &sizes : widths)
    checkKernel(text, sizes, tolerance);
}

} // namespace

//===-- Rows ---------------------------------------------------------------===//

TEST(GpuRows, ResidualAndRmsNorm) {
  FOR_GPUS_ONLY();
  checkAtWidths(R"(step.kernel @k "row_wise" inplace [1, -1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %y: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>):
      %s = tx.add %x, %y : tensor<$Bx$Tx$Nxf32>
      %n, %rstd = tx.rms_norm %s, %gain epsilon 1.0e-5 : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> -> tensor<$Bx$Txf32>
      tx.yield %s, %n, %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Txf32>
  })");
}

TEST(GpuRows, LayerNormAndBias) {
  FOR_GPUS_ONLY();
  checkAtWidths(R"(step.kernel @k "row_wise" inplace [-1, -1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>, %b: tensor<$Nxf32>):
      %n, %mean, %rstd = tx.layer_norm %x, %gain epsilon 1.0e-5
        : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> -> tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
      %o = tx.add_bias %n, %b : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>
      tx.yield %o, %mean, %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
  })",
                1e-5);
}

TEST(GpuRows, NormMadeAgain) {
  FOR_GPUS_ONLY();
  checkAtWidths(R"(step.kernel @k "row_wise" inplace [-1, -1] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>, %mean: tensor<$Bx$Txf32>, %rstd: tensor<$Bx$Txf32>):
      %n = tx.normalized %x, %gain by %mean, %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> by tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
      %m = tx.normalized %x, %gain by %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> by tensor<$Bx$Txf32>
      tx.yield %n, %m : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Nxf32>
  })");
}

TEST(GpuRows, GeluOverManyValues) {
  FOR_GPUS_ONLY();
  // Far into both tails.
  for (const char *kind : {"gelu", "gelu_tanh", "silu"}) {
    std::string text = R"(step.kernel @k "row_wise" inplace [-1, -1] {
      ^bb0(%x: tensor<4x8x128xf32>, %g: tensor<4x8x128xf32>):
        %a = tx.activation KIND %x : tensor<4x8x128xf32>
        %d = tx.activation_vjp KIND %g, %x : tensor<4x8x128xf32>
        tx.yield %a, %d : tensor<4x8x128xf32>, tensor<4x8x128xf32>
    })";
    for (size_t at; (at = text.find("KIND")) != std::string::npos;)
      text.replace(at, 4, kind);
    Doubles x(4096);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = -100 + 200.0 * i / (x.size() - 1);
    for (const std::string &form : {text, inBf16(text)}) {
      KernelCase made = makeCase(form, {}, 1e-6, {{0, x}});
      made.name = std::string(kind) + (form == text ? "" : " bf16");
      checkCase(std::move(made));
    }
  }
}

TEST(GpuRows, SwigluBothWays) {
  FOR_GPUS_ONLY();
  for (int64_t n : {3, 1000, 1024, 2047, 5504, 14336}) {
    Sizes sizes = {{"B", 1}, {"T", 3}, {"N", n}, {"M", 2 * n}};
    checkKernel(R"(step.kernel @k "row_wise" inplace [-1] {
      ^bb0(%x: tensor<$Bx$Tx$Mxf32>):
        %s = tx.swiglu %x : tensor<$Bx$Tx$Mxf32> -> tensor<$Bx$Tx$Nxf32>
        tx.yield %s : tensor<$Bx$Tx$Nxf32>
    })",
                sizes);
    checkKernel(R"(step.kernel @k "row_wise" inplace [1] {
      ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %x: tensor<$Bx$Tx$Mxf32>):
        %d = tx.swiglu_vjp %g, %x : tensor<$Bx$Tx$Nxf32>, tensor<$Bx$Tx$Mxf32>
        tx.yield %d : tensor<$Bx$Tx$Mxf32>
    })",
                sizes);
  }
}

TEST(GpuRows, DropoutAtWidths) {
  FOR_GPUS_ONLY();
  checkAtWidths(R"(step.kernel @k "row_wise" inplace [0] {
    ^bb0(%x: tensor<$Bx$Tx$Nxf32>, %hyper: !tx.hyper):
      %d = tx.dropout %x, %hyper p 0.1 site 65536 : tensor<$Bx$Tx$Nxf32>
      tx.yield %d : tensor<$Bx$Tx$Nxf32>
  })");
}

TEST(GpuRows, RopeOddHeads) {
  FOR_GPUS_ONLY();
  // 5 and 3 pairs, pairs that straddle vectors, heads of the models.
  for (const char *layout : {"half", "interleaved", "half inverse", "interleaved inverse"})
    for (int64_t dim : {2, 10, 6, 36, 64, 80, 128}) {
      std::string text = R"(step.kernel @k "row_wise" inplace [PLACE] {
        ^bb0(%x: tensor<2x7x$Nxf32>, %c: tensor<7x$Hxf32>, %s: tensor<7x$Hxf32>):
          %r = tx.rope %x, %c, %s LAYOUT heads 9 head_dim $D : tensor<2x7x$Nxf32>, tensor<7x$Hxf32>
          tx.yield %r : tensor<2x7x$Nxf32>
      })";
      text.replace(text.find("LAYOUT"), 6, layout);
      for (const char *place : {"0", "-1"}) {
        std::string made = text;
        made.replace(made.find("PLACE"), 5, place);
        checkKernel(made, {{"N", 12 * dim}, {"H", dim / 2}, {"D", dim}}, 3e-6, ropeTakesBf16(layout, dim));
      }
    }
}

//===-- Sums over rows -----------------------------------------------------===//

/// Fewer rows than blocks, more rows than the whole grid has, rows in pairs.
static void checkRows(const std::string &text, double tolerance) {
  for (Sizes sizes : {Sizes{{"B", 1}, {"T", 1}, {"N", 64}}, Sizes{{"B", 1}, {"T", 531}, {"N", 72}},
                      Sizes{{"B", 3}, {"T", 977}, {"N", 24}}, Sizes{{"B", 1}, {"T", 2113}, {"N", 20}},
                      Sizes{{"B", 2}, {"T", 13}, {"N", 1536}}, Sizes{{"B", 1}, {"T", 17}, {"N", 2048}},
                      Sizes{{"B", 1}, {"T", 5}, {"N", 4099}}, Sizes{{"B", 1}, {"T", 3}, {"N", 16384}}})
    checkKernel(text, sizes, tolerance);
}

TEST(GpuColumnSums, BiasVjp) {
  FOR_GPUS_ONLY();
  checkRows(R"(step.kernel @k "row_wise" inplace [1] {
    ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %old: tensor<$Nxf32>):
      %b = tx.bias_vjp %g : tensor<$Bx$Tx$Nxf32> -> tensor<$Nxf32>
      %new = tx.add %b, %old : tensor<$Nxf32>
      tx.yield %new : tensor<$Nxf32>
  })",
            1e-5);
}

TEST(GpuColumnSums, RmsNormVjpAndResidual) {
  FOR_GPUS_ONLY();
  checkRows(R"(step.kernel @k "row_wise" inplace [4, 5] {
    ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %x: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>, %rstd: tensor<$Bx$Txf32>,
         %r: tensor<$Bx$Tx$Nxf32>, %old: tensor<$Nxf32>):
      %dx, %dg = tx.rms_norm_vjp %g, %x, %gain, %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>, tensor<$Bx$Txf32>
      %s = tx.add %r, %dx : tensor<$Bx$Tx$Nxf32>
      %new = tx.add %dg, %old : tensor<$Nxf32>
      tx.yield %s, %new : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>
  })",
            1e-5);
}

TEST(GpuColumnSums, LayerNormVjpMadeAgain) {
  FOR_GPUS_ONLY();
  checkRows(R"(step.kernel @k "row_wise" inplace [0, -1, -1] {
    ^bb0(%g: tensor<$Bx$Tx$Nxf32>, %x: tensor<$Bx$Tx$Nxf32>, %gain: tensor<$Nxf32>, %mean: tensor<$Bx$Txf32>,
         %rstd: tensor<$Bx$Txf32>):
      %dx, %dg = tx.layer_norm_vjp %g, %x, %gain, %mean, %rstd
        : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>, tensor<$Bx$Txf32>
      %n = tx.normalized %x, %gain by %mean, %rstd : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32> by tensor<$Bx$Txf32>, tensor<$Bx$Txf32>
      tx.yield %dx, %dg, %n : tensor<$Bx$Tx$Nxf32>, tensor<$Nxf32>, tensor<$Bx$Tx$Nxf32>
  })",
            1e-5);
}

//===-- Loss ---------------------------------------------------------------===//

TEST(GpuLoss, CrossEntropyOverItsLogits) {
  FOR_GPUS_ONLY();
  for (int64_t vocabulary : {65, 257, 32000, 50257, 50304, 128256})
    checkKernel(R"(step.kernel @k "row_wise" inplace [-1, 0] {
      ^bb0(%x: tensor<1x$Tx$Nxf32>, %y: tensor<1x$Txi32>, %count: tensor<f32>):
        %one = arith.constant dense<1.0> : tensor<f32>
        %loss, %lse = tx.cross_entropy %x, %y ignore_index -1 : tensor<1x$Tx$Nxf32>, tensor<1x$Txi32> -> tensor<1x$Txf32>, tensor<1x$Txf32>
        %g = tx.mean_loss_vjp %one, %count : tensor<f32>, tensor<f32> -> tensor<1x$Txf32>
        %d = tx.cross_entropy_vjp %g, %x, %y, %lse ignore_index -1
          : tensor<1x$Tx$Nxf32>, tensor<1x$Txi32>, tensor<1x$Txf32>
        tx.yield %loss, %d : tensor<1x$Txf32>, tensor<1x$Tx$Nxf32>
    })",
                {{"T", vocabulary > 1000 ? 2 : 11}, {"N", vocabulary}});
}

TEST(GpuLoss, LossOfManyTokens) {
  FOR_GPUS_ONLY();
  checkKernel(R"(step.kernel @k "reduction" inplace [-1] {
    ^bb0(%l: tensor<7x$Txf32>, %c: tensor<f32>):
      %m = tx.mean_loss %l, %c : tensor<7x$Txf32>, tensor<f32> -> tensor<f32>
      tx.yield %m : tensor<f32>
  })",
              {{"T", 1023}}, 1e-7);
  checkKernel(R"(step.kernel @k "reduction" inplace [-1] {
    ^bb0(%y: tensor<7x$Txi32>):
      %c = tx.target_count %y ignore_index -1 : tensor<7x$Txi32> -> tensor<f32>
      tx.yield %c : tensor<f32>
  })",
              {{"T", 1023}}, 0);
}

//===-- Embeddings ---------------------------------------------------------===//

TEST(GpuScatter, EmbeddingVjpBySegments) {
  FOR_GPUS_ONLY();
  // Every token many times, so that one goes on over several segments; a large
  // table of which little is touched; one token alone.
  struct Case {
    int64_t t, v, n;
  };
  for (Case c : {Case{333, 2, 40}, Case{1024, 65, 24}, Case{97, 30011, 8}, Case{200, 1, 33}, Case{1, 7, 8},
                 Case{31, 5, 2048}})
    for (const char *inplace : {"2", "-1"})
      checkKernel(std::string("step.kernel @k \"scatter\" inplace [") + inplace + R"(] {
        ^bb0(%t: tensor<2x$Txi32>, %g: tensor<2x$Tx$Nxf32>, %old: tensor<$Vx$Nxf32>):
          %d = tx.embedding_vjp %t, %g : tensor<2x$Txi32>, tensor<2x$Tx$Nxf32> -> tensor<$Vx$Nxf32>
          %new = tx.add %d, %old : tensor<$Vx$Nxf32>
          tx.yield %new : tensor<$Vx$Nxf32>
      })",
                  {{"T", c.t}, {"V", c.v}, {"N", c.n}}, 1e-5);
}

//===-- Attention ----------------------------------------------------------===//

namespace {

struct AttentionSize {
  int64_t batch, length, heads, kvHeads, dim;
  double dropout = 0;
  bool f32 = false;
  const char *rotation = nullptr; ///< of the gradients, layout of tx.rope
};

void checkAttention(const AttentionSize &s) {
  std::string type = s.f32 ? "f32" : "bf16", hyper = s.dropout > 0 ? ", %h: !tx.hyper" : "";
  std::string use =
      std::string(s.dropout > 0 ? ", hyper %h" : "") + " heads $H kv_heads $K" +
      (s.dropout > 0 ? " {dropout = " + std::to_string(s.dropout) + " : f64, site = 65539 : i32}" : "");
  auto fill = [&](std::string text) {
    for (size_t at; (at = text.find("TYPE")) != std::string::npos;)
      text.replace(at, 4, type);
    return text;
  };
  Sizes sizes = {{"B", s.batch},
                 {"T", s.length},
                 {"H", s.heads},
                 {"K", s.kvHeads},
                 {"P", (s.heads + 2 * s.kvHeads) * s.dim},
                 {"O", s.heads * s.dim},
                 {"R", s.heads + s.kvHeads},
                 {"D", s.dim},
                 {"A", s.dim / 2}};
  std::string name = "B" + std::to_string(s.batch) + " T" + std::to_string(s.length) + " H" +
                     std::to_string(s.heads) + "/" + std::to_string(s.kvHeads) + " D" +
                     std::to_string(s.dim) + (s.dropout > 0 ? " dropout" : "") + (s.rotation ? std::string(" ") + s.rotation : "") + " " + type;
  // Probabilities meet the tensor cores as bf16; log-sums stay f32. Gradients of scores do
  // too, and cancel in sums over keys: on an H200 the worst element of all cases was off by
  // 1.6e-2, the same by wgmma and by mma.sync.
  double tolerance = s.f32 ? 1e-5 : 8e-3, gradTolerance = s.f32 ? 1e-5 : 2.5e-2;
  KernelCase forward =
      makeCase(fill("step.kernel @k \"attention\" inplace [-1, -1] {\n^bb0(%q: tensor<$Bx$Tx$PxTYPE>" +
                    hyper + "):\n%o, %l = tx.attention %q" + use +
                    " : tensor<$Bx$Tx$PxTYPE> -> tensor<$Bx$Tx$OxTYPE>, tensor<$Bx$Hx$Txf32>\n"
                    "tx.yield %o, %l : tensor<$Bx$Tx$OxTYPE>, tensor<$Bx$Hx$Txf32>\n}"),
               sizes, tolerance);
  if (testing::Test::HasFailure())
    return;
  forward.name = "forward " + name;
  forward.results[0].tolerance = tolerance;
  forward.results[1].tolerance = 1e-5;
  std::map<unsigned, Doubles> given = {{1, toDoubles(forward.buffers[0].data, forward.buffers[0].type)},
                                       {2, forward.results[0].expected},
                                       {3, forward.results[1].expected}};
  checkCase(std::move(forward));
  KernelCase backward =
      makeCase(fill("step.kernel @k \"attention\" inplace [-1] {\n^bb0(%g: tensor<$Bx$Tx$OxTYPE>, %q: "
                    "tensor<$Bx$Tx$PxTYPE>, "
                    "%o: tensor<$Bx$Tx$OxTYPE>, %l: tensor<$Bx$Hx$Txf32>" +
                    hyper + (s.rotation ? ", %c: tensor<$Tx$Axf32>, %s: tensor<$Tx$Axf32>" : "") +
                    "):\n%d = tx.attention_vjp %g, %q, %o, %l" + use +
                    " : tensor<$Bx$Tx$PxTYPE>, tensor<$Bx$Tx$OxTYPE>, tensor<$Bx$Hx$Txf32>\n" +
                    (s.rotation ? std::string("%r = tx.rope %d, %c, %s ") + s.rotation +
                                      " heads $R head_dim $D : tensor<$Bx$Tx$PxTYPE>, tensor<$Tx$Axf32>\n"
                                      "tx.yield %r"
                                : "tx.yield %d") +
                    " : tensor<$Bx$Tx$PxTYPE>\n}"),
               sizes, gradTolerance, given);
  backward.name = "backward " + name;
  backward.results[0].tolerance = gradTolerance;
  checkCase(std::move(backward));
}

} // namespace

// Both head sizes of the tensor cores, one, several and partly filled tiles of 128.
TEST(GpuAttention, TensorCores) {
  FOR_GPUS_ONLY();
  for (const AttentionSize &s : {AttentionSize{1, 1, 2, 2, 64},
                                 {2, 127, 2, 2, 64},
                                 {1, 128, 3, 3, 64},
                                 {2, 129, 2, 2, 64},
                                 {1, 300, 2, 2, 64},
                                 {1, 1, 1, 1, 128},
                                 {2, 100, 2, 2, 128},
                                 {1, 257, 2, 2, 128},
                                 {1, 384, 1, 1, 128}})
    checkAttention(s);
}

TEST(GpuAttention, GroupedQueries) {
  FOR_GPUS_ONLY();
  for (const AttentionSize &s : {AttentionSize{1, 130, 8, 2, 64}, {2, 65, 6, 1, 64}, {1, 200, 4, 2, 128}})
    checkAttention(s);
}

// dQ is rotated by the launch that rounds it, dK by the main one.
TEST(GpuAttention, RotatedGradients) {
  FOR_GPUS_ONLY();
  if (CaseSink::current->target() != "sm_90a")
    GTEST_SKIP() << "only Hopper's kernel rotates";
  for (const char *rotation : {"half inverse", "interleaved inverse", "interleaved"})
    for (const AttentionSize &s : {AttentionSize{2, 130, 4, 2, 64, 0, false, rotation},
                                   {2, 200, 2, 2, 128, 0, false, rotation},
                                   {1, 150, 4, 2, 32, 0.1, false, rotation},
                                   {1, 100, 2, 1, 96, 0, false, rotation}})
      checkAttention(s);
}

TEST(GpuAttention, PaddedHeads) {
  FOR_GPUS_ONLY();
  for (int64_t dim : {8, 32, 40, 72, 80, 96, 120})
    checkAttention({1, 150, 4, 2, dim});
}

TEST(GpuAttention, Dropout) {
  FOR_GPUS_ONLY();
  for (const AttentionSize &s :
       {AttentionSize{2, 130, 4, 2, 64, 0.1}, {1, 140, 2, 2, 128, 0.2}, {1, 70, 2, 1, 96, 0.5}})
    checkAttention(s);
}

// Heads beyond those of sm_90a's tensor cores: columns in halves, tiles of 64 rows.
TEST(GpuAttention, WideHeads) {
  FOR_GPUS_ONLY();
  for (const AttentionSize &s : {AttentionSize{1, 130, 2, 1, 136},
                                 {2, 64, 2, 2, 160},
                                 {1, 65, 4, 2, 192},
                                 {1, 1, 1, 1, 256},
                                 {2, 63, 2, 2, 256},
                                 {1, 200, 4, 1, 256},
                                 {1, 100, 2, 1, 256, 0.25}})
    checkAttention(s);
}

// f32, heads that are no multiple of 8: without tensor cores.
TEST(GpuAttention, Plain) {
  FOR_GPUS_ONLY();
  for (const AttentionSize &s : {AttentionSize{2, 70, 4, 2, 64, 0, true},
                                 {1, 45, 2, 2, 80, 0.3, true},
                                 {2, 33, 3, 1, 20, 0, true},
                                 {1, 40, 2, 1, 252},
                                 {1, 33, 2, 1, 256, 0.25, true},
                                 {1, 50, 2, 1, 36},
                                 {1, 1, 1, 1, 2, 0, true}})
    checkAttention(s);
}
