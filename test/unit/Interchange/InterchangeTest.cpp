//===- InterchangeTest.cpp - Weights from and for other systems -------------===//
#include "MadeModel.h"

#include "checkpoint/checkpoint.h"
#include "interchange/element_order.h"
#include "interchange/export.h"
#include "interchange/weights.h"

#include <cerrno>
#include <cmath>

using namespace txc;
using namespace txc::interchange;
namespace fs = std::filesystem;

static Values readWhole(Weights &weights, const Model &model, const std::string &name) {
  Values out(count(model.find(name)->shape), -1);
  Status status = weights.read(name, 0, out.size(), out.data());
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

static std::string openError(const std::string &path, const Model &model) {
  Result<Weights> weights = Weights::open(path, model);
  return weights.ok() ? "" : weights.status().message();
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

//===-- Elements ------------------------------------------------------------===//

TEST(ElementOrder, EveryFloat16IsExact) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    float value;
    toFloat("F16", &half, 1, &value);
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double expected = exponent == 0    ? std::ldexp(fraction, -24)
                      : exponent == 31 ? (fraction ? std::nan("") : INFINITY)
                                       : std::ldexp(1024 + fraction, exponent - 25);
    if (bits & 0x8000)
      expected = -expected;
    if (std::isnan(expected))
      EXPECT_TRUE(std::isnan(value)) << bits;
    else
      EXPECT_EQ(value, expected) << bits;
    EXPECT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
  }
}

TEST(ElementOrder, EveryBFloat16IsExact) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t narrow = static_cast<uint16_t>(bits);
    float value;
    toFloat("BF16", &narrow, 1, &value);
    uint32_t wide;
    std::memcpy(&wide, &value, 4);
    EXPECT_EQ(wide, bits << 16);
  }
}

TEST(ElementOrder, HeadsAreReorderedThereAndBack) {
  // Two heads of 6 rows of 2.
  Values rows(24);
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = static_cast<float>(i);
  const Values before = rows;
  reorderHeads(rows.data(), 12, 6, 2, RopeOrder::Half, RopeOrder::Interleaved);
  EXPECT_EQ(rows,
            (Values{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 12, 13, 18, 19, 14, 15, 20, 21, 16, 17, 22, 23}));
  reorderHeads(rows.data(), 12, 6, 2, RopeOrder::Interleaved, RopeOrder::Half);
  EXPECT_EQ(rows, before);
  reorderHeads(rows.data(), 12, 6, 2, RopeOrder::Half, RopeOrder::Half);
  EXPECT_EQ(rows, before);
}

