//===- ProductTest.cpp - Every combination of the architecture table compiles -===//
//
// All of them go through every stage up to plan, where parameters and FLOPs of the
// program must be those of the hand formula. They share most of their kernels, so
// machine code is made of each kernel that no combination before had: every kernel of
// every combination is compiled. PairsTest links and runs whole programs.
//
//===----------------------------------------------------------------------===//

#include "Compiler.h"
#include "Factors.h"
#include "txc/Cost/Describe.h"
#include "txc/Cost/Formulas.h"
#include "txc/Dialect/Step/Step.h"

#include <gtest/gtest.h>
#include <set>

using namespace combinations;
using txc::import::Spec;
using txc::pipeline::Stage;

namespace {

const std::vector<Factor> factors = {
    {"normalization",
     {{{{"normalization", "layernorm"}}},
      {{{"normalization", "layernorm_nobias"}}},
      {{{"normalization", "rmsnorm"}}}}},
    {"position_encoding",
     {{{{"position_encoding", "learned_absolute"}}},
      {{{"position_encoding", "rope"}, {"rope_layout", "interleaved"}}},
      {{{"position_encoding", "rope"}, {"rope_layout", "half"}}},
      {{{"position_encoding", "none"}}}}},
    {"n_kv_head", {{{{"n_kv_head", "4"}}}, {{{"n_kv_head", "2"}}}, {{{"n_kv_head", "1"}}}}},
    {"norm_position", {{{{"norm_position", "pre"}}}, {{{"norm_position", "post"}}}}},
    {"ffn_type",
     {{{{"ffn_type", "swiglu"}}},
      {{{"ffn_type", "standard"}, {"activation", "gelu"}}},
      {{{"ffn_type", "standard"}, {"activation", "gelu_tanh"}}},
      {{{"ffn_type", "standard"}, {"activation", "silu"}}},
      {{{"ffn_type", "standard"}, {"activation", "relu"}}},
      {{{"ffn_type", "standard"}, {"activation", "leaky_relu"}}}}},
    {"bias", {{{{"bias", "false"}}}, {{{"bias", "true"}}}}},
    {"weight_tying", {{{{"weight_tying", "false"}}}, {{{"weight_tying", "true"}}}}},
    {"dropout", {{{{"dropout", "0"}}}, {{{"dropout", "0.1"}}}}},
};

// Odd sizes, so that nothing is a multiple of a vector or a tile.
const char *const tiny = "model: {n_layer: 1, n_head: 4, n_embd: 24, block_size: 7, vocab_size: 11}\n"
                         "train: {batch_size: 3}\n";

// What a kernel computes, without its name.
std::string contentsOf(txc::step::KernelOp kernel) {
  mlir::OwningOpRef<mlir::Operation *> copy(kernel->clone());
  mlir::cast<txc::step::KernelOp>(*copy).setSymName("kernel");
  std::string text;
  llvm::raw_string_ostream os(text);
  (*copy)->print(os, mlir::OpPrintingFlags().useLocalScope());
  return text;
}

// Takes everything from the program but the kernels that are not in `known`, and puts
// these there. False if there are none.
bool keepNewKernels(txc::step::ProgramOp program, std::set<std::string> &known) {
  bool any = false;
  for (mlir::Operation &op : llvm::make_early_inc_range(llvm::reverse(program.getBody().front()))) {
    auto kernel = mlir::dyn_cast<txc::step::KernelOp>(op);
    if (kernel && known.insert(contentsOf(kernel)).second)
      any = true;
    else
      op.erase();
  }
  return any;
}

TEST(Product, EveryCombinationCompiles) {
  Compiler compiler;
  Row row(factors.size(), 0);
  size_t count = 0, withNew = 0;
  std::set<std::string> kernels;

  for (bool more = true; more; ++count) {
    std::vector<txc::import::Override> overrides = overridesOf(factors, row);
    SCOPED_TRACE(textOf(overrides));
    auto spec = Compiler::load(tiny, overrides);
    ASSERT_TRUE(mlir::succeeded(spec));
    mlir::OwningOpRef<mlir::ModuleOp> module = compiler.import(*spec);
    ASSERT_TRUE(mlir::succeeded(compiler.run(*module, Stage::Import, Stage::Plan)));

    auto programs = module->getOps<txc::step::ProgramOp>();
    ASSERT_FALSE(programs.empty());
    llvm::json::Object facts = txc::cost::describeModule(*module, *programs.begin(), "cpu");
    const llvm::json::Object *flops = facts.getObject("flops_per_token");
    ASSERT_TRUE(flops);
    EXPECT_EQ(flops->getInteger("full"), txc::cost::countFlopsPerToken(*spec).full);
    EXPECT_EQ(flops->getInteger("causal"), txc::cost::countFlopsPerToken(*spec).causal);
    EXPECT_EQ(facts.getObject("parameters")->getInteger("total"), txc::cost::countParameters(*spec).total);
    EXPECT_EQ(facts.getString("architecture_name"), spec->architectureName());

    if (keepNewKernels(*programs.begin(), kernels)) {
      ++withNew;
      ASSERT_TRUE(mlir::succeeded(compiler.emitKernels(*module)));
      EXPECT_FALSE((*programs.begin()).getOps<txc::step::ObjectOp>().empty());
    }
    if (HasFailure())
      return;

    more = false;
    for (size_t f = row.size(); f-- > 0 && !more;) {
      row[f] = (row[f] + 1) % factors[f].levels.size();
      more = row[f] != 0;
    }
  }
  EXPECT_EQ(count, 3u * 4 * 3 * 2 * 6 * 2 * 2 * 2);
  // A handful would mean that kernels are not told apart.
  EXPECT_GE(kernels.size(), 100u);
  std::printf("%zu combinations; machine code for their %zu kernels, which come with %zu of them\n", count,
              kernels.size(), withNew);
}

} // namespace
