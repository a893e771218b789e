//===- AttentionTest.cpp - The attention kernels against a plain evaluation ===//
//
// Compiles the two kernels for this machine, runs them on random numbers over
// odd sizes and compares with an evaluation in double that follows the text of
// tx.attention and tx.attention_vjp word by word.
//
//===----------------------------------------------------------------------===//

#include "txc/Codegen/Passes.h"
#include "txc/step_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/TargetSelect.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>

using namespace mlir;
using namespace txc;

namespace {

struct Case {
  int64_t batch, length, heads, kvHeads, headDim;
  double dropout = 0;
  int64_t rowSize() const { return (heads + 2 * kvHeads) * headDim; }
  int64_t qkvCount() const { return batch * length * rowSize(); }
  int64_t outputCount() const { return batch * length * heads * headDim; }
  int64_t lseCount() const { return batch * heads * length; }
};

std::ostream &operator<<(std::ostream &os, const Case &c) {
  return os << "B" << c.batch << " T" << c.length << " H" << c.heads << " K" << c.kvHeads << " D" << c.headDim
            << " dropout " << c.dropout;
}

//===-- Philox4x32-10, as in the literature --------------------------------===//

uint32_t philoxWord0(uint64_t element, uint32_t site, uint32_t step, uint32_t keyLo, uint32_t keyHi) {
  uint32_t c[4] = {uint32_t(element), uint32_t(element >> 32), site, step};
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t(0xD2511F53u) * c[0], p1 = uint64_t(0xCD9E8D57u) * c[2];
    uint32_t next[4] = {uint32_t(p1 >> 32) ^ c[1] ^ keyLo, uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ keyHi,
                        uint32_t(p0)};
    std::copy(next, next + 4, c);
    keyLo += 0x9E3779B9u;
    keyHi += 0xBB67AE85u;
  }
  return c[0];
}

//===-- Plain evaluation ---------------------------------------------------===//

struct Plain {
  Case c;
  const txc_hyper_t &hyper;
  const std::vector<float> &qkv;
  std::vector<double> output, lse, gradient;

  double keep(int64_t b, int64_t h, int64_t t, int64_t s) const {
    if (c.dropout == 0)
      return 1;
    uint64_t element = ((b * c.heads + h) * c.length + t) * c.length + s;
    double u = (philoxWord0(element, 7, hyper.step_lo, hyper.seed_lo, hyper.seed_hi) >> 8) * 0x1p-24;
    return u >= c.dropout ? 1 / (1 - c.dropout) : 0;
  }
  int64_t q(int64_t b, int64_t h, int64_t t) const {
    return (b * c.length + t) * c.rowSize() + h * c.headDim;
  }
  int64_t k(int64_t b, int64_t h, int64_t t) const { return q(b, c.heads + h / (c.heads / c.kvHeads), t); }
  int64_t v(int64_t b, int64_t h, int64_t t) const { return k(b, h, t) + c.kvHeads * c.headDim; }
  int64_t o(int64_t b, int64_t h, int64_t t) const { return ((b * c.length + t) * c.heads + h) * c.headDim; }
  double dot(const float *x, const float *y) const {
    double sum = 0;
    for (int64_t i = 0; i < c.headDim; ++i)
      sum += double(x[i]) * y[i];
    return sum;
  }

