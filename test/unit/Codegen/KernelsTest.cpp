//===- KernelsTest.cpp - Scatter, reduction, table and flat kernels --------===//

#include "CheckKernel.h"

#include "gtest/gtest.h"

#include <cmath>
#include <memory>
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
/// The flat arena of some parameters, with padding between them.
struct FlatArena {
  enum Start { Zeros, Ones, Normal };
  struct Segment {
    int64_t first, count;
    bool decays;
    Start start;
    bool leavesGradient = false;
  };
  std::vector<Segment> segments;
  int64_t total;

  std::string kernel(const std::string &kind, const std::string &inplace, bool copies = false) const {
    std::string numbers, stddevs;
    for (size_t site = 0; site < segments.size(); ++site) {
      const Segment &s = segments[site];
      for (int64_t n : {s.first, s.count, int64_t(s.decays + 2 * s.leavesGradient), int64_t(s.start), int64_t(site)})
        numbers += (numbers.empty() ? "" : ", ") + std::to_string(n);
      stddevs += std::string(site ? ", " : "") + (s.start == Normal ? "2.0e-2" : "0.0");
    }
    return "step.kernel @k \"" + kind + "\" " + (copies ? "compute " : "") + "inplace " + inplace +
           " segments [" + numbers + "] " + (kind == "init" ? "stddevs [" + stddevs + "] {}" : "{}");
  }
  CaseBuffer random(double scale, uint64_t seed, int kind = Filling::Normal) const {
    return filled(CaseBuffer::F32, {kind, seed, scale}, total);
  }
  /// Visits the elements of segment after segment.
  template <typename F> void forElements(F work) const {
    for (const Segment &s : segments)
      for (int64_t i = 0; i < s.count; ++i)
        work(s, s.first + i, i);
  }
};

/// Three parameters, the first of several blocks of every target.
const FlatArena three = {{{0, 40050, true, FlatArena::Normal},
                          {40064, 7, false, FlatArena::Ones},
                          {40080, 100, false, FlatArena::Zeros}},
                         40192};
/// Sizes around those of a GPU's pieces, and more parameters than a warp has lanes.
FlatArena many() {
  FlatArena arena = {{}, 0};
  std::vector<int64_t> counts = {1, 3, 2047, 2048, 2049, 16385, 70001};
  while (counts.size() < 40)
    counts.push_back(5 + counts.size() % 9);
  for (int64_t count : counts) {
    size_t number = arena.segments.size();
    arena.segments.push_back({arena.total, count, number % 2 == 0, FlatArena::Start(2 - number % 3)});
    arena.total = (arena.total + count + 31) / 32 * 32;
  }
  return arena;
}

/// The same, but adamw does not zero the gradients of every other parameter.
FlatArena leaving(FlatArena arena) {
  for (size_t i = 0; i < arena.segments.size(); i += 2)
    arena.segments[i].leavesGradient = true;
  return arena;
}

Doubles valuesIn(const CaseBuffer &buffer) { return toDoubles(buffer.data, buffer.type); }

void checkInit(const FlatArena &arena, const std::string &name, bool copies) {
  txc_hyper hyper = testHyper();
  CaseBuffer before = arena.random(1, 1);
  Doubles expected = valuesIn(before), copy(arena.total, NAN); // padding is not touched
  uint32_t site = 0;
  for (const FlatArena::Segment &s : arena.segments) {
    for (int64_t i = 0; i < s.count; ++i) {
      double &value = expected[s.first + i] = s.start == FlatArena::Ones;
      if (s.start == FlatArena::Normal) {
        auto w = philox({uint32_t(i), 0, site, 0xffffffff}, hyper.seed_lo, hyper.seed_hi);
        double u1 = ((w[0] >> 8) + 1) * 0x1p-24, u2 = (w[1] >> 8) * 0x1p-24;
        value = 2e-2f * std::sqrt(-2 * std::log(u1)) * std::cos(2 * std::acos(-1.0) * u2);
      }
      copy[s.first + i] = value;
    }
    ++site;
  }
  KernelCase made;
  made.name = name;
  made.text = arena.kernel("init", copies ? "[1, -1]" : "[1]", copies);
  made.buffers = {hyperBuffer(hyper), before, before};
  made.shares = {-1, -1, 1};
  made.arguments = {0, 1};
  // Padding is as large as normal values, of which the expected ones are 2%.
  made.results = {{expected, 1e-7}};
  if (copies) {
    made.buffers.push_back({CaseBuffer::BF16, Bytes(2 * arena.total)});
    made.shares.push_back(-1);
    made.arguments.push_back(3);
    made.results.push_back({copy, 4e-3});
  }
  checkCase(std::move(made));
}

