//===- PairsTest.cpp - Pairs of option values train as the oracle does -----===//
//
// A sample of the combinations in which every two values of different options meet
// is compiled and trained for two updates; see Comparison.h for what is compared.
// Prints the greatest differences.
//
//===----------------------------------------------------------------------===//

#include "Comparison.h"
#include "Factors.h"

#include <gtest/gtest.h>
#include <set>

using namespace combinations;

namespace {

Level one(const char *key, const char *value) { return {{{key, value}}}; }

// Where a level is not of the spec but of the recipe, its overrides are empty and
// the test looks at its number.
enum : size_t {
  Normalization,
  Position,
  Heads,
  NormPosition,
  Ffn,
  Width,
  FfnWidth,
  Length,
  Vocabulary,
  Targets,
  Clip
};
const std::vector<Factor> factors = {
    {"normalization",
     {one("normalization", "layernorm"), one("normalization", "layernorm_nobias"),
      one("normalization", "rmsnorm")}},
    {"position_encoding",
     {one("position_encoding", "learned_absolute"),
      {{{"position_encoding", "rope"}, {"rope_layout", "interleaved"}}},
      {{{"position_encoding", "rope"}, {"rope_layout", "half"}, {"rope_theta", "100"}}},
      one("position_encoding", "none")}},
    {"heads",
     {{{{"n_head", "4"}, {"n_kv_head", "auto"}}},
      {{{"n_head", "4"}, {"n_kv_head", "2"}}},
      {{{"n_head", "4"}, {"n_kv_head", "1"}}},
      {{{"n_head", "2"}, {"n_kv_head", "2"}}}}},
    {"norm_position", {one("norm_position", "pre"), one("norm_position", "post")}},
    {"ffn_type",
     {one("ffn_type", "swiglu"),
      {{{"ffn_type", "standard"}, {"activation", "gelu"}}},
      {{{"ffn_type", "standard"}, {"activation", "gelu_tanh"}}},
      {{{"ffn_type", "standard"}, {"activation", "silu"}}},
      {{{"ffn_type", "standard"}, {"activation", "relu"}}},
      {{{"ffn_type", "standard"}, {"activation", "leaky_relu"}}}}},
    {"width",
     {one("n_embd", "32"),
      one("n_embd", "24"),
      {{{"n_embd", "40"}, {"head_dim", "6"}}},
      {{{"n_embd", "21"}, {"head_dim", "10"}}},
      {{{"n_embd", "18"}, {"head_dim", "5"}}}}},
    {"ffn width", {one("d_ff", "auto"), one("d_ff", "33"), one("ffn_expansion", "2.5")}},
    {"block_size", {one("block_size", "8"), one("block_size", "13"), one("block_size", "70")}},
    {"vocab_size", {one("vocab_size", "16"), one("vocab_size", "37"), one("vocab_size", "101")}},
    // All count; some are -1; some are a token of the vocabulary.
    {"targets", {{}, {}, one("ignore_index", "5")}},
    {"grad_clip", {{}, {}}},
    {"bias", {one("bias", "false"), one("bias", "true")}},
    {"weight_tying", {one("weight_tying", "false"), one("weight_tying", "true")}},
    {"dropout", {one("dropout", "0"), one("dropout", "0.2")}},
    {"batch_size", {one("batch_size", "1"), one("batch_size", "3")}},
    {"n_layer", {one("n_layer", "1"), one("n_layer", "2")}},
    {"init_std", {one("init_std", "0.02"), one("init_std", "0.3")}},
    {"norm_eps", {one("norm_eps", "1e-5"), one("norm_eps", "1e-2")}},
    {"attention_backend", {one("attention_backend", "auto"), one("attention_backend", "manual")}},
    {"decode_batch", {one("decode_batch", "1"), one("decode_batch", "3")}},
};

// rope rotates pairs, so it cannot meet a head_dim of 5.
bool mayMeet(size_t f, size_t a, size_t g, size_t b) {
  return !(f == Position && (a == 1 || a == 2) && g == Width && b == 4);
}

TEST(Pairs, TheSampleCoversThem) {
  std::vector<Row> rows = coverPairs(factors, mayMeet);
  ASSERT_FALSE(rows.empty());
  std::set<std::vector<size_t>> met;
  for (const Row &row : rows)
    for (size_t f = 0; f < row.size(); ++f)
      for (size_t g = f + 1; g < row.size(); ++g) {
        EXPECT_TRUE(mayMeet(f, row[f], g, row[g]));
        met.insert({f, row[f], g, row[g]});
      }
  size_t pairs = 0;
  for (size_t f = 0; f < factors.size(); ++f)
    for (size_t g = f + 1; g < factors.size(); ++g)
      for (size_t a = 0; a < factors[f].levels.size(); ++a)
        for (size_t b = 0; b < factors[g].levels.size(); ++b)
          if (mayMeet(f, a, g, b)) {
            ++pairs;
            EXPECT_TRUE(met.count({f, a, g, b}))
                << factors[f].name << " " << a << " and " << factors[g].name << " " << b;
          }
  EXPECT_EQ(met.size(), pairs);
  // The two longest factors need this many; the sample should not be far above.
  EXPECT_GE(rows.size(), 30u);
  EXPECT_LE(rows.size(), 45u);
  std::printf("%zu rows cover %zu pairs\n", rows.size(), pairs);
  EXPECT_EQ(rows, coverPairs(factors, mayMeet));
}

TEST(Pairs, TrainAsTheOracleDoes) {
  Compiler compiler;
  Differences differences;
  for (const Row &row : coverPairs(factors, mayMeet)) {
    std::vector<txc::import::Override> overrides = overridesOf(factors, row);
    Recipe recipe;
    recipe.gradClip = row[Clip] == 0 ? 0 : 0.1f;
    recipe.ignoreSome = row[Targets] != 0;
    SCOPED_TRACE(textOf(overrides) + (recipe.ignoreSome ? ", some ignored" : "") +
                 (recipe.gradClip > 0 ? ", clipped" : ""));
    auto spec = Compiler::load("model: {}\n", overrides);
    ASSERT_TRUE(mlir::succeeded(spec));
    compareWithOracle(compiler, *spec, recipe, differences);
    if (HasFailure())
      break;
  }
  differences.print();
}

} // namespace
