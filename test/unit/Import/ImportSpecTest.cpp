//===- ImportSpecTest.cpp - Every combination of the architecture table ---===//
//
// The imported module is valid, and its parameters and FLOPs, summed from the
// ops, are what the hand formulas say.
//
//===----------------------------------------------------------------------===//

#include "txc/Import/ImportSpec.h"
#include "txc/Cost/Formulas.h"
#include "txc/Dialect/Tx/Tx.h"
#include "txc/Import/Passes.h"

#include "mlir/IR/Verifier.h"

#include <gtest/gtest.h>

using namespace txc;
using namespace txc::import;

namespace {

std::string print(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream os(text);
  module.print(os, mlir::OpPrintingFlags().enableDebugInfo());
  return text;
}

void check(const Spec &spec, const std::string &name) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  mlir::OwningOpRef<mlir::ModuleOp> module = importSpec(context, spec);
  ASSERT_TRUE(mlir::succeeded(mlir::verify(*module))) << name;
  mlir::PassManager pm(&context);
  import::buildPipeline(pm);
  ASSERT_TRUE(mlir::succeeded(pm.run(*module))) << name;

  int64_t parameters = 0;
  for (tx::ParamOp param : module->getOps<tx::ParamOp>())
    parameters += mlir::cast<mlir::RankedTensorType>(param.getType()).getNumElements();
  EXPECT_EQ(parameters, cost::countParameters(spec).total) << name;

  // The backward pass costs twice the forward pass.
  uint64_t full = 0, causal = 0;
  module->walk([&](tx::FlopsOpInterface op) {
    full += 3 * op.getFlopsFull();
    causal += 3 * op.getFlopsCausal();
  });
  uint64_t tokens = spec.batch_size * spec.block_size;
  EXPECT_EQ(full, tokens * cost::countFlopsPerToken(spec).full) << name;
  EXPECT_EQ(causal, tokens * cost::countFlopsPerToken(spec).causal) << name;

  mlir::MLIRContext other(mlir::MLIRContext::Threading::DISABLED);
  EXPECT_EQ(print(*module), print(*importSpec(other, spec))) << name;
}

TEST(ImportSpec, EveryCombination) {
  int count = 0;
  for (const char *normalization : {"layernorm", "layernorm_nobias", "rmsnorm"})
    for (const char *position : {"learned_absolute", "rope", "none"})
      for (const char *heads : {"4", "2", "1"})
        for (const char *place : {"pre", "post"})
          for (const char *ffn : {"swiglu", "gelu", "gelu_tanh", "silu", "relu", "leaky_relu"})
            for (int bits = 0; bits < 8; ++bits) {
              bool isSwiglu = llvm::StringRef(ffn) == "swiglu";
              const char *yes = "true", *no = "false";
              std::vector<Override> overrides = {
                  {"normalization", normalization},
                  {"position_encoding", position},
                  {"n_kv_head", heads},
                  {"norm_position", place},
                  {"ffn_type", isSwiglu ? "swiglu" : "standard"},
                  {"activation", isSwiglu ? "gelu" : ffn},
                  {"bias", bits & 1 ? yes : no},
                  {"weight_tying", bits & 2 ? yes : no},
                  {"dropout", bits & 4 ? "0.1" : "0"},
                  // The rest follows so that each value is seen with many others.
                  {"dtype", count % 3 ? "float32" : "bfloat16"},
                  {"head_dim", count % 5 ? "auto" : "6"}};
              if (llvm::StringRef(position) == "rope")
                overrides.push_back({"rope_layout", count % 2 ? "half" : "interleaved"});
              std::string name, errors;
              for (const Override &override : overrides)
                name += " --" + override.key + "=" + override.value;
              llvm::raw_string_ostream os(errors);
              Spec spec;
              LoadStatus status =
                  parseSpec("model: {n_layer: 2, n_head: 4, n_embd: 16, block_size: 8, vocab_size: 11}\n"
                            "train: {batch_size: 3}\n",
                            "t.yaml", overrides, os, spec);
              ASSERT_EQ(status, LoadStatus::Ok) << name << errors;
              check(spec, name);
              if (HasFatalFailure())
                return;
              ++count;
            }
  EXPECT_EQ(count, 3 * 3 * 3 * 2 * 6 * 8);
}

TEST(ImportSpec, TheConfigs) {
  for (const char *config :
       {"arch_gpt2", "arch_llama", "arch_team", "arch_hybrid", "arch_custom", "openai_gpt2",
        "train_shakespeare", "demo_cpu", "llama2_1b", "llama_1.4b", "llama3_8b", "qwen3_1.8b"}) {
    std::string errors;
    llvm::raw_string_ostream os(errors);
    Spec spec;
    LoadStatus status = loadSpec(std::string(TXC_SOURCE_DIR) + "/configs/" + config + ".yaml", {}, os, spec);
    ASSERT_EQ(status, LoadStatus::Ok) << errors;
    check(spec, config);
  }
}

} // namespace