TEST(ElementOrder, Transposes) {
  Values from(70 * 45), to(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    from[i] = static_cast<float>(i);
  transpose(from.data(), 70, 45, to.data());
  for (size_t r = 0; r < 70; ++r)
    for (size_t c = 0; c < 45; ++c)
      ASSERT_EQ(to[c * 70 + r], from[r * 45 + c]);
}

//===-- Llama ---------------------------------------------------------------===//

static void writeLlama(const std::string &folder, const MadeFile &file = llamaFile(),
                       const Json &config = llamaConfig()) {
  writeFile(folder + "/model.safetensors", file, {{"format", "pt"}});
  writeText(folder + "/config.json", config.dump());
}

static Values rowsOf(const MadeTensor &tensor, const std::vector<int> &rows) {
  const size_t width = tensor.values.size() / tensor.shape[0];
  Values out;
  for (int row : rows)
    out.insert(out.end(), tensor.values.begin() + row * static_cast<int>(width),
               tensor.values.begin() + (row + 1) * static_cast<int>(width));
  return out;
}

static Values joined(std::initializer_list<Values> parts) {
  Values out;
  for (const Values &part : parts)
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

TEST(Llama, EveryTensorComesToItsPlace) {
  TempFolder temp;
  writeLlama(temp.file("m"));
  MadeFile file = llamaFile();
  for (const char *layout : {"half", "interleaved"}) {
    const Model model = llamaModel(layout);
    Result<Weights> weights = Weights::open(temp.file("m"), model);
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    EXPECT_EQ(weights->layout(), Layout::Llama);
    EXPECT_TRUE(weights->notes().empty());
    EXPECT_EQ(readWhole(*weights, model, "wte.weight"), file["model.embed_tokens.weight"].values);
    EXPECT_EQ(readWhole(*weights, model, "lm_head.weight"), file["lm_head.weight"].values);
    EXPECT_EQ(readWhole(*weights, model, "final_norm.weight"), file["model.norm.weight"].values);
    const bool half = std::string(layout) == "half";
    const std::vector<int> head = half ? std::vector<int>{0, 1, 2, 3} : std::vector<int>{0, 2, 1, 3};
    const std::vector<int> heads =
        half ? std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7} : std::vector<int>{0, 2, 1, 3, 4, 6, 5, 7};
    for (int block : {0, 1}) {
      const std::string ours = "blocks." + std::to_string(block),
                        theirs = "model.layers." + std::to_string(block);
      EXPECT_EQ(readWhole(*weights, model, ours + ".attn.qkv.weight"),
                joined({rowsOf(file[theirs + ".self_attn.q_proj.weight"], heads),
                        rowsOf(file[theirs + ".self_attn.k_proj.weight"], head),
                        file[theirs + ".self_attn.v_proj.weight"].values}));
      EXPECT_EQ(readWhole(*weights, model, ours + ".ffn.gate_up.weight"),
                joined({file[theirs + ".mlp.gate_proj.weight"].values,
                        file[theirs + ".mlp.up_proj.weight"].values}));
      for (auto [our, their] : {std::pair{".attn.proj.weight", ".self_attn.o_proj.weight"},
                                {".ffn.down.weight", ".mlp.down_proj.weight"},
                                {".attn_norm.weight", ".input_layernorm.weight"},
                                {".ffn_norm.weight", ".post_attention_layernorm.weight"}})
        EXPECT_EQ(readWhole(*weights, model, ours + our), file[theirs + their].values) << our;
    }
    // Any part of a tensor, as a shard is read.
    const Values whole = readWhole(*weights, model, "blocks.1.attn.qkv.weight");
    Values part(13);
    ASSERT_TRUE(weights->read("blocks.1.attn.qkv.weight", 29, 13, part.data()).ok());
    EXPECT_EQ(part, Values(whole.begin() + 29, whole.begin() + 42));
    EXPECT_FALSE(weights->read("blocks.1.attn.qkv.weight", 90, 7, part.data()).ok());
  }
}

TEST(Llama, ExportGivesTheImportedBytes) {
  TempFolder temp;
  MadeFile file = llamaFile();
  file["model.norm.weight"].values = {NAN, -NAN, INFINITY, -0.0f, 1e-45f, 3.14f}; // bits, not numbers
  writeLlama(temp.file("m"), file);
  std::string first;
  for (const char *layout : {"half", "interleaved"}) {
    const Model model = llamaModel(layout);
    Result<Weights> weights = Weights::open(temp.file("m"), model);
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    const std::string folder = temp.file(layout);
    Result<Exported> exported = exportWeights(*weights, model, Layout::Llama, folder + "/");
    ASSERT_TRUE(exported.ok()) << exported.status().message();
    const std::string bytes = readAll(folder + "/model.safetensors");
    EXPECT_EQ(exported->bytes, bytes.size());
    EXPECT_EQ(exported->tensors, file.size());
    Result<SafetensorsFile> written = SafetensorsFile::open(folder + "/model.safetensors");
    ASSERT_TRUE(written.ok()) << written.status().message();
    EXPECT_EQ(written->header().metadata.at("format"), "pt");
    ASSERT_EQ(written->header().tensors.size(), file.size());
    for (const auto &[name, tensor] : file) {
      const TensorEntry *entry = written->header().find(name);
      ASSERT_TRUE(entry) << name;
      EXPECT_EQ(entry->shape, tensor.shape);
      Result<std::string> data = written->read(*entry);
      ASSERT_TRUE(data.ok());
      EXPECT_EQ(std::memcmp(data->data(), tensor.values.data(), data->size()), 0) << name;
    }
    // The same file, whatever the step's layout, and one that can be taken again.
    EXPECT_TRUE(first.empty() || first == bytes);
    first = bytes;
    Result<Weights> again = Weights::open(folder, model);
    ASSERT_TRUE(again.ok()) << again.status().message();
    for (const Tensor &tensor : model.parameters) {
      const Values a = readWhole(*weights, model, tensor.name), b = readWhole(*again, model, tensor.name);
      EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * 4), 0) << tensor.name;
    }
    const Json config = Json::parse(readAll(folder + "/config.json"));
    EXPECT_EQ(config["architectures"][0], "LlamaForCausalLM");
    EXPECT_EQ(config["model_type"], "llama");
    EXPECT_EQ(config["max_position_embeddings"], 16);
    EXPECT_EQ(config["tie_word_embeddings"], false);
    EXPECT_FALSE(fs::exists(folder + ".incomplete"));
  }
}