void checkGlobalNorm(const FlatArena &arena, const std::string &name, float limit) {
  txc_hyper hyper = testHyper();
  hyper.grad_clip = limit;
  CaseBuffer gradient = arena.random(0.5, 2);
  Doubles grad = valuesIn(gradient);
  double sum = 0, squares = 0, least = 1e30, most = -1e30, norms = 0, normMost = 0, normLeast = 1e30, n = 0;
  for (const FlatArena::Segment &s : arena.segments) {
    double own = 0;
    for (int64_t e = s.first; e < s.first + s.count; ++e, ++n) {
      double g = grad[e] * hyper.grad_scale;
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
  KernelCase made;
  made.name = name;
  made.text = arena.kernel("global_norm", "[-1]");
  made.buffers = {hyperBuffer(hyper), gradient, {CaseBuffer::F32, Bytes(44)}};
  made.shares = {-1, -1, -1};
  made.results = {{{norm, clip, sum / n, std::sqrt(squares / n - sum / n * sum / n), least, most,
                    norms / double(arena.segments.size()), normMost, normLeast, 0, 0},
                   2e-7,
                   /*eachAlone=*/true}};
  checkCase(std::move(made));
}

void checkAdamW(const FlatArena &arena, const std::string &name, bool copies) {
  txc_hyper h = testHyper();
  CaseBuffer values = arena.random(1, 1), gradients = arena.random(0.1, 2),
             firstMoments = arena.random(0.1, 3), secondMoments = arena.random(0.1, 4, Filling::Positive);
  float clip = 0.75f;
  Doubles newW = valuesIn(values), newG = valuesIn(gradients), newM = valuesIn(firstMoments),
          newV = valuesIn(secondMoments), copy(arena.total, NAN);
  arena.forElements([&](const FlatArena::Segment &s, int64_t e, int64_t) {
    double grad = newG[e] * h.grad_scale * clip;
    newM[e] = h.beta1 * newM[e] + (1 - double(h.beta1)) * grad;
    newV[e] = h.beta2 * newV[e] + (1 - double(h.beta2)) * grad * grad;
    if (s.decays)
      newW[e] -= double(h.learning_rate) * h.weight_decay * newW[e];
    newW[e] -= h.learning_rate * (newM[e] / h.bias_correction1) /
               (std::sqrt(newV[e] / h.bias_correction2) + h.epsilon);
    if (!s.leavesGradient)
      newG[e] = 0;
    copy[e] = newW[e];
  });
  KernelCase made;
  made.name = name;
  made.text = arena.kernel("adamw", copies ? "[2, 3, 4, 5, -1]" : "[2, 3, 4, 5]", copies);
  made.buffers = {hyperBuffer(h), floats({0, clip, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
                  values,         gradients,
                  firstMoments,   secondMoments};
  made.shares = {-1, -1, -1, -1, -1, -1, 2, 3, 4, 5};
  made.arguments = {0, 1, 2, 3, 4, 5};
  for (int i = 2; i < 6; ++i)
    made.buffers.push_back(made.buffers[i]);
  made.results = {{newW, 1e-6}, {newG, 0}, {newM, 1e-6}, {newV, 1e-6}};
  if (copies) {
    made.buffers.push_back({CaseBuffer::BF16, Bytes(2 * arena.total)});
    made.shares.push_back(-1);
    made.arguments.push_back(10);
    made.results.push_back({copy, 4e-3});
  }
  checkCase(std::move(made));
}
} // namespace

TEST(Flat, Init) {
  checkInit(three, "three parameters", false);
  checkInit(many(), "many parameters", false);
}

TEST(Flat, GlobalNorm) {
  for (float limit : {1.0f, 0.0f, 1e9f})
    checkGlobalNorm(three, "three parameters, limit " + std::to_string(limit), limit);
  checkGlobalNorm(many(), "many parameters", 1);
}

TEST(Flat, AdamW) {
  checkAdamW(three, "three parameters", false);
  checkAdamW(leaving(three), "some gradients stay", false);
  checkAdamW(many(), "many parameters", false);
}

// bf16 copies of the parameters, which GPUs keep.
TEST(Flat, ComputeCopies) {
  if (!CaseSink::current)
    GTEST_SKIP() << "the CPU target keeps no copies";
  for (const auto &[name, arena] :
       {std::pair<std::string, FlatArena>{"three parameters", three}, {"many parameters", many()}}) {
    checkInit(arena, "init, " + name, true);
    checkAdamW(arena, "adamw, " + name, true);
    checkAdamW(leaving(arena), "adamw, some gradients stay, " + name, true);
  }
}

// What is not finite is counted to the element, wherever it is; who asks for it
// has the update skipped.
TEST(Flat, NonFiniteGradients) {
  for (const std::string &level : runnableLevels())
    for (uint32_t policy : {0u, 1u}) {
      KernelRunner norm(three.kernel("global_norm", "[-1]"), level);
      KernelRunner update(three.kernel("adamw", "[2, 3, 4, 5]"), level);
      ASSERT_TRUE(norm.ok() && update.ok()) << norm.error << update.error;
      txc_hyper hyper = testHyper();
      hyper.skip_nonfinite = policy;
      Bytes hyperBytes = bytesOf(std::vector<txc_hyper>{hyper});
      auto random = [](double scale, uint64_t seed) {
        return valuesOf<float>(three.random(scale, seed).data);
      };
      auto w = random(1, 1), g = random(0.1, 2), m = random(0.1, 3), v = random(0, 4);
      const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
      // Also what is masked, and padding, which does not count.
      const int64_t places[] = {0, 31, 16383, 16384, 40048, 40049, 40064, 40070, 40080, 40179, 40055};
      for (size_t i = 0; i < std::size(places); ++i)
        g[places[i]] = bad[i % 4];
      auto stats = norm.run({hyperBytes, bytesOf(g), Bytes(44)}, 1, {-1, -1, -1});
      ASSERT_TRUE(norm.ok()) << norm.error;
      auto got = valuesOf<float>(stats[2]);
      EXPECT_EQ(got[9], std::size(places) - 1);
      EXPECT_EQ(got[10], policy);
      EXPECT_FALSE(std::isfinite(got[0]));
      std::vector<Bytes> buffers = {hyperBytes, stats[2], bytesOf(w), bytesOf(g), bytesOf(m), bytesOf(v)};
      for (int i = 2; i < 6; ++i)
        buffers.push_back(buffers[i]);
      auto after = update.run(buffers, 4, {-1, -1, -1, -1, -1, -1, 2, 3, 4, 5});
      ASSERT_TRUE(update.ok()) << update.error;
      EXPECT_EQ(valuesOf<float>(after[7])[1], 0.0f);
      if (policy) {
        EXPECT_EQ(after[6], buffers[2]);
        EXPECT_EQ(after[8], buffers[4]);
        EXPECT_EQ(after[9], buffers[5]);
      } else {
        EXPECT_TRUE(std::isnan(valuesOf<float>(after[6])[1]));
      }
    }
}

// Each rank has its part of what one rank has, and no more; padding stays as it is.
TEST(Flat, ShardsOfAllRanksAreTheWhole) {
  const int64_t whole = 40050, ranks = 3, part = 13376, small = 100; // 3 * 13376 = 40128
  const std::string alone = "segments [0, 40050, 1, 2, 0, 40064, 100, 0, 1, 1] ",
                    shard = "segments [0, 13376, 1, 2, 0, 13376, 100, 0, 1, 1] wholes [40050, 0] ";
  for (const std::string &level : runnableLevels()) {
    auto kernel = [&](const char *kind, const char *inplace, const std::string &text, const char *rest = "") {
      return std::make_unique<KernelRunner>(std::string("step.kernel @k \"") + kind + "\" inplace " +
                                                inplace + " " + text + rest + " {}",
                                            level);
    };
    auto one = kernel("init", "[1]", alone, "stddevs [2.0e-2, 0.0]");
    auto many = kernel("init", "[1]", shard, "stddevs [2.0e-2, 0.0]");
    ASSERT_TRUE(one->ok() && many->ok()) << one->error << many->error;
    txc_hyper hyper = testHyper();
    hyper.num_ranks = ranks;
    auto hyperOf = [&](int64_t rank) {
      hyper.rank = rank;
      return bytesOf(std::vector<txc_hyper>{hyper});
    };
    std::vector<float> grad(40064 + small), expected;
    std::mt19937 generator(7);
    for (float &value : grad)
      value = std::normal_distribution<float>(0, 0.5)(generator);
    Bytes poison(4 * (40064 + small), 0x5a);
    expected = valuesOf<float>(one->run({hyperOf(0), poison, poison}, 1, {-1, -1, 1})[2]);
    auto norm = kernel("global_norm", "[-1]", alone);
    auto wanted = valuesOf<float>(norm->run({hyperOf(0), bytesOf(grad), Bytes(44)}, 1, {-1, -1, -1})[2]);
    auto sumsOf = kernel("gradient_sums", "[-1, -1]", shard),
         statsOf = kernel("gradient_stats", "[-1]", shard);
    ASSERT_TRUE(norm->ok() && sumsOf->ok() && statsOf->ok())
        << norm->error << sumsOf->error << statsOf->error;
    std::vector<double> sums(4, 0);
    std::vector<float> extrema(2, INFINITY);
    Bytes local(4 * (part + small), 0x5a);
    for (int64_t rank = 0; rank < ranks; ++rank) {
      auto got = valuesOf<float>(many->run({hyperOf(rank), local, local}, 1, {-1, -1, 1})[2]);
      std::vector<float> mine(part + small, NAN); // padding counts nowhere
      for (int64_t e = 0; e < part; ++e)
        if (int64_t at = rank * part + e; at < whole) {
          ASSERT_EQ(got[e], expected[at]) << rank << ' ' << e;
          mine[e] = grad[at];
        } else {
          ASSERT_EQ(got[e], valuesOf<float>(local)[0]);
        }
      for (int64_t e = 0; e < small; ++e) {
        ASSERT_EQ(got[part + e], 1.0f);
        mine[part + e] = grad[40064 + e];
      }
      auto out = sumsOf->run({hyperOf(rank), bytesOf(mine), Bytes(32), Bytes(8)}, 2, {-1, -1, -1, -1});
      ASSERT_TRUE(sumsOf->ok()) << sumsOf->error;
      for (int i = 0; i < 4; ++i)
        sums[i] += valuesOf<double>(out[2])[i];
      for (int i = 0; i < 2; ++i)
        extrema[i] = std::min(extrema[i], valuesOf<float>(out[3])[i]);
    }
    auto stats = valuesOf<float>(
        statsOf->run({hyperOf(1), bytesOf(sums), bytesOf(extrema), Bytes(44)}, 1, {-1, -1, -1, -1})[3]);
    for (int i = 0; i < 11; ++i)
      EXPECT_NEAR(stats[i], wanted[i], 2e-7 * std::fabs(wanted[i])) << i;
    EXPECT_EQ(stats[9], 0);

    // An update of shards is the update of those elements.
    std::vector<float> zeros(40064 + small, 0);
    auto whole1 = kernel("adamw", "[2, 3, 4, 5]", alone), shard1 = kernel("adamw", "[2, 3, 4, 5]", shard);
    ASSERT_TRUE(whole1->ok() && shard1->ok()) << whole1->error << shard1->error;
    auto update = [&](KernelRunner &runner, int64_t rank, std::vector<float> values, std::vector<float> g) {
      std::vector<float> moments(values.size(), 0);
      std::vector<Bytes> buffers = {hyperOf(rank), bytesOf(wanted),  bytesOf(values),
                                    bytesOf(g),    bytesOf(moments), bytesOf(moments)};
      for (int i = 2; i < 6; ++i)
        buffers.push_back(buffers[i]);
      return valuesOf<float>(runner.run(buffers, 4, {-1, -1, -1, -1, -1, -1, 2, 3, 4, 5})[6]);
    };
    auto updated = update(*whole1, 0, grad, grad);
    for (int64_t rank = 0; rank < ranks; ++rank) {
      std::vector<float> mine(part + small, 0);
      for (int64_t e = 0; e < part && rank * part + e < whole; ++e)
        mine[e] = grad[rank * part + e];
      auto got = update(*shard1, rank, mine, mine);
      for (int64_t e = 0; e < part; ++e)
        ASSERT_EQ(got[e], rank * part + e < whole ? updated[rank * part + e] : 0.0f) << rank << ' ' << e;
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
