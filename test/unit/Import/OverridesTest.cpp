//===- OverridesTest.cpp - --key=value changes the model of every preset ---===//
//
// Each row of the architecture table on each preset: parameters and FLOPs of the
// imported program and of the hand formulas move by what the row says, worked out
// here; the architecture name says it; the program differs where it must.
//
//===----------------------------------------------------------------------===//

#include "txc/Cost/Formulas.h"
#include "txc/Dialect/Tx/Tx.h"
#include "txc/Import/ImportSpec.h"

#include <gtest/gtest.h>

using namespace txc;
using namespace txc::import;

namespace {

// Small sizes for every preset; 8 * 48 / 3 is whole, so that SwiGLU costs what GELU does.
constexpr int64_t L = 2, H = 4, C = 48, D = 12, T = 16, V = 32;
const std::vector<Override> small = {{"n_layer", "2"},     {"n_head", "4"},      {"n_embd", "48"},
                                     {"block_size", "16"}, {"vocab_size", "32"}, {"batch_size", "2"}};

const char *const presets[] = {"arch_gpt2",   "arch_llama",  "arch_team",         "arch_hybrid",
                               "arch_custom", "openai_gpt2", "train_shakespeare", "demo_cpu"};

struct Model {
  Spec spec;
  std::string name, program;
  int64_t parameters = 0, full = 0, causal = 0;
};

LoadStatus load(const std::string &preset, const std::vector<Override> &more, Spec &spec,
                std::string &errors) {
  std::vector<Override> overrides = small;
  // Presets that set the head's width or the FFN's say it for their own size.
  overrides.push_back({"n_kv_head", "auto"});
  overrides.push_back({"head_dim", "auto"});
  overrides.push_back({"d_ff", "auto"});
  overrides.insert(overrides.end(), more.begin(), more.end());
  llvm::raw_string_ostream os(errors);
  return loadSpec(std::string(TXC_SOURCE_DIR) + "/configs/" + preset + ".yaml", overrides, os, spec);
}

Model build(const std::string &preset, const std::vector<Override> &more) {
  Model model;
  std::string errors;
  EXPECT_EQ(load(preset, more, model.spec, errors), LoadStatus::Ok) << errors;
  model.name = model.spec.architectureName();
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  mlir::OwningOpRef<mlir::ModuleOp> module = importSpec(context, model.spec);
  for (tx::ParamOp param : module->getOps<tx::ParamOp>())
    model.parameters += mlir::cast<mlir::RankedTensorType>(param.getType()).getNumElements();
  int64_t tokens = model.spec.batch_size * model.spec.block_size;
  module->walk([&](tx::FlopsOpInterface op) {
    model.full += 3 * op.getFlopsFull() / tokens;
    model.causal += 3 * op.getFlopsCausal() / tokens;
  });
  EXPECT_EQ(model.parameters, cost::countParameters(model.spec).total);
  EXPECT_EQ(model.full, cost::countFlopsPerToken(model.spec).full);
  EXPECT_EQ(model.causal, cost::countFlopsPerToken(model.spec).causal);
  // What remains is the computation.
  (*module)->removeAttr(configAttrName);
  (*module)->removeAttr(architectureAttrName);
  llvm::raw_string_ostream os(model.program);
  module->print(os);
  return model;
}

// What a row changes, from the spec that it changes.
struct Change {
  int64_t parameters = 0, full = 0, causal = 0;
};

struct Row {
  Override override;
  std::function<bool(const Spec &)> applies; // else the row would change nothing
  std::function<Change(const Spec &)> change;
  std::function<std::string(const Spec &)> nameHas; // a part of the name between hyphens
  std::vector<const char *> has, hasNot;            // words of the program
};

bool always(const Spec &) { return true; }
Change nothing(const Spec &) { return {}; }
auto called(const char *part) {
  return [=](const Spec &) { return std::string(part); };
}
// Weights of matrix products: six FLOPs per token each.
Change weights(int64_t count, int64_t others = 0) { return {count + others, 6 * count, 6 * count}; }
int64_t normSize(Normalization norm) { return norm == Normalization::LayerNorm ? 2 * C : C; }
int64_t positionSize(PositionEncoding position) {
  return position == PositionEncoding::LearnedAbsolute ? T * C : 0;
}
bool isSwiGlu(const Spec &spec) { return spec.ffn_type == FfnType::SwiGlu; }
// An FFN of width f: weights, and what its biases have.
Change ffn(bool swiglu, int64_t f, bool bias) {
  return weights(L * (swiglu ? 3 : 2) * C * f, bias ? L * ((swiglu ? 2 : 1) * f + C) : 0);
}
Change ffnFrom(const Spec &spec, bool swiglu, int64_t f) {
  Change old = ffn(isSwiGlu(spec), spec.d_ff, spec.bias), now = ffn(swiglu, f, spec.bias);
  return {now.parameters - old.parameters, now.full - old.full, now.causal - old.causal};
}

std::vector<Row> allRows() {
  std::vector<Row> rows;
  auto add = [&](const char *key, const char *value, auto applies, auto change, auto nameHas,
                 std::vector<const char *> has = {}, std::vector<const char *> hasNot = {}) {
    rows.push_back({{key, value}, applies, change, nameHas, has, hasNot});
  };

  auto norm = [&](const char *value, Normalization norm, const char *part, const char *op,
                  const char *other) {
    add(
        "normalization", value, [=](const Spec &spec) { return spec.normalization != norm; },
        [=](const Spec &spec) {
          return Change{(2 * L + 1) * (normSize(norm) - normSize(spec.normalization)), 0, 0};
        },
        called(part), {op}, {other});
  };
  norm("layernorm", Normalization::LayerNorm, "-LN-", "tx.layer_norm", "tx.rms_norm");
  norm("layernorm_nobias", Normalization::LayerNormNoBias, "-LN-NB-", "tx.layer_norm", "tx.rms_norm");
  norm("rmsnorm", Normalization::RmsNorm, "-RMS-", "tx.rms_norm", "tx.layer_norm");
  add("norm_eps", "1e-3", always, nothing, called("-"));

  auto position = [&](const char *value, PositionEncoding position, const char *part,
                      std::vector<const char *> has, std::vector<const char *> hasNot) {
    add(
        "position_encoding", value, [=](const Spec &spec) { return spec.position_encoding != position; },
        [=](const Spec &spec) {
          return Change{positionSize(position) - positionSize(spec.position_encoding), 0, 0};
        },
        called(part), has, hasNot);
  };
  position("learned_absolute", PositionEncoding::LearnedAbsolute, "-AbsPos-", {"@wpe.weight"}, {"tx.rope"});
  position("rope", PositionEncoding::Rope, "-RoPE-", {"tx.rope"}, {"@wpe.weight"});
  position("none", PositionEncoding::None, "-NoPos-", {}, {"@wpe.weight", "tx.rope"});
  auto hasRope = [](const Spec &spec) { return spec.position_encoding == PositionEncoding::Rope; };
  add("rope_theta", "5e5", hasRope, nothing, called("-RoPE-"), {"tx.rope"});
  add("rope_layout", "half", hasRope, nothing, called("-RoPE-"), {"tx.rope"});

  // Fewer and wider heads have the same weights and products.
  add("n_head", "2", always, nothing, called("-2H-"));
  add(
      "n_kv_head", "2", always,
      [](const Spec &spec) { return weights(-L * 2 * 2 * D * C, spec.bias ? -L * 2 * 2 * D : 0); },
      called("-GQA2-"));
  add(
      "n_kv_head", "1", always,
      [](const Spec &spec) { return weights(-L * 2 * 3 * D * C, spec.bias ? -L * 2 * 3 * D : 0); },
      called("-GQA1-"));
  add(
      "head_dim", "20", always,
      [](const Spec &spec) {
        Change change = weights(L * 4 * H * (20 - D) * C, spec.bias ? L * 3 * H * (20 - D) : 0);
        change.full += 12 * L * H * (20 - D) * T;
        change.causal += 6 * L * H * (20 - D) * (T + 1);
        return change;
      },
      called("-48D-"));

  for (bool pre : {true, false})
    add(
        "norm_position", pre ? "pre" : "post",
        [=](const Spec &spec) { return (spec.norm_position == NormPosition::Pre) != pre; }, nothing,
        called(pre ? "-PreNorm" : "-PostNorm"));

  for (bool swiglu : {true, false})
    add(
        "ffn_type", swiglu ? "swiglu" : "standard",
        [=](const Spec &spec) { return isSwiGlu(spec) != swiglu; },
        [=](const Spec &spec) { return ffnFrom(spec, swiglu, swiglu ? 8 * C / 3 : 4 * C); },
        called(swiglu ? "-SwiGLU-" : "-GELU-"),
        {swiglu ? "tx.swiglu" : "tx.activation", swiglu ? "ffn.gate_up" : "ffn.up"},
        {swiglu ? "tx.activation" : "tx.swiglu"});
  add(
      "d_ff", "100", always, [](const Spec &spec) { return ffnFrom(spec, isSwiGlu(spec), 100); },
      called("-"));
  add(
      "ffn_expansion", "2", always, [](const Spec &spec) { return ffnFrom(spec, isSwiGlu(spec), 2 * C); },
      called("-"));
  add(
      "ffn_expansion", "2.5", always, [](const Spec &spec) { return ffnFrom(spec, isSwiGlu(spec), 120); },
      called("-"));
  auto activation = [&](const char *value, Activation activation, const char *part, const char *word) {
    add("activation", value,
        [=](const Spec &spec) { return !isSwiGlu(spec) && spec.activation != activation; }, nothing,
        called(part), {"tx.activation", word});
  };
  activation("gelu", Activation::Gelu, "-GELU-", " gelu %");
  activation("gelu_tanh", Activation::GeluTanh, "-GELU-", " gelu_tanh %");
  activation("silu", Activation::Silu, "-SILU-", " silu %");
  activation("relu", Activation::Relu, "-RELU-", " relu %");
  activation("leaky_relu", Activation::LeakyRelu, "-LEAKY_RELU-", " leaky_relu %");

  for (bool bias : {true, false})
    add(
        "bias", bias ? "True" : "False", [=](const Spec &spec) { return spec.bias != bias; },
        [=](const Spec &spec) {
          int64_t count = L * (3 * H * D + C + (isSwiGlu(spec) ? 2 : 1) * spec.d_ff + C);
          return Change{bias ? count : -count, 0, 0};
        },
        called("-"), {bias ? "attn.qkv.bias" : "attn.qkv.weight"}, {bias ? "lm_head.bias" : ".qkv.bias"});
  for (bool tied : {true, false})
    add(
        "weight_tying", tied ? "yes" : "no", [=](const Spec &spec) { return spec.weight_tying != tied; },
        [=](const Spec &) { return Change{tied ? -V * C : V * C, 0, 0}; }, called("-"),
        {tied ? "wte.weight" : "lm_head.weight"}, {tied ? "lm_head.weight" : "lm_head.bias"});
  add("dropout", ".1", [](const Spec &spec) { return spec.dropout != 0.1; }, nothing, called("-"),
      {"tx.dropout"});

  add(
      "n_layer", "3", always,
      [](const Spec &spec) {
        Change one = ffn(isSwiGlu(spec), spec.d_ff, spec.bias);
        Change change = weights(4 * H * D * C, 2 * normSize(spec.normalization) + (spec.bias ? 4 * C : 0));
        change.full += 12 * H * D * T + one.full / L;
        change.causal += 6 * H * D * (T + 1) + one.causal / L;
        change.parameters += one.parameters / L;
        return change;
      },
      called("3L-"));
  add(
      "block_size", "1_7", always,
      [](const Spec &spec) {
        return Change{positionSize(spec.position_encoding) / T, 12 * L * H * D, 6 * L * H * D};
      },
      called("-"));
  add(
      "vocab_size", "1e2", always,
      [](const Spec &spec) {
        int64_t count = (100 - V) * C;
        return Change{spec.weight_tying ? count : 2 * count, 6 * count, 6 * count};
      },
      called("-"));
  return rows;
}

TEST(Overrides, EveryRowChangesEveryPreset) {
  int changed = 0, refused = 0;
  for (const char *preset : presets) {
    Model before = build(preset, {});
    for (const Row &row : allRows()) {
      SCOPED_TRACE(std::string(preset) + " --" + row.override.key + "=" + row.override.value);
      if (!row.applies(before.spec)) {
        // Either what the preset has already, or an error.
        Spec spec;
        std::string errors;
        if (load(preset, {row.override}, spec, errors) == LoadStatus::Ok) {
          EXPECT_EQ(spec.architectureName(), before.name);
        } else {
          EXPECT_NE(errors.find("changes nothing"), std::string::npos) << errors;
          ++refused;
        }
        continue;
      }
      Model after = build(preset, {row.override});
      Change change = row.change(before.spec);
      EXPECT_EQ(after.parameters - before.parameters, change.parameters);
      EXPECT_EQ(after.full - before.full, change.full);
      EXPECT_EQ(after.causal - before.causal, change.causal);
      EXPECT_TRUE(after.program != before.program) << "the program is the same";
      EXPECT_NE(after.name.find(row.nameHas(before.spec)), std::string::npos) << after.name;
      for (const char *word : row.has)
        EXPECT_NE(after.program.find(word), std::string::npos) << word;
      for (const char *word : row.hasNot)
        EXPECT_EQ(after.program.find(word), std::string::npos) << word;
      ++changed;
    }
  }
  EXPECT_GT(changed, 180);
  EXPECT_GT(refused, 10);
}

// Ways to compute attention are not a part of what import makes: they say how.
TEST(Overrides, AttentionBackendIsKept) {
  for (const char *preset : presets) {
    Model before = build(preset, {}), after = build(preset, {{"attention_backend", "generated"}});
    EXPECT_EQ(after.spec.attention_backend, AttentionBackend::Generated);
    EXPECT_TRUE(after.program == before.program);
  }
}

// GQA from a file is not lost under overrides of other keys.
TEST(Overrides, KeepTheRest) {
  std::string errors;
  llvm::raw_string_ostream os(errors);
  Spec spec;
  ASSERT_EQ(loadSpec(std::string(TXC_SOURCE_DIR) + "/configs/llama3_8b.yaml", {{"n_layer", "2"}}, os, spec),
            LoadStatus::Ok);
  EXPECT_EQ(spec.architectureName(), "2L-32H-4096D-GQA8-RoPE-RMS-SwiGLU-PreNorm");
  EXPECT_EQ(spec.rope_theta, 500000);
}

} // namespace