TEST(Llama, BiasesAndATiedHead) {
  TempFolder temp;
  Model model = llamaModel("interleaved");
  model.config["bias"] = true;
  model.config["weight_tying"] = true;
  model.parameters.pop_back();
  for (const char *block : {"blocks.0.", "blocks.1."})
    for (auto [name, size] : {std::pair{"attn.qkv.bias", 16},
                              {"attn.proj.bias", 6},
                              {"ffn.gate_up.bias", 6},
                              {"ffn.down.bias", 6}})
      model.parameters.push_back({block + std::string(name), {static_cast<uint64_t>(size)}});
  MadeFile file = llamaFile();
  file.erase("lm_head.weight");
  for (const char *layer : {"model.layers.0.", "model.layers.1."})
    for (auto [name, size] : {std::pair{"self_attn.q_proj.bias", 8},
                              {"self_attn.k_proj.bias", 4},
                              {"self_attn.v_proj.bias", 4},
                              {"self_attn.o_proj.bias", 6},
                              {"mlp.gate_proj.bias", 3},
                              {"mlp.up_proj.bias", 3},
                              {"mlp.down_proj.bias", 6}})
      file[layer + std::string(name)] = made({static_cast<uint64_t>(size)}, 7);
  Json config = llamaConfig();
  config["attention_bias"] = config["mlp_bias"] = config["tie_word_embeddings"] = true;
  writeLlama(temp.file("m"), file, config);
  Result<Weights> weights = Weights::open(temp.file("m"), model);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_EQ(readWhole(*weights, model, "blocks.0.attn.qkv.bias"),
            (Values{7, 9, 8, 10, 11, 13, 12, 14, 7, 9, 8, 10, 7, 8, 9, 10}));
  Result<Exported> exported = exportWeights(*weights, model, Layout::Llama, temp.file("e"));
  ASSERT_TRUE(exported.ok()) << exported.status().message();
  EXPECT_EQ(exported->tensors, file.size());
  EXPECT_EQ(openError(temp.file("e"), model), "");
  // A file may have both tensors of a tied head, if they are one.
  file["lm_head.weight"] = file["model.embed_tokens.weight"];
  writeLlama(temp.file("m"), file, config);
  EXPECT_EQ(openError(temp.file("m"), model), "");
  file["lm_head.weight"].values[29] += 1;
  writeLlama(temp.file("m"), file, config);
  EXPECT_CONTAINS(openError(temp.file("m"), model),
                  "'lm_head.weight' is not 'model.embed_tokens.weight', the step has one "
                  "tensor for both; compile with --weight_tying=false");
}

TEST(Llama, TypesAndFiles) {
  TempFolder temp;
  const Model model = llamaModel();
  MadeFile file = llamaFile(), other;
  for (auto &[name, tensor] : file) {
    for (size_t i = 0; i < tensor.values.size(); ++i)
      tensor.values[i] = static_cast<float>(i) / 4; // bf16 holds these
    tensor.dtype = "BF16";
  }
  // In two files, one of them named by a link, as a cache of models has them.
  Json map;
  MadeFile parts[2];
  for (const auto &[name, tensor] : file) {
    const size_t part = map.size() % 2;
    parts[part][name] = tensor;
    map[name] = part ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors";
  }
  const std::string folder = temp.file("m"), index = folder + "/model.safetensors.index.json";
  writeFile(folder + "/model-00001-of-00002.safetensors", parts[0]);
  writeFile(temp.file("blobs/2"), parts[1]);
  fs::create_symlink(temp.file("blobs/2"), folder + "/model-00002-of-00002.safetensors");
  writeText(folder + "/config.json", llamaConfig().dump());
  writeText(index, Json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}.dump());
  Result<Weights> weights = Weights::open(folder, model);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_EQ(readWhole(*weights, model, "blocks.1.ffn.down.weight"),
            file["model.layers.1.mlp.down_proj.weight"].values);
  EXPECT_CONTAINS(weights->description(), "LlamaForCausalLM, 21 tensors, BF16");
  EXPECT_EQ(openError(folder + "/model-00002-of-00002.safetensors", model), "");

  // The index leads nowhere else.
  auto withIndex = [&](const Json &value) {
    writeText(index, value.dump());
    return openError(folder, model);
  };
  for (const char *path : {"../blobs/2", "/etc/passwd", ".hidden", "", "a/b"}) {
    Json bad = map;
    bad["lm_head.weight"] = path;
    EXPECT_CONTAINS(withIndex({{"weight_map", bad}}), "'lm_head.weight' is not in a file of this folder");
  }
  Json bad = map;
  bad["lm_head.weight"] = 5;
  EXPECT_CONTAINS(withIndex({{"weight_map", bad}}), "'lm_head.weight' is not in a file of this folder");
  bad["lm_head.weight"] = "absent.safetensors";
  EXPECT_CONTAINS(withIndex({{"weight_map", bad}}), "absent.safetensors: cannot open");
  bad = map;
  bad["more.weight"] = map["lm_head.weight"];
  EXPECT_CONTAINS(withIndex({{"weight_map", bad}}), "'more.weight' is not in model-0000");
  bad = map;
  bad.erase("lm_head.weight");
  EXPECT_CONTAINS(withIndex({{"weight_map", bad}}), "tensor 'lm_head.weight' is not in ");
  for (const Json &none :
       {Json{{"weight_map", Json::array()}}, Json{{"weight_map", Json::object()}}, Json::array(), Json(3)})
    EXPECT_CONTAINS(withIndex(none), "it has no 'weight_map'");
  writeText(index, "{\"weight_map\": ");
  EXPECT_CONTAINS(openError(folder, model), "not valid JSON");
  writeText(index, std::string(1000, '['));
  EXPECT_NE(openError(folder, model), "");
}

