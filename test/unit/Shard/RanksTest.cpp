//===- RanksTest.cpp - N ranks compute what one rank computes --------------===//
//
// The oracle trains a model on one rank and on N, on the same global batches, and
// compares losses, gradients, their statistics, parameters and moments after each
// update, and evaluation. All is float64, so only the order of sums differs: the
// tolerance is a few of its last bits. Copies on different ranks must be equal to the
// bit (Ranks::checkEqual). Each program is evaluated as shard made it and as fuse did.
//
//===----------------------------------------------------------------------===//

#include "txc/Autodiff/Passes.h"
#include "txc/Fuse/Passes.h"
#include "txc/Import/ImportSpec.h"
#include "txc/Interp/Passes.h"
#include "txc/Interp/Philox.h"
#include "txc/Interp/Ranks.h"
#include "txc/Shard/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace txc;
using interp::Datum;
using interp::IntTensor;
using interp::Ranks;
using interp::Tensor;

namespace {

struct Case {
  const char *name;
  std::vector<import::Override> overrides;
};

// Sizes that no number of ranks divides; a vocabulary that is no multiple of anything.
std::vector<import::Override> model(std::vector<import::Override> more) {
  std::vector<import::Override> all = {{"n_layer", "2"},   {"n_head", "2"},     {"n_embd", "10"},
                                       {"block_size", "5"}, {"vocab_size", "13"}, {"batch_size", "2"}
};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<Case> cases() {
  std::vector<import::Override> gpt2 = {{"normalization", "layernorm"}, {"position_encoding", "learned_absolute"},
                                        {"ffn_type", "standard"},       {"activation", "gelu"},
                                        {"bias", "true"},               {"weight_tying", "true"},
                                        {"dropout", "0.2"}};
  std::vector<import::Override> llama = {{"normalization", "rmsnorm"},  {"position_encoding", "rope"},
                                         {"ffn_type", "swiglu"},        {"bias", "false"},
                                         {"weight_tying", "false"},     {"dropout", "0"},
                                         {"head_dim", "6"}};
  std::vector<import::Override> bf16 = llama;
  bf16.push_back({"dtype", "bfloat16"});
  bf16.push_back({"weight_tying", "true"});
  return {{"gpt2, tied", model(gpt2)}, {"llama, untied", model(llama)}, {"bf16, tied", model(bf16)}};
}

class RanksTest : public testing::Test {
protected:
  RanksTest() {
    DialectRegistry registry;
    registry.insert<tx::TxDialect, arith::ArithDialect, func::FuncDialect>();
    autodiff::registerExternalModels(registry);
    interp::registerExternalModels(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    context.disableMultithreading();
  }

  /// What one rank of a mesh does, after shard or after fuse.
  OwningOpRef<ModuleOp> compile(const import::Spec &spec, const shard::Options &options, bool fused) {
    OwningOpRef<ModuleOp> module = import::importSpec(context, spec);
    PassManager pm(&context);
    autodiff::buildPipeline(pm);
    shard::buildPipeline(pm, options);
    if (fused)
      fuse::buildPipeline(pm, {/*lossChunks=*/3, /*maxLogitsBytes=*/0, /*rematerialize=*/true});
    if (failed(pm.run(*module)))
      return {};
    return module;
  }

  MLIRContext context;
};

const Tensor &tensorOf(const Datum &datum) { return *std::get<std::shared_ptr<const Tensor>>(datum); }

/// What two runs must agree on.
struct Record {
  void add(const std::string &what, ArrayRef<double> values) { entries.emplace_back(what, values); }
  std::vector<std::pair<std::string, std::vector<double>>> entries;
};

constexpr int64_t microBatches = 12, updates = 3;

SmallVector<Datum> argumentsOf(const import::Spec &spec, interp::Hyper hyper, uint32_t number) {
  hyper.step = number;
  SmallVector<int64_t> shape{spec.batch_size, spec.block_size};
  auto tokens = std::make_shared<IntTensor>(shape), targets = std::make_shared<IntTensor>(shape);
  for (int64_t i = 0; i < tokens->size(); ++i) {
    auto words = interp::philox(7, i, 0, number);
    (*tokens)[i] = words[0] % spec.vocab_size;
    (*targets)[i] = words[2] % 4 == 0 ? spec.ignore_index : words[1] % spec.vocab_size;
  }
  return {std::shared_ptr<const IntTensor>(tokens), std::shared_ptr<const IntTensor>(targets), hyper};
}

/// Trains and evaluates; losses of an iteration are the mean over its micro batches.
void train(ModuleOp module, const import::Spec &spec, Record &record) {
  FailureOr<Ranks> created = Ranks::create(module);
  ASSERT_TRUE(succeeded(created));
  Ranks &ranks = *created;
  auto find = [&](StringRef name) { return module.lookupSymbol<func::FuncOp>(name); };
  interp::Hyper hyper;
  hyper.learningRate = 0.02;
  hyper.beta1 = 0.9;
  hyper.beta2 = 0.95;
  hyper.epsilon = 1e-2;
  hyper.weightDecay = 0.1;
  hyper.gradClip = 0.1;
  hyper.gradScale = 1.0 / microBatches;
  hyper.seed = 0x123456789abcdef;
  SmallVector<SmallVector<Datum>> results;
  auto callOnHyper = [&](func::FuncOp function) {
    SmallVector<SmallVector<Datum>> arguments(ranks.size(), {Datum(hyper)});
    ASSERT_TRUE(succeeded(ranks.call(function, arguments, results)));
    ASSERT_TRUE(succeeded(ranks.checkEqual()));
  };
  uint32_t batch = 0;
  auto loss = [&](func::FuncOp function) {
    SmallVector<SmallVector<Datum>> arguments;
    for (int64_t rank = 0; rank < ranks.size(); ++rank)
      arguments.push_back(argumentsOf(spec, hyper, batch++));
    EXPECT_TRUE(succeeded(ranks.call(function, arguments, results)));
    for (auto &own : results)
      EXPECT_EQ(tensorOf(own[0])[0], tensorOf(results[0][0])[0]) << "loss differs between ranks";
    return std::pair(tensorOf(results[0][0])[0], tensorOf(results[0][1])[0]);
  };

  ASSERT_NO_FATAL_FAILURE(callOnHyper(find("init")));
  int64_t calls = microBatches / ranks.size();
  for (int64_t update = 0; update < updates; ++update) {
    double sum = 0, count = 0;
    for (int64_t i = 0; i < calls; ++i) {
      func::FuncOp last = i == calls - 1 ? find("micro_last") : func::FuncOp();
      auto [own, targets] = loss(last ? last : find("micro"));
      sum += own;
      count += targets;
    }
    std::string when = " in update " + std::to_string(update);
    record.add("loss" + when, {sum / calls});
    record.add("targets" + when, {count});
    for (StringAttr name : ranks.getNames())
      record.add("gradient of " + name.str() + when, ranks.getGradient(name).data);
    hyper.biasCorrection1 = 1 - std::pow(hyper.beta1, update + 1);
    hyper.biasCorrection2 = 1 - std::pow(hyper.beta2, update + 1);
    ASSERT_NO_FATAL_FAILURE(callOnHyper(find("update")));
    for (auto &own : results)
      EXPECT_EQ(tensorOf(own[0]).data, tensorOf(results[0][0]).data) << "statistics differ between ranks";
    record.add("statistics" + when, tensorOf(results[0][0]).data);
    for (StringAttr name : ranks.getNames()) {
      record.add(name.str() + when, ranks.getWhole(name, tx::State::Value).data);
      record.add("first moment of " + name.str() + when, ranks.getWhole(name, tx::State::Moment1).data);
      record.add("second moment of " + name.str() + when, ranks.getWhole(name, tx::State::Moment2).data);
    }
  }
  double sum = 0;
  for (int64_t i = 0; i < calls; ++i)
    sum += loss(find("eval")).first;
  record.add("evaluation", {sum / calls});
}

void compare(const Record &found, const Record &expected) {
  ASSERT_EQ(found.entries.size(), expected.entries.size());
  for (auto [a, b] : llvm::zip_equal(found.entries, expected.entries)) {
    ASSERT_EQ(a.first, b.first);
    ASSERT_EQ(a.second.size(), b.second.size()) << a.first;
    double largest = 1e-6;
    for (double value : b.second)
      largest = std::max(largest, std::fabs(value));
    for (size_t i = 0; i < a.second.size(); ++i)
      ASSERT_NEAR(a.second[i], b.second[i], 1e-10 * largest) << a.first << " [" << i << "]";
  }
}

TEST_F(RanksTest, EqualOneRank) {
  for (const Case &one : cases()) {
    import::Spec spec;
    std::string errors;
    llvm::raw_string_ostream os(errors);
    ASSERT_EQ(import::parseSpec("train: {gradient_accumulation_steps: 12}\n", "ranks.yaml", one.overrides, os, spec), import::LoadStatus::Ok)
        << errors;
    Record expected;
    OwningOpRef<ModuleOp> alone = compile(spec, {}, /*fused=*/false);
    ASSERT_TRUE(alone);
    ASSERT_NO_FATAL_FAILURE(train(*alone, spec, expected));
    for (int64_t ranks : {2, 3, 4})
      for (int64_t zero : {0, 1, 2, 3})
        // Each group of parameters by itself; the same after fuse; all groups together.
        for (auto [bucketMb, fused] : {std::pair(0, false), std::pair(0, true), std::pair(25, false)}) {
          SCOPED_TRACE((Twine(one.name) + ", " + Twine(ranks) + " ranks, zero " + Twine(zero) + ", bucket_mb " +
                        Twine(bucketMb) + (fused ? ", after fuse" : ""))
                           .str());
          OwningOpRef<ModuleOp> together =
              compile(spec, {"dp:" + std::to_string(ranks), zero, bucketMb}, fused);
          ASSERT_TRUE(together);
          Record found;
          ASSERT_NO_FATAL_FAILURE(train(*together, spec, found));
          ASSERT_NO_FATAL_FAILURE(compare(found, expected));
        }
  }
}

} // namespace
