//===- SpecTest.cpp - Specs, good and bad ---------------------------------===//

#include "txc/Import/Options.h"

#include <gtest/gtest.h>

using namespace txc::import;

namespace {

struct Loaded {
  LoadStatus status;
  std::string errors;
  Spec spec;
};

Loaded parse(llvm::StringRef text, std::vector<Override> overrides = {}) {
  Loaded result;
  llvm::raw_string_ostream os(result.errors);
  result.status = parseSpec(text, "t.yaml", overrides, os, result.spec);
  return result;
}

TEST(Spec, AutoIsDerivedAfterTheOverrides) {
  Loaded loaded = parse("model: {n_embd: 96, n_head: 4}", {{"n_embd", "48"}, {"n_kv_head", "2"}});
  ASSERT_EQ(loaded.status, LoadStatus::Ok) << loaded.errors;
  EXPECT_EQ(loaded.spec.head_dim, 12);
  EXPECT_EQ(loaded.spec.d_ff, 128);
  EXPECT_EQ(loaded.spec.n_kv_head, 2);
  EXPECT_EQ(loaded.spec.architectureName(), "12L-4H-48D-GQA2-RoPE-RMS-SwiGLU-PreNorm");
}

TEST(Spec, ValuesAsPeopleWriteThem) {
  Loaded loaded =
      parse("model: {bias: True, weight_tying: yes, n_layer: 1e1}\n"
            "train: {learning_rate: 6E-4, max_iters: 1_000, always_save_checkpoint: on, seed: +7}",
            {{"bias", "0"}, {"batch_size", "1_6"}, {"dropout", ".5"}, {"dtype", "bf16"}});
  ASSERT_EQ(loaded.status, LoadStatus::Ok) << loaded.errors;
  EXPECT_FALSE(loaded.spec.bias);
  EXPECT_TRUE(loaded.spec.weight_tying);
  EXPECT_TRUE(loaded.spec.always_save_checkpoint);
  EXPECT_EQ(loaded.spec.n_layer, 10);
  EXPECT_EQ(loaded.spec.max_iters, 1000);
  EXPECT_EQ(loaded.spec.seed, 7);
  EXPECT_EQ(loaded.spec.batch_size, 16);
  EXPECT_EQ(loaded.spec.learning_rate, 6e-4);
  EXPECT_EQ(loaded.spec.dropout, 0.5);
  EXPECT_EQ(loaded.spec.dtype, DType::BFloat16);
}

TEST(Spec, WidthAndRatioReplaceEachOther) {
  EXPECT_EQ(parse("model: {d_ff: 100}", {{"ffn_expansion", "2"}}).spec.d_ff, 1536);
  EXPECT_EQ(parse("model: {ffn_expansion: 2}", {{"d_ff", "100"}}).spec.d_ff, 100);
  EXPECT_EQ(parse("model: {ffn_expansion: 2.6666666666666665}").spec.d_ff, 2048);
}

// A spec that is wrong, and what must be said: `file:line:column: error: ...`.
struct Wrong {
  const char *text;
  const char *message;
};

TEST(Spec, ErrorsNameThePlaceAndTheRemedy) {
  const std::string deep(100, '[');
  const Wrong cases[] = {
      {"", "t.yaml:1:1: error: found an empty file; expected the sections"},
      {"# nothing\n", "t.yaml:1:1: error: found an empty file"},
      {"- 1\n", "t.yaml:1:1: error: found a list at the top level"},
      {"12\n", "t.yaml:1:1: error: found a value at the top level"},
      {"model:\n  n_layers: 3\n",
       "t.yaml:2:3: error: found unknown key 'n_layers' in section 'model:'; did you mean 'n_layer'?"},
      {"model:\n  hidden_size: 3\n",
       "t.yaml:2:3: error: found unknown key 'hidden_size' in section 'model:'; write n_embd"},
      {"modle:\n  n_layer: 3\n", "t.yaml:1:1: error: found unknown section 'modle'; expected base:, model:, "
                                 "train: or parallel:; did you mean 'model'?"},
      {"n_layer: 3\n",
       "t.yaml:1:1: error: found key 'n_layer' at the top level; expected it in section 'model:'"},
      {"model:\n  batch_size: 3\n",
       "t.yaml:2:3: error: found key 'batch_size' in section 'model:'; expected it in section 'train:'"},
      {"model: 3\n", "t.yaml:1:8: error: found a value as section 'model:'"},
      {"model:\n  n_layer: twelve\n",
       "t.yaml:2:12: error: found 'twelve' for 'n_layer'; expected an integer from 1 to 1024"},
      {"model:\n  n_layer: \"12\"\n", "expected an integer from 1 to 1024, without quotes"},
      {"model:\n  n_layer: 2.5\n", "found '2.5' for 'n_layer'"},
      {"model:\n  n_layer: 0\n",
       "t.yaml:2:12: error: found '0' for 'n_layer'; expected an integer from 1 to 1024"},
      {"model:\n  n_layer: 99999999999999999999\n", "found '99999999999999999999' for 'n_layer'"},
      {"train:\n  prompt: [a]\n", "t.yaml:2:11: error: found a list for 'prompt'; expected a text"},
      {"model:\n  n_layer:\n", "t.yaml:2:3: error: found nothing for 'n_layer'"},
      {"model:\n  n_layer: [1]\n", "t.yaml:2:12: error: found a list for 'n_layer'"},
      {"model:\n  bias: maybe\n", "found 'maybe' for 'bias'; expected true or false"},
      {"model:\n  dropout: .nan\n", "found '.nan' for 'dropout'; expected a number from 0 to 0.95"},
      {"model:\n  dropout: inf\n", "found 'inf' for 'dropout'"},
      {"model:\n  normalization: rmsnrom\n", "found 'rmsnrom' for 'normalization'; expected one of "
                                             "layernorm, layernorm_nobias, rmsnorm; did you mean 'rmsnorm'?"},
      {"model:\n  n_layer: 3\n  n_layer: 4\n",
       "t.yaml:3:3: error: found key 'n_layer' again; expected it once"},
      {"model: {n_layer: 3}\ntrain: {}\nmodel: {n_layer: 4}\n", "t.yaml:3:1: error: found key 'model' again"},
      {"model:\n  n_embd: 100\n  n_head: 12\n",
       "t.yaml:3:11: error: found n_embd 100 and n_head 12; expected n_head to divide n_embd"},
      {"model:\n  n_kv_head: 5\n",
       "t.yaml:2:14: error: found n_head 12 and n_kv_head 5; expected n_kv_head to divide n_head"},
      {"model:\n  head_dim: 63\n", "t.yaml:2:13: error: found head_dim 63; expected an even one"},
      {"model:\n  d_ff: 5\n  ffn_expansion: 2\n", "found both d_ff and ffn_expansion"},
      {"model: &a {n_layer: 3}\n", "error: found an anchor"},
      {"model:\n  n_layer: *a\n", "error: found"},
      {"model:\n  <<: {n_layer: 3}\n", "found unknown key '<<' in section 'model:'; merge keys are not read"},
      {"model: !!map {n_layer: 3}\n", "error: found a tag"},
      {"model: {}\n---\nmodel: {}\n", "error: found a second document"},
      {"model: {n_layer: 3\n", "error: found text that is not YAML"},
      {"model:\n\tn_layer: 3\n", "error: found text that is not YAML"},
      {deep.c_str(), "error: found more than 64 levels of nesting"},
      {"model:\n  n_layer: 3 \xff\n",
       "t.yaml:2:14: error: found byte 0xff at offset 20; expected YAML text in UTF-8"},
      {"base: 3.yaml\n", "t.yaml:1:7: error: base '3.yaml': No such file or directory"},
      {"base: [a]\n", "t.yaml:1:7: error: found a list as base"},
      {"parallel:\n  mesh: tp:2\n", "t.yaml:2:9: error: found 'tp:2' for 'mesh'; expected dp:N"},
      {"parallel:\n  zero: 1\n", "t.yaml:2:9: error: found zero 1 with mesh dp:1, one rank; expected zero 0, or ranks"},
      {"model: {block_size: 1048576}\ntrain: {batch_size: 1048576}\n", "tokens in a micro batch"},
      {"? [a]\n: b\n", "found a list as a key"},
  };
  for (const Wrong &wrong : cases) {
    Loaded loaded = parse(wrong.text);
    EXPECT_EQ(loaded.status, LoadStatus::BadSpec) << wrong.text;
    EXPECT_NE(loaded.errors.find(wrong.message), std::string::npos)
        << wrong.text << "\nexpected: " << wrong.message << "\nfound: " << loaded.errors;
  }
  Loaded zero = parse(llvm::StringRef("model:\n  n_\0ayer: 3\n", 20));
  EXPECT_NE(zero.errors.find("t.yaml:2:5: error: found byte 0x0 at offset 11"), std::string::npos)
      << zero.errors;
}

TEST(Spec, ErrorsOfTheCommandLine) {
  struct {
    Override override;
    LoadStatus status;
    const char *message;
  } cases[] = {
      {{"learning_rate", "1e-3"}, LoadStatus::BadUsage, "give --learning_rate=1e-3 to txrun"},
      {{"n_layr", "3"}, LoadStatus::BadUsage, "unknown option '--n_layr'; did you mean 'n_layer'?"},
      {{"use_fsdp", "True"}, LoadStatus::BadUsage, "write zero: 3"},
      {{"n_layer", "x"}, LoadStatus::BadUsage, "--n_layer=x: found 'x'; expected an integer"},
      {{"n_head", "7"}, LoadStatus::BadSpec, "--n_head=7: error: found n_embd 768 and n_head 7"},
  };
  for (const auto &wrong : cases) {
    Loaded loaded = parse("model: {}", {wrong.override});
    EXPECT_EQ(loaded.status, wrong.status) << loaded.errors;
    EXPECT_NE(loaded.errors.find(wrong.message), std::string::npos) << loaded.errors;
  }
}

// A comparison of a model with itself would mislead.
TEST(Spec, OverridesThatChangeNothingAreRefused) {
  struct {
    const char *text;
    Override override;
    const char *message;
  } cases[] = {
      {"model: {ffn_type: swiglu}", {"activation", "relu"},
       "--activation=relu: error: changes nothing: ffn_type is swiglu; expected ffn_type: standard with it"},
      {"model: {position_encoding: none}", {"rope_theta", "5e5"},
       "--rope_theta=5e5: error: changes nothing: position_encoding is none; expected position_encoding: rope"},
      {"model: {position_encoding: learned_absolute}", {"rope_layout", "half"},
       "--rope_layout=half: error: changes nothing: position_encoding is learned_absolute"},
  };
  for (const auto &wrong : cases) {
    Loaded loaded = parse(wrong.text, {wrong.override});
    EXPECT_EQ(loaded.status, LoadStatus::BadSpec) << wrong.text;
    EXPECT_NE(loaded.errors.find(wrong.message), std::string::npos) << loaded.errors;
  }
  // With its counterpart, in a file, or as it was, it is fine.
  EXPECT_EQ(parse("model: {}", {{"activation", "relu"}, {"ffn_type", "standard"}}).status, LoadStatus::Ok);
  EXPECT_EQ(parse("model: {ffn_type: swiglu, activation: relu}").status, LoadStatus::Ok);
  EXPECT_EQ(parse("model: {ffn_type: swiglu}", {{"activation", "gelu"}}).status, LoadStatus::Ok);
}

TEST(Options, KeysAreUnique) {
  for (const OptionInfo &option : allOptions())
    EXPECT_EQ(findOption(option.key), &option) << option.key.str();
}

// The default that the table prints is the one that an empty spec has.
TEST(Options, DefaultsAreValid) {
  for (const OptionInfo &option : allOptions()) {
    Spec spec;
    std::string expected;
    EXPECT_TRUE(option.set(spec, option.defaultText, false, expected))
        << option.key.str() << ": " << expected;
    Spec fresh;
    EXPECT_EQ(llvm::json::Value(spec.toJson()), llvm::json::Value(fresh.toJson())) << option.key.str();
  }
}

// The tool of every key, on the command line of txc.
TEST(Options, EveryRunTimeKeyNamesTxrun) {
  for (const OptionInfo &option : allOptions()) {
    Loaded loaded = parse("model: {}", {{option.key.str(), "1"}});
    std::string remedy = "give --" + option.key.str() + "=1 to txrun";
    EXPECT_EQ(loaded.errors.find(remedy) != std::string::npos, option.tool == Tool::Run)
        << option.key.str() << ": " << loaded.errors;
    if (option.tool == Tool::Run) {
      EXPECT_EQ(loaded.status, LoadStatus::BadUsage) << option.key.str();
    }
  }
}

// A letter too few, a letter too many, two swapped, hyphens: the key is named.
TEST(Options, EveryTypoNamesItsKey) {
  for (const OptionInfo &option : allOptions()) {
    std::string key = option.key.str(), hyphens = key, swapped = key;
    std::replace(hyphens.begin(), hyphens.end(), '_', '-');
    size_t middle = key.size() / 2;
    std::swap(swapped[middle], swapped[middle - 1]);
    for (const std::string &typo : {key.substr(0, key.size() - 1), key.substr(1), key + "s",
                                    key.substr(0, middle) + key.substr(middle + 1), hyphens, swapped}) {
      // Not another key, not as near to another one (beta1, beta2).
      if (findOption(typo) || typo.size() < 3 || typo == "beta")
        continue;
      EXPECT_EQ(unknownKeyHint(typo), "; did you mean '" + key + "'?") << typo;
    }
  }
}

TEST(Options, NearestNames) {
  EXPECT_EQ(nearestName("n-layer", {"n_layer", "n_head"}), "n_layer");
  EXPECT_EQ(nearestName("zzzzz", {"n_layer", "n_head"}), "");
  EXPECT_EQ(nearestName("rms", {"layernorm", "layernorm_nobias", "rmsnorm"}), "rmsnorm");
  EXPECT_EQ(nearestName("layer", {"layernorm_nobias", "layernorm", "rmsnorm"}), "layernorm");
  EXPECT_EQ(nearestName("rm", {"layernorm", "rmsnorm"}), "");
}

} // namespace