TEST(Llama, EveryKeyOfConfigCounts) {
  TempFolder temp;
  const Model model = llamaModel();
  struct Case {
    const char *key;
    Json value;
    const char *message;
  };
  const Case cases[] = {
      {"vocab_size", 6, "vocab_size: 6; the step has 5; compile with --vocab_size=6"},
      {"hidden_size", 8, "--n_embd=8"},
      {"intermediate_size", 4, "--d_ff=4"},
      {"num_hidden_layers", 3, "--n_layer=3"},
      {"num_attention_heads", 4, "--n_head=4"},
      {"num_key_value_heads", 2, "--n_kv_head=2"},
      {"num_key_value_heads", nullptr, "num_key_value_heads: 2, since it is not given; the step has 1"},
      {"head_dim", 8, "--head_dim=8"},
      {"head_dim", nullptr, "head_dim: 3, since it is not given"},
      {"rms_norm_eps", 1e-6, "rms_norm_eps: 1e-06; the step has 1e-05; compile with --norm_eps=1e-06"},
      {"rms_norm_eps", nullptr, "rms_norm_eps: 1e-06, since it is not given"},
      {"rope_theta", 5e5, "--rope_theta=500000"},
      {"attention_bias", true, "--bias=true"},
      {"mlp_bias", true, "--bias=true"},
      {"tie_word_embeddings", true, "--weight_tying=true"},
      {"hidden_act", "gelu", "hidden_act: gelu; the step has silu, and cannot be otherwise"},
      {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}}, "rope_scaling: "},
      {"rope_scaling", {{"type", "linear"}, {"factor", 8}}, "rope_scaling: "},
      {"rope_scaling", "linear", "rope_scaling: linear"},
      {"rope_parameters", {{"rope_type", "yarn"}}, "rope_scaling: "},
      {"quantization_config", {{"bits", 4}}, "the weights are quantized"},
      {"model_type", "qwen2", "model_type: qwen2; its tensors are named as those of llama"},
      {"vocab_size", nullptr, "vocab_size: missing, the step has 5"},
      {"vocab_size", "five", "vocab_size: five; the step has 5"},
      {"vocab_size", {{"a", 1}}, "vocab_size: "},
      {"vocab_size", 1e300, "vocab_size: "},
  };
  for (const Case &one : cases) {
    Json config = llamaConfig();
    config[one.key] = one.value;
    writeLlama(temp.file("m"), llamaFile(), config);
    const std::string message = openError(temp.file("m"), model);
    EXPECT_CONTAINS(message, one.message);
    EXPECT_CONTAINS(message, "config.json: it is another model than step.so");
  }
  // These are the same.
  const Case same[] = {{"rope_scaling", nullptr, ""},
                       {"rope_scaling", {{"rope_type", "default"}}, ""},
                       {"hidden_act", "swish", ""},
                       {"rope_theta", nullptr, ""},
                       {"max_position_embeddings", "many", ""},
                       {"torch_dtype", "bfloat16", ""}};
  for (const Case &one : same) {
    Json config = llamaConfig();
    config[one.key] = one.value;
    writeLlama(temp.file("m"), llamaFile(), config);
    EXPECT_EQ(openError(temp.file("m"), model), "") << one.key;
  }
  Json config = llamaConfig();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  writeLlama(temp.file("m"), llamaFile(), config);
  EXPECT_CONTAINS(openError(temp.file("m"), model), "--rope_theta=500000");
  config["rope_parameters"]["rope_theta"] = 1e4;
  writeLlama(temp.file("m"), llamaFile(), config);
  EXPECT_EQ(openError(temp.file("m"), model), "");
  // No JSON, no object, no file.
  for (const char *text : {"", "[1]", "3", "{\"a\": 1e999}", "{\"a\":"}) {
    writeText(temp.file("m/config.json"), text);
    EXPECT_CONTAINS(openError(temp.file("m"), model), "config.json: ");
  }
  writeText(temp.file("m/config.json"), std::string(2 << 20, ' '));
  EXPECT_CONTAINS(openError(temp.file("m"), model),
                  "config.json: it has 2097152 bytes, expected at most 1048576");
  fs::remove(temp.file("m/config.json"));
  Result<Weights> weights = Weights::open(temp.file("m/model.safetensors"), model);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  ASSERT_EQ(weights->notes().size(), 1u);
  EXPECT_CONTAINS(weights->notes()[0], "no config.json beside");
  // A longer context than the model was made for can be meant.
  config = llamaConfig();
  config["max_position_embeddings"] = 8;
  writeLlama(temp.file("m"), llamaFile(), config);
  weights = Weights::open(temp.file("m"), model);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_EQ(weights->notes(),
            std::vector<std::string>{"the model was made for 8 positions, block_size is 16"});
}