  void run(const std::vector<float> &grad) {
    output.assign(c.outputCount(), 0);
    lse.assign(c.lseCount(), 0);
    gradient.assign(c.qkvCount(), 0);
    double scale = 1 / std::sqrt(double(c.headDim));
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t h = 0; h < c.heads; ++h)
        for (int64_t t = 0; t < c.length; ++t) {
          std::vector<double> p(t + 1);
          double highest = -INFINITY, total = 0;
          for (int64_t s = 0; s <= t; ++s)
            highest = std::max(highest, p[s] = dot(&qkv[q(b, h, t)], &qkv[k(b, h, s)]) * scale);
          for (double &x : p)
            total += std::exp(x - highest);
          double rowLse = highest + std::log(total);
          lse[(b * c.heads + h) * c.length + t] = rowLse;
          for (int64_t s = 0; s <= t; ++s) {
            p[s] = std::exp(p[s] - rowLse);
            for (int64_t i = 0; i < c.headDim; ++i)
              output[o(b, h, t) + i] += p[s] * keep(b, h, t, s) * qkv[v(b, h, s) + i];
          }
          double delta = 0;
          for (int64_t i = 0; i < c.headDim; ++i)
            delta += grad[o(b, h, t) + i] * output[o(b, h, t) + i];
          for (int64_t s = 0; s <= t; ++s) {
            double kept = keep(b, h, t, s);
            double ds = p[s] * (dot(&grad[o(b, h, t)], &qkv[v(b, h, s)]) * kept - delta) * scale;
            for (int64_t i = 0; i < c.headDim; ++i) {
              gradient[v(b, h, s) + i] += p[s] * kept * grad[o(b, h, t) + i];
              gradient[q(b, h, t) + i] += ds * qkv[k(b, h, s) + i];
              gradient[k(b, h, s) + i] += ds * qkv[q(b, h, t) + i];
            }
          }
        }
  }
};

//===-- Compile and call ---------------------------------------------------===//

/// The compiled kernels of one case.
class Compiled {
public:
  Compiled(const Case &c, const std::string &level) : c(c) {
    std::string error;
    FailureOr<codegen::Target> found = codegen::getTarget(level, error);
    if (failed(found)) {
      ADD_FAILURE() << error;
      return;
    }
    target = *found;
    DialectRegistry registry;
    registry.insert<tx::TxDialect, step::StepDialect, arith::ArithDialect, func::FuncDialect>();
    context.appendDialectRegistry(registry);
    build();
  }

  txc_cpu_kernel_fn forward = nullptr, backward = nullptr;
  codegen::KernelShape forwardShape, backwardShape;

private:
  std::string kernelText() const {
    std::string text;
    llvm::raw_string_ostream os(text);
    std::string sizes = llvm::formatv("{0}x{1}x", c.batch, c.length).str();
    std::string qkv = llvm::formatv("tensor<{0}{1}xf32>", sizes, c.rowSize()).str();
    std::string out = llvm::formatv("tensor<{0}{1}xf32>", sizes, c.heads * c.headDim).str();
    std::string lse = llvm::formatv("tensor<{0}x{1}x{2}xf32>", c.batch, c.heads, c.length).str();
    bool drop = c.dropout > 0;
    std::string hyperArg = drop ? ", %h: !tx.hyper" : "", hyperUse = drop ? ", hyper %h" : "";
    std::string attrs = drop ? llvm::formatv(" {{dropout = {0:e}, site = 7 : i32}", c.dropout).str() : "";
    std::string common =
        hyperUse + llvm::formatv(" heads {0} kv_heads {1}", c.heads, c.kvHeads).str() + attrs;
    os << "step.program @p {\n"
       << "step.kernel @forward \"attention\" {\n^bb0(%q: " << qkv << hyperArg << "):\n"
       << "  %o, %l = tx.attention %q" << common << " : " << qkv << " -> " << out << ", " << lse << "\n"
       << "  \"tx.yield\"(%o, %l) : (" << out << ", " << lse << ") -> ()\n}\n"
       << "step.kernel @backward \"attention\" {\n^bb0(%g: " << out << ", %q: " << qkv << ", %o: " << out
       << ", %l: " << lse << hyperArg << "):\n"
       << "  %r = tx.attention_vjp %g, %q, %o, %l" << common << " : " << qkv << ", " << out << ", " << lse
       << "\n"
       << "  \"tx.yield\"(%r) : (" << qkv << ") -> ()\n}\n}\n";
    return text;
  }

