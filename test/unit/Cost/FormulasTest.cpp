//===- FormulasTest.cpp - Parameters and FLOPs against known integers -----===//
//
// Every row is a file of configs/, some with overrides, and what it must cost.
//
//===----------------------------------------------------------------------===//

#include "txc/Cost/Formulas.h"

#include <gtest/gtest.h>

using namespace txc;
using namespace txc::import;

namespace {

Spec load(const std::string &config, std::vector<Override> overrides = {}) {
  Spec spec;
  std::string errors;
  llvm::raw_string_ostream os(errors);
  LoadStatus status =
      loadSpec(std::string(TXC_SOURCE_DIR) + "/configs/" + config + ".yaml", overrides, os, spec);
  EXPECT_EQ(status, LoadStatus::Ok) << errors;
  return spec;
}

struct Row {
  const char *config;
  std::vector<Override> overrides;
  const char *architecture;
  int64_t parameters, full, causal;
};

TEST(Formulas, EqualTheKnownIntegers) {
  const std::vector<Override> small = {
      {"n_layer", "6"}, {"n_head", "6"}, {"n_embd", "384"}, {"block_size", "256"}};
  std::vector<Override> smallCharacters = small;
  smallCharacters.push_back({"vocab_size", "65"});
  const Row rows[] = {
      {"arch_gpt2", {}, "12L-12H-768D-AbsPos-LN-NB-GELU-PostNorm", 124373760, 854654976, 798087168},
      {"arch_llama", {}, "12L-12H-768D-RoPE-RMS-SwiGLU-PreNorm", 162220800, 854654976, 798087168},
      {"arch_team", {}, "12L-12H-768D-RoPE-RMS-SwiGLU-PreNorm", 162220800, 854654976, 798087168},
      {"arch_hybrid", {}, "12L-12H-768D-RoPE-LN-NB-GELU-PreNorm", 123587328, 854654976, 798087168},
      {"arch_custom", {}, "12L-12H-768D-RoPE-RMS-GELU-PreNorm", 123587328, 854654976, 798087168},
      {"arch_gpt2", small, "6L-6H-384D-AbsPos-LN-NB-GELU-PostNorm", 30036864, 186679296, 183154176},
      {"train_shakespeare", {}, "6L-6H-384D-AbsPos-LN-NB-GELU-PostNorm", 30036864, 186679296, 183154176},
      {"arch_gpt2", smallCharacters, "6L-6H-384D-AbsPos-LN-NB-GELU-PostNorm", 10745088, 70928640, 67403520},
      {"arch_llama", small, "6L-6H-384D-RoPE-RMS-SwiGLU-PreNorm", 49255296, 186679296, 183154176},
      {"llama2_1b", {}, "18L-18H-2304D-RoPE-RMS-SwiGLU-PreNorm", 1294159104, 8341291008, 7831931904},
      {"llama_1.4b", {}, "24L-16H-2048D-RoPE-RMS-SwiGLU-PreNorm", 1420396544, 9111601152, 8507916288},
      {"llama3_8b", {}, "32L-32H-4096D-GQA8-RoPE-RMS-SwiGLU-PreNorm", 8030261248, 48249176064, 46639349760},
      {"qwen3_1.8b", {}, "24L-16H-2048D-GQA8-RoPE-RMS-SwiGLU-PreNorm", 1829296128, 10319425536, 9715740672},
      {"openai_gpt2", {}, "12L-12H-768D-AbsPos-LN-GELU-PreNorm", 124439808, 854438400, 797870592},
  };
  for (const Row &row : rows) {
    Spec spec = load(row.config, row.overrides);
    cost::Flops flops = cost::countFlopsPerToken(spec);
    EXPECT_EQ(spec.architectureName(), row.architecture) << row.config;
    EXPECT_EQ(cost::countParameters(spec).total, row.parameters) << row.config;
    EXPECT_EQ(flops.full, row.full) << row.config;
    EXPECT_EQ(flops.causal, row.causal) << row.config;
  }
}

// 3 * H * int(8H/3) = 2 * H * 4H.
TEST(Formulas, SwiGluCostsWhatGeluCosts) {
  for (int64_t width : {384, 768, 2304}) {
    std::string text = std::to_string(width);
    Spec swiglu = load("arch_llama", {{"n_embd", text}});
    Spec gelu = load("arch_llama", {{"n_embd", text}, {"ffn_type", "standard"}});
    EXPECT_EQ(3 * swiglu.d_ff, 2 * gelu.d_ff);
    EXPECT_EQ(cost::countFlopsPerToken(swiglu).ffnPerLayer, cost::countFlopsPerToken(gelu).ffnPerLayer);
    EXPECT_EQ(cost::countFlopsPerToken(swiglu).full, cost::countFlopsPerToken(gelu).full);
  }
}

TEST(Formulas, RatioOfAttentionToFfn) {
  for (const char *config : {"arch_gpt2", "arch_llama"}) {
    cost::Flops flops = cost::countFlopsPerToken(load(config));
    EXPECT_NEAR(flops.attentionToFfnFull(), 0.8333, 1e-4);
    EXPECT_NEAR(flops.attentionToFfnCausal(), 0.6668, 1e-4);
  }
}

TEST(Formulas, NonEmbeddingLeavesOutThePositionTable) {
  cost::Parameters gpt2 = cost::countParameters(load("arch_gpt2"));
  EXPECT_EQ(gpt2.total - gpt2.nonEmbedding, 1024 * 768);
  cost::Parameters llama = cost::countParameters(load("arch_llama"));
  EXPECT_EQ(llama.total, llama.nonEmbedding);
}

TEST(Formulas, TyingDoesNotChangeFlops) {
  Spec tied = load("arch_llama", {{"weight_tying", "true"}});
  Spec untied = load("arch_llama");
  EXPECT_EQ(cost::countFlopsPerToken(tied).full, cost::countFlopsPerToken(untied).full);
  EXPECT_EQ(cost::countParameters(untied).total - cost::countParameters(tied).total, 50304 * 768);
}

} // namespace