TEST(Llama, TensorsThatDoNotFit) {
  TempFolder temp;
  const Model model = llamaModel();
  auto with = [&](auto change) {
    MadeFile file = llamaFile();
    change(file);
    writeFile(temp.file("f.safetensors"), file);
    return openError(temp.file("f.safetensors"), model);
  };
  EXPECT_EQ(with([](MadeFile &) {}), "");
  EXPECT_CONTAINS(
      with([](MadeFile &file) { file["model.embed_tokens.weight"] = made({7, 6}, 0); }),
      "model.embed_tokens.weight: 7 x 6, the step needs 5 x 6; compile with --vocab_size=7: rows are "
      "neither cut nor made up");
  EXPECT_CONTAINS(with([](MadeFile &file) { file["model.layers.1.mlp.up_proj.weight"] = made({4, 6}, 0); }),
                  "model.layers.1.mlp.up_proj.weight: 4 x 6, the step needs 3 x 6; compile with --d_ff=4");
  EXPECT_CONTAINS(with([](MadeFile &file) { file["model.norm.weight"] = made({2, 3}, 0); }),
                  "model.norm.weight: 2 x 3, the step needs 6");
  EXPECT_CONTAINS(
      with([](MadeFile &file) { file.erase("lm_head.weight"); }),
      "lm_head.weight: missing, the step has lm_head.weight, 5 x 6; compile with --weight_tying=true");
  EXPECT_CONTAINS(with([](MadeFile &file) { file["model.layers.0.self_attn.q_norm.weight"] = made({4}, 0); }),
                  "model.layers.0.self_attn.q_norm.weight: 4, the step has no such weight");
  EXPECT_CONTAINS(with([](MadeFile &file) { file["model.layers.2.mlp.up_proj.weight"] = made({3, 6}, 0); }),
                  "model.layers.2.mlp.up_proj.weight: 3 x 6, the step has no such weight");
  EXPECT_EQ(with([](MadeFile &file) { file["model.layers.0.self_attn.rotary_emb.inv_freq"] = made({2}, 0); }),
            "");
  EXPECT_CONTAINS(with([](MadeFile &file) { file["model.norm.weight"].dtype = "I8"; }),
                  "model.norm.weight: it is I8, expected F32, BF16 or F16");
  EXPECT_CONTAINS(
      with([](MadeFile &file) {
        file.clear();
        file["encoder.weight"] = made({1}, 0);
      }),
      "its layout is unknown: among its tensors are 'encoder.weight'; expected the names of Hugging Face's");
  EXPECT_CONTAINS(with([](MadeFile &file) { file.clear(); }), "it has no tensors");
  // A model without its head's wrapper.
  EXPECT_EQ(with([](MadeFile &file) {
              MadeFile bare;
              for (const auto &[name, tensor] : file)
                bare[name.rfind("model.", 0) == 0 ? name.substr(6) : name] = tensor;
              file = bare;
            }),
            "");
  EXPECT_CONTAINS(openError(temp.file("none"), model), "none");
  fs::create_directories(temp.file("empty"));
  EXPECT_CONTAINS(openError(temp.file("empty"), model),
                  "no weights in this folder; expected model.safetensors");
  writeText(temp.file("empty/pytorch_model.bin"), "x");
  EXPECT_CONTAINS(openError(temp.file("empty"), model), "safe_serialization=True");
}

//===-- GPT-2 ---------------------------------------------------------------===//

static void writeGpt2(const std::string &folder, const MadeFile &file, const Json &config = gpt2Config()) {
  writeFile(folder + "/model.safetensors", file, {{"format", "pt"}});
  writeText(folder + "/config.json", config.dump());
}

TEST(Gpt2, EveryTensorComesToItsPlaceAndBack) {
  TempFolder temp;
  for (const char *inner : {"transformer.", ""}) {
    const Model model = gpt2Model();
    MadeFile file = gpt2File(true, inner);
    writeGpt2(temp.file("m"), file);
    Result<Weights> weights = Weights::open(temp.file("m"), model);
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    EXPECT_EQ(weights->layout(), Layout::Gpt2);
    const std::string block = std::string(inner) + "h.0.";
    for (auto [ours, theirs] : {std::pair{"attn.qkv", "attn.c_attn"},
                                {"attn.proj", "attn.c_proj"},
                                {"ffn.up", "mlp.c_fc"},
                                {"ffn.down", "mlp.c_proj"}}) {
      const MadeTensor &tensor = file[block + theirs + ".weight"];
      Values expected(tensor.values.size());
      for (size_t i = 0; i < tensor.shape[0]; ++i)
        for (size_t o = 0; o < tensor.shape[1]; ++o)
          expected[o * tensor.shape[0] + i] = tensor.values[i * tensor.shape[1] + o];
      EXPECT_EQ(readWhole(*weights, model, std::string("blocks.0.") + ours + ".weight"), expected) << ours;
      EXPECT_EQ(readWhole(*weights, model, std::string("blocks.0.") + ours + ".bias"),
                file[block + theirs + ".bias"].values);
    }
    EXPECT_EQ(readWhole(*weights, model, "wpe.weight"), file[std::string(inner) + "wpe.weight"].values);
    EXPECT_EQ(readWhole(*weights, model, "blocks.0.ffn_norm.bias"), file[block + "ln_2.bias"].values);
    const std::string out = temp.file(std::string("e") + inner);
    Result<Exported> exported = exportWeights(*weights, model, Layout::Gpt2, out);
    ASSERT_TRUE(exported.ok()) << exported.status().message();
    Result<SafetensorsFile> written = SafetensorsFile::open(out + "/model.safetensors");
    ASSERT_TRUE(written.ok());
    ASSERT_EQ(written->header().tensors.size(), file.size());
    for (const auto &[name, tensor] : gpt2File()) {
      const TensorEntry *entry = written->header().find(name);
      ASSERT_TRUE(entry) << name;
      EXPECT_EQ(entry->shape, tensor.shape);
      EXPECT_EQ(std::memcmp(written->read(*entry)->data(), tensor.values.data(), tensor.values.size() * 4), 0)
          << name;
    }
    EXPECT_EQ(openError(out, model), "");
  }
}