  void build() {
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(kernelText(), &context);
    ASSERT_TRUE(module);
    module->walk([&](step::KernelOp kernel) {
      FailureOr<codegen::KernelShape> shape = codegen::describeKernel(kernel, target);
      ASSERT_TRUE(succeeded(shape));
      kernel.setBlocks(shape->blocks);
      kernel.setWorkspace(shape->workspaceBytes);
      (kernel.getSymName() == "forward" ? forwardShape : backwardShape) = *shape;
    });
    PassManager pm(&context);
    codegen::buildPipeline(pm, {target.isa().str()});
    ASSERT_TRUE(succeeded(pm.run(*module)));
    module->walk([&](step::ObjectOp object) {
      engine = llvm::cantFail(llvm::orc::LLJITBuilder().create());
      llvm::cantFail(engine->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object.getCode())));
    });
    forward = llvm::cantFail(engine->lookup("forward.0")).toPtr<txc_cpu_kernel_fn>();
    backward = llvm::cantFail(engine->lookup("backward.0")).toPtr<txc_cpu_kernel_fn>();
  }

  Case c;
  codegen::Target target;
  MLIRContext context;
  std::unique_ptr<llvm::orc::LLJIT> engine;
};

/// The arena of one case: all tensors, poisoned between and where written.
struct Arena {
  Case c;
  std::vector<float> memory;
  txc_hyper_t hyper{};
  std::vector<uint64_t> at; ///< hyper, qkv, output, lse, grad, gradient, delta

  explicit Arena(const Case &c, uint64_t deltaBytes) : c(c) {
    hyper.seed_lo = 1234, hyper.seed_hi = 99, hyper.step_lo = 5;
    size_t next = 16;
    for (int64_t count : {int64_t(16), c.qkvCount(), c.outputCount(), c.lseCount(), c.outputCount(),
                          c.qkvCount(), int64_t(deltaBytes / 4)}) {
      at.push_back(next * 4);
      next += llvm::alignTo(count, 16) + 16;
    }
    memory.assign(next, NAN);
    std::mt19937 random(42);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < c.qkvCount(); ++i)
      pointer(1)[i] = normal(random);
    for (int64_t i = 0; i < c.outputCount(); ++i)
      pointer(4)[i] = normal(random);
    memcpy(pointer(0), &hyper, sizeof(hyper));
  }
  float *pointer(int i) { return memory.data() + at[i] / 4; }
  std::vector<float> tensor(int i, int64_t count) { return {pointer(i), pointer(i) + count}; }

  /// Runs the blocks in pieces of `piece`, last piece first.
  void run(const Compiled &code, int64_t piece) {
    std::vector<uint64_t> forward{at[1]}, backward{at[4], at[1], at[2], at[3]};
    if (c.dropout > 0) {
      forward.push_back(at[0]);
      backward.push_back(at[0]);
    }
    forward.insert(forward.end(), {at[2], at[3]});
    backward.insert(backward.end(), {at[5], at[6]});
    auto call = [&](txc_cpu_kernel_fn kernel, const std::vector<uint64_t> &offsets, int64_t blocks) {
      for (int64_t begin = (blocks - 1) / piece * piece; begin >= 0; begin -= piece)
        kernel(reinterpret_cast<char *>(memory.data()), offsets.data(), begin,
               std::min(blocks, begin + piece));
    };
    call(code.forward, forward, code.forwardShape.blocks[0]);
    call(code.backward, backward, code.backwardShape.blocks[0]);
  }
};