TEST(Gpt2, AStepWithoutBiasesIsOneWithZeros) {
  TempFolder temp;
  const Model model = gpt2Model(false);
  MadeFile file = gpt2File(false);
  writeGpt2(temp.file("m"), file);
  Result<Weights> weights = Weights::open(temp.file("m"), model);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  Result<Exported> exported = exportWeights(*weights, model, Layout::Gpt2, temp.file("e"));
  ASSERT_TRUE(exported.ok()) << exported.status().message();
  EXPECT_EQ(exported->tensors, file.size());
  EXPECT_EQ(openError(temp.file("e"), model), "");
  file["transformer.h.0.mlp.c_fc.bias"].values[5] = 1;
  writeGpt2(temp.file("m"), file);
  EXPECT_CONTAINS(
      openError(temp.file("m"), model),
      "'transformer.h.0.mlp.c_fc.bias' is not zero, the step has no such bias; compile with --bias=true");
  file = gpt2File(false);
  file["transformer.ln_f.bias"].values[0] = -1;
  writeGpt2(temp.file("m"), file);
  EXPECT_CONTAINS(openError(temp.file("m"), model), "compile with --normalization=layernorm");
}

TEST(Gpt2, WhatOldFilesHave) {
  TempFolder temp;
  const Model model = gpt2Model();
  MadeFile file = gpt2File(true, "");
  file["h.0.attn.bias"] = made({1, 1, 3, 3}, 0); // the causal mask
  file["h.0.attn.masked_bias"] = made({1}, -10000);
  file["lm_head.weight"] = file["wte.weight"];
  writeGpt2(temp.file("m"), file);
  EXPECT_EQ(openError(temp.file("m"), model), "");
  file["lm_head.weight"] = made({5, 5}, 0);
  writeGpt2(temp.file("m"), file);
  EXPECT_CONTAINS(openError(temp.file("m"), model), "compile with --weight_tying=false");
}

TEST(Gpt2, EveryKeyOfConfigCounts) {
  TempFolder temp;
  const Model model = gpt2Model();
  struct Case {
    const char *key;
    Json value;
    const char *message;
  };
  const Case cases[] = {
      {"vocab_size", 50257, "compile with --vocab_size=50257"},
      {"n_positions", 1024, "--block_size=1024"},
      {"n_positions", nullptr, "n_positions: 1024, since it is not given"},
      {"n_embd", 8, "--n_embd=8"},
      {"n_layer", 2, "--n_layer=2"},
      {"n_head", 4, "--n_head=4"},
      {"n_inner", nullptr, "n_inner: 16, since it is not given; the step has 6; compile with --d_ff=16"},
      {"activation_function", "gelu",
       "activation_function: gelu; the step has gelu_new; compile with --activation=gelu"},
      {"activation_function", "swish", "--activation=silu"},
      {"activation_function", "tanh",
       "activation_function: tanh; the step has gelu_new, and cannot be otherwise"},
      {"layer_norm_epsilon", 1e-12, "--norm_eps=1e-12"},
      {"scale_attn_weights", false, "scale_attn_weights: false; the step has true, and cannot be otherwise"},
      {"scale_attn_by_inverse_layer_idx", true, "cannot be otherwise"},
      {"add_cross_attention", true, "cannot be otherwise"},
      {"tie_word_embeddings", false, "--weight_tying=false"},
      {"model_type", "gpt_neo", "model_type: gpt_neo"},
  };
  for (const Case &one : cases) {
    Json config = gpt2Config();
    config[one.key] = one.value;
    writeGpt2(temp.file("m"), gpt2File(), config);
    EXPECT_CONTAINS(openError(temp.file("m"), model), one.message);
  }
  Json config = gpt2Config();
  config["activation_function"] = "gelu_pytorch_tanh";
  writeGpt2(temp.file("m"), gpt2File(), config);
  EXPECT_EQ(openError(temp.file("m"), model), "");
  // More positions than the step has.
  MadeFile file = gpt2File();
  file["transformer.wpe.weight"] = made({9, 4}, 0);
  writeFile(temp.file("f.safetensors"), file);
  EXPECT_CONTAINS(openError(temp.file("f.safetensors"), model),
                  "transformer.wpe.weight: 9 x 4, the step needs 3 x 4; compile with --block_size=9");
}

//===-- What cannot be expressed --------------------------------------------===//

TEST(Obstacles, NameTheKey) {
  struct Case {
    const char *key;
    Json value;
    const char *llama, *gpt2;
  };
  const Case cases[] = {
      {"norm_position", "post", "norm_position: post, LlamaForCausalLM needs pre",
       "norm_position: post, GPT2LMHeadModel needs pre"},
      {"normalization", "layernorm", "normalization: layernorm, LlamaForCausalLM needs rmsnorm", ""},
      {"normalization", "rmsnorm", "",
       "normalization: rmsnorm, GPT2LMHeadModel needs layernorm or layernorm_nobias"},
      {"position_encoding", "none", "position_encoding: none, LlamaForCausalLM needs rope",
       "position_encoding: none, GPT2LMHeadModel needs learned_absolute"},
      {"ffn_type", "standard", "ffn_type: standard, LlamaForCausalLM needs swiglu", ""},
      {"n_kv_head", 1u, "", "n_kv_head: 1, GPT2LMHeadModel needs n_head, 2"},
      {"head_dim", 8u, "", "head_dim: 8, GPT2LMHeadModel needs n_embd / n_head, 2"},
      {"n_head", 5u, "n_embd: 6, LlamaForCausalLM needs a multiple of n_head, 5", "n_kv_head: 2"},
  };
  EXPECT_TRUE(obstacles(Layout::Llama, llamaModel()).empty());
  EXPECT_TRUE(obstacles(Layout::Gpt2, gpt2Model()).empty());
  for (const Case &one : cases) {
    Model llama = llamaModel(), gpt2 = gpt2Model();
    llama.config[one.key] = gpt2.config[one.key] = one.value;
    for (auto [layout, model, expected] :
         {std::tuple{Layout::Llama, &llama, one.llama}, {Layout::Gpt2, &gpt2, one.gpt2}}) {
      const std::vector<std::string> lines = obstacles(layout, *model);
      if (*expected) {
        ASSERT_FALSE(lines.empty()) << one.key;
        EXPECT_CONTAINS(lines[0], expected);
        Result<Layout> chosen = huggingFaceLayout(*model);
        ASSERT_FALSE(chosen.ok());
        EXPECT_CONTAINS(chosen.status().message(), expected);
        EXPECT_CONTAINS(chosen.status().message(), "export it with --export_format=txc");
      } else {
        EXPECT_TRUE(lines.empty()) << lines[0];
      }
    }
  }
  // A file of the one for a step of the other.
  TempFolder temp;
  writeLlama(temp.file("m"));
  const std::string message = openError(temp.file("m"), gpt2Model());
  EXPECT_CONTAINS(message, "the weights are LlamaForCausalLM, which step.so is not");
  EXPECT_CONTAINS(message, "ffn_type: standard, LlamaForCausalLM needs swiglu");
}

//===-- Our own layout ------------------------------------------------------===//

TEST(Own, AnotherRopeLayoutIsReordered) {
  TempFolder temp;
  writeLlama(temp.file("m"));
  const Model half = llamaModel("half"), interleaved = llamaModel("interleaved");
  Result<Weights> weights = Weights::open(temp.file("m"), half);
  ASSERT_TRUE(weights.ok());
  ASSERT_TRUE(exportWeights(*weights, half, Layout::Txc, temp.file("own")).ok());
  EXPECT_FALSE(fs::exists(temp.file("own/config.json")));
  for (const Model *model : {&half, &interleaved}) {
    Result<Weights> expected = Weights::open(temp.file("m"), *model),
                    own = Weights::open(temp.file("own"), *model);
    ASSERT_TRUE(own.ok()) << own.status().message();
    EXPECT_TRUE(own->notes().empty());
    EXPECT_EQ(own->layout(), Layout::Txc);
    for (const Tensor &tensor : model->parameters)
      EXPECT_EQ(readWhole(*own, *model, tensor.name), readWhole(*expected, *model, tensor.name))
          << tensor.name;
  }
  Model other = half;
  other.config["rope_theta"] = 5e5;
  EXPECT_CONTAINS(openError(temp.file("own"), other),
                  "rope_theta: 10000.0; the step has 500000.0; compile with --rope_theta=10000.0");
}

TEST(Own, ABareFileIsTakenByNamesAndShapes) {
  TempFolder temp;
  const Model model = gpt2Model();
  MadeFile file;
  for (const Tensor &tensor : model.parameters)
    file[tensor.name] = made(tensor.shape, 3);
  writeFile(temp.file("f.safetensors"), file);
  Result<Weights> weights = Weights::open(temp.file("f.safetensors"), model);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  ASSERT_EQ(weights->notes().size(), 1u);
  EXPECT_CONTAINS(weights->notes()[0], "does not say which options");
  file["blocks.0.attn.qkv.weight"].shape = {4, 12};
  writeFile(temp.file("f.safetensors"), file);
  EXPECT_CONTAINS(openError(temp.file("f.safetensors"), model),
                  "blocks.0.attn.qkv.weight: 4 x 12, the step needs 12 x 4");
  writeFile(temp.file("f.safetensors"), file, {{"txc.config", "[1"}});
  EXPECT_CONTAINS(openError(temp.file("f.safetensors"), model),
                  "'txc.config' of its metadata is not valid JSON");
}