double relativeError(const std::vector<float> &found, const std::vector<double> &expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (found[i] - expected[i]) * (found[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

bool hostRuns(const std::string &level) {
  if (level == "x86-64-v4")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

class Attention : public testing::TestWithParam<std::tuple<Case, std::string>> {
protected:
  static void SetUpTestSuite() {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  }
};

TEST_P(Attention, EqualsPlainEvaluation) {
  auto [c, level] = GetParam();
  if (!hostRuns(level))
    GTEST_SKIP() << "this machine does not run " << level;
  Compiled code(c, level);
  ASSERT_TRUE(code.forward && code.backward);
  uint64_t deltaBytes = code.backwardShape.workspaceBytes[0];
  Arena arena(c, deltaBytes);
  std::vector<float> qkv = arena.tensor(1, c.qkvCount()), grad = arena.tensor(4, c.outputCount());
  Plain plain{c, arena.hyper, qkv, {}, {}, {}};
  plain.run(grad);
  arena.run(code, 1 << 20);
  EXPECT_LT(relativeError(arena.tensor(2, c.outputCount()), plain.output), 2e-6);
  EXPECT_LT(relativeError(arena.tensor(3, c.lseCount()), plain.lse), 1e-6);
  EXPECT_LT(relativeError(arena.tensor(5, c.qkvCount()), plain.gradient), 3e-6);

  // The same bits however the blocks are dealt out, and nothing beside the tensors is touched.
  for (int64_t piece : {1, 3}) {
    Arena other(c, deltaBytes);
    other.run(code, piece);
    EXPECT_EQ(memcmp(arena.memory.data(), other.memory.data(), arena.memory.size() * 4), 0);
    std::pair<int, int64_t> tensors[] = {{0, 16},
                                         {1, c.qkvCount()},
                                         {2, c.outputCount()},
                                         {3, c.lseCount()},
                                         {4, c.outputCount()},
                                         {5, c.qkvCount()},
                                         {6, int64_t(deltaBytes / 4)}};
    for (int i = 0; i < 16; ++i)
      EXPECT_TRUE(std::isnan(other.memory[i]));
    for (auto [index, count] : tensors)
      for (float *p = other.pointer(index) + count,
                 *e = index == 6 ? other.memory.data() + other.memory.size() : other.pointer(index + 1);
           p < e; ++p)
        EXPECT_TRUE(std::isnan(*p)) << "written after tensor " << index;
  }
}

const Case cases[] = {
    {2, 1, 2, 2, 8},        {1, 5, 2, 1, 2},         {2, 17, 4, 2, 24},      {1, 64, 2, 2, 64},
    {2, 100, 6, 1, 8},      {1, 100, 2, 2, 80},      {1, 129, 4, 2, 128},    {1, 70, 1, 1, 256},
    {1, 65, 3, 3, 17},      {1, 200, 2, 1, 48},      {2, 17, 4, 2, 24, 0.3}, {1, 100, 6, 1, 64, 0.3},
    {1, 5, 2, 2, 2, 0.125}, {1, 130, 2, 2, 80, 0.3},
};

INSTANTIATE_TEST_SUITE_P(Sizes, Attention,
                         testing::Combine(testing::ValuesIn(cases),
                                          testing::Values(std::string("x86-64-v3"),
                                                          std::string("x86-64-v4"))));

/// Prints rates when TXC_ATTENTION_RATES is set; a test must not depend on the machine's speed.
TEST(AttentionRate, Print) {
  if (!std::getenv("TXC_ATTENTION_RATES"))
    GTEST_SKIP() << "set TXC_ATTENTION_RATES to measure";
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  for (const char *level : {"x86-64-v3", "x86-64-v4"})
    for (Case c : {Case{1, 256, 6, 6, 64}, Case{1, 1024, 2, 2, 64}, Case{1, 1024, 2, 2, 128},
                   Case{1, 256, 6, 6, 64, 0.2}}) {
      if (!hostRuns(level))
        continue;
      Compiled code(c, level);
      Arena arena(c, code.backwardShape.workspaceBytes[0]);
      arena.run(code, 1 << 20);
      std::vector<uint64_t> forward{arena.at[1]},
          backward{arena.at[4], arena.at[1], arena.at[2], arena.at[3]};
      if (c.dropout > 0) {
        forward.push_back(arena.at[0]);
        backward.push_back(arena.at[0]);
      }
      forward.insert(forward.end(), {arena.at[2], arena.at[3]});
      backward.insert(backward.end(), {arena.at[5], arena.at[6]});
      auto best = [&](txc_cpu_kernel_fn kernel, const std::vector<uint64_t> &offsets, int64_t blocks) {
        double least = 1e9;
        for (int i = 0; i < 9; ++i) {
          auto start = std::chrono::steady_clock::now();
          kernel(reinterpret_cast<char *>(arena.memory.data()), offsets.data(), 0, blocks);
          least = std::min(least,
                           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
        return least;
      };
      double pairs = c.batch * c.heads * c.headDim * (c.length * (c.length + 1) / 2.0);
      double f = best(code.forward, forward, code.forwardShape.blocks[0]);
      double g = best(code.backward, backward, code.backwardShape.blocks[0]);
      std::cout << level << " " << c << ": forward " << 4 * pairs / f * 1e-9 << " GFLOP/s, backward "
                << 8 * pairs / g * 1e-9 << " (" << 10 * pairs / g * 1e-9 << " with recomputed scores)\n";
    }
}

} // namespace