TEST(Own, ACheckpointOfTwoRanksIsOneSetOfWeights) {
  TempFolder temp;
  const Model half = llamaModel("half"), interleaved = llamaModel("interleaved");
  writeLlama(temp.file("m"));
  Result<Weights> truth = Weights::open(temp.file("m"), half);
  ASSERT_TRUE(truth.ok());
  std::vector<Values> values;
  for (const Tensor &tensor : half.parameters)
    values.push_back(readWhole(*truth, half, tensor.name));
  CheckpointFolder folder(temp.file("checkpoints"));
  for (int64_t rank : {1, 0}) {
    CheckpointContent content;
    content.sequence = 1;
    content.iteration = 7;
    content.rank = rank;
    content.numRanks = 2;
    content.manifest = {{"run", "r"}, {"config", {{"run", Json::object()}, {"step", half.config}}}};
    for (size_t i = 0; i < values.size(); ++i) {
      const uint64_t middle = values[i].size() / 2 + 1, begin = rank ? middle : 0,
                     end = rank ? values[i].size() : middle;
      content.model.push_back({half.parameters[i].name, half.parameters[i].shape, begin, end,
                               reinterpret_cast<const char *>(values[i].data() + begin)});
    }
    Result<WrittenCheckpoint> written = folder.write(content, 1);
    ASSERT_TRUE(written.ok()) << written.status().message();
  }
  const std::string path = temp.file("checkpoints/000001-iter-7");
  // The folder, or any file of it.
  std::vector<std::string> names = {path};
  for (const auto &entry : fs::directory_iterator(path))
    if (entry.path().filename().string().rfind("model", 0) == 0)
      names.push_back(entry.path().string());
  ASSERT_EQ(names.size(), 3u);
  for (const std::string &given : names)
    for (const Model *model : {&half, &interleaved}) {
      Result<Weights> weights = Weights::open(given, *model),
                      expected = Weights::open(temp.file("m"), *model);
      ASSERT_TRUE(weights.ok()) << weights.status().message();
      for (const Tensor &tensor : model->parameters)
        EXPECT_EQ(readWhole(*weights, *model, tensor.name), readWhole(*expected, *model, tensor.name))
            << tensor.name;
    }
  Model other = half;
  other.config["norm_eps"] = 1e-6;
  EXPECT_CONTAINS(openError(path, other),
                  "norm_eps: 1e-05; the step has 1e-06; compile with --norm_eps=1e-05");
  writeText(path + "/manifest.json", "{}");
  EXPECT_CONTAINS(openError(path, half), "manifest.json: the manifest is");
}

//===-- Writing -------------------------------------------------------------===//

namespace {
// Fails one call, counted over all kinds.
class FailingFiles : public FileOperations {
public:
  explicit FailingFiles(int at) : at_(at) {}
  int makeFolder(const std::string &path) override {
    return fails() ? -EDQUOT : FileOperations::makeFolder(path);
  }
  int create(const std::string &path) override { return fails() ? -EROFS : FileOperations::create(path); }
  ssize_t write(int file, const void *data, size_t bytes) override {
    return fails() ? -ENOSPC : FileOperations::write(file, data, bytes);
  }
  int flush(int file) override { return fails() ? -EIO : FileOperations::flush(file); }
  int rename(const std::string &from, const std::string &to) override {
    return fails() ? -EACCES : FileOperations::rename(from, to);
  }
  bool failed() const { return failed_; }

private:
  bool fails() { return count_++ == at_ ? failed_ = true : false; }
  int at_, count_ = 0;
  bool failed_ = false;
};
} // namespace

TEST(Export, AFailureLeavesNothing) {
  TempFolder temp;
  const Model model = llamaModel();
  writeLlama(temp.file("m"));
  Result<Weights> weights = Weights::open(temp.file("m"), model);
  ASSERT_TRUE(weights.ok());
  int failures = 0;
  for (int at = 0;; ++at) {
    FailingFiles files(at);
    Result<Exported> exported = exportWeights(*weights, model, Layout::Llama, temp.file("e"), files);
    if (!files.failed()) {
      EXPECT_TRUE(exported.ok());
      break;
    }
    ++failures;
    EXPECT_FALSE(exported.ok()) << at;
    EXPECT_FALSE(fs::exists(temp.file("e"))) << at;
    EXPECT_FALSE(fs::exists(temp.file("e.incomplete"))) << at;
  }
  EXPECT_GT(failures, 25);
  // What is there stays.
  const std::string before = readAll(temp.file("e/model.safetensors"));
  Result<Exported> again = exportWeights(*weights, model, Layout::Llama, temp.file("e"));
  ASSERT_FALSE(again.ok());
  EXPECT_CONTAINS(again.status().message(), "it exists and is not an empty folder");
  EXPECT_EQ(readAll(temp.file("e/model.safetensors")), before);
  fs::create_directories(temp.file("hollow"));
  EXPECT_TRUE(exportWeights(*weights, model, Layout::Llama, temp.file("hollow")).ok());
  EXPECT_TRUE(exportWeights(*weights, model, Layout::Llama, temp.file("new/deeper/e")).ok());
  fs::create_directories(temp.file("left.incomplete"));
  again = exportWeights(*weights, model, Layout::Llama, temp.file("left"));
  ASSERT_FALSE(again.ok());
  EXPECT_CONTAINS(again.status().message(), "left by an export that was interrupted");
  writeText(temp.file("file"), "x");
  EXPECT_FALSE(exportWeights(*weights, model, Layout::Llama, temp.file("file")).ok());
}
