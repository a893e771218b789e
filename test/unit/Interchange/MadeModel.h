//===- MadeModel.h - Small models and the files that hold them --------------===//
#ifndef TXC_UNIT_INTERCHANGE_MADE_MODEL_H
#define TXC_UNIT_INTERCHANGE_MADE_MODEL_H

#include "checkpoint/safetensors.h"
#include "interchange/layouts.h"

#include "TempFolder.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <vector>

namespace txc::interchange {

using Json = nlohmann::ordered_json;
using Values = std::vector<float>;

// Every element of every tensor is another number, which float16 and bfloat16 hold up to 256.
struct MadeTensor {
  std::vector<uint64_t> shape;
  Values values;
  std::string dtype = "F32";
};
using MadeFile = std::map<std::string, MadeTensor>;

inline uint64_t count(const std::vector<uint64_t> &shape) {
  uint64_t out = 1;
  for (uint64_t dim : shape)
    out *= dim;
  return out;
}

inline void writeText(const std::string &path, const std::string &text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

inline std::string readAll(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void writeFile(const std::string &path, const MadeFile &tensors,
                      const std::map<std::string, std::string> &metadata = {}) {
  std::vector<TensorEntry> entries;
  for (const auto &[name, tensor] : tensors)
    entries.push_back({name, tensor.dtype, tensor.shape, 0, 0});
  std::string bytes = layOutSafetensors(entries, metadata);
  for (const auto &[name, tensor] : tensors)
    for (float value : tensor.values) {
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      if (tensor.dtype == "BF16")
        bytes += {static_cast<char>(bits >> 16), static_cast<char>(bits >> 24)};
      else
        bytes.append(reinterpret_cast<const char *>(&bits),
                     tensor.dtype == "F32" ? 4 : dtypeBytes(tensor.dtype));
    }
  writeText(path, bytes);
}

inline MadeTensor made(std::vector<uint64_t> shape, float first) {
  MadeTensor out{std::move(shape), {}};
  for (uint64_t i = 0; i < count(out.shape); ++i)
    out.values.push_back(first + static_cast<float>(i));
  return out;
}

// Two blocks; 2 heads of 4 with 1 key/value head, 6 wide, d_ff 3, 5 tokens.
inline Model llamaModel(const std::string &ropeLayout = "half") {
  Model model;
  model.step = "step.so";
  model.config = {{"n_layer", 2u},
                  {"n_head", 2u},
                  {"n_kv_head", 1u},
                  {"head_dim", 4u},
                  {"n_embd", 6u},
                  {"d_ff", 3u},
                  {"vocab_size", 5u},
                  {"block_size", 16u},
                  {"norm_eps", 1e-5},
                  {"bias", false},
                  {"weight_tying", false},
                  {"position_encoding", "rope"},
                  {"rope_theta", 1e4},
                  {"rope_layout", ropeLayout},
                  {"normalization", "rmsnorm"},
                  {"ffn_type", "swiglu"},
                  {"norm_position", "pre"},
                  {"activation", "gelu"},
                  {"dropout", 0},
                  {"init_std", 0.02}};
  model.parameters = {{"wte.weight", {5, 6}}};
  for (const char *block : {"blocks.0.", "blocks.1."})
    for (const Tensor &tensor : std::vector<Tensor>{{"attn_norm.weight", {6}},
                                                    {"attn.qkv.weight", {16, 6}},
                                                    {"attn.proj.weight", {6, 8}},
                                                    {"ffn_norm.weight", {6}},
                                                    {"ffn.gate_up.weight", {6, 6}},
                                                    {"ffn.down.weight", {6, 3}}})
      model.parameters.push_back({block + tensor.name, tensor.shape});
  model.parameters.push_back({"final_norm.weight", {6}});
  model.parameters.push_back({"lm_head.weight", {5, 6}});
  return model;
}

inline MadeFile llamaFile() {
  MadeFile out;
  float first = 0;
  auto add = [&](const std::string &name, std::vector<uint64_t> shape) {
    out[name] = made(std::move(shape), first);
    first += 1000;
  };
  add("model.embed_tokens.weight", {5, 6});
  for (const char *layer : {"model.layers.0.", "model.layers.1."})
    for (const Tensor &tensor : std::vector<Tensor>{{"self_attn.q_proj.weight", {8, 6}},
                                                    {"self_attn.k_proj.weight", {4, 6}},
                                                    {"self_attn.v_proj.weight", {4, 6}},
                                                    {"self_attn.o_proj.weight", {6, 8}},
                                                    {"mlp.gate_proj.weight", {3, 6}},
                                                    {"mlp.up_proj.weight", {3, 6}},
                                                    {"mlp.down_proj.weight", {6, 3}},
                                                    {"input_layernorm.weight", {6}},
                                                    {"post_attention_layernorm.weight", {6}}})
      add(layer + tensor.name, tensor.shape);
  add("model.norm.weight", {6});
  add("lm_head.weight", {5, 6});
  return out;
}

inline Json llamaConfig() {
  return {{"model_type", "llama"},
          {"vocab_size", 5},
          {"hidden_size", 6},
          {"intermediate_size", 3},
          {"num_hidden_layers", 2},
          {"rope_theta", 10000.0},
          {"rms_norm_eps", 1e-5},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"head_dim", 4},
          {"max_position_embeddings", 16}};
}

// One block; 2 heads of 2, 4 wide, d_ff 6, 5 tokens, 3 positions.
inline Model gpt2Model(bool biases = true) {
  Model model;
  model.step = "step.so";
  model.config = {{"n_layer", 1u},
                  {"n_head", 2u},
                  {"n_kv_head", 2u},
                  {"head_dim", 2u},
                  {"n_embd", 4u},
                  {"d_ff", 6u},
                  {"vocab_size", 5u},
                  {"block_size", 3u},
                  {"norm_eps", 1e-5},
                  {"bias", biases},
                  {"weight_tying", true},
                  {"position_encoding", "learned_absolute"},
                  {"rope_theta", 1e4},
                  {"rope_layout", "interleaved"},
                  {"normalization", biases ? "layernorm" : "layernorm_nobias"},
                  {"ffn_type", "standard"},
                  {"norm_position", "pre"},
                  {"activation", "gelu_tanh"},
                  {"dropout", 0.1},
                  {"init_std", 0.02}};
  auto add = [&](const std::string &name, std::vector<uint64_t> shape, bool hasBias) {
    model.parameters.push_back({name + ".weight", shape});
    if (biases && hasBias)
      model.parameters.push_back({name + ".bias", {shape[0]}});
  };
  add("wte", {5, 4}, false);
  add("wpe", {3, 4}, false);
  add("blocks.0.attn_norm", {4}, true);
  add("blocks.0.attn.qkv", {12, 4}, true);
  add("blocks.0.attn.proj", {4, 4}, true);
  add("blocks.0.ffn_norm", {4}, true);
  add("blocks.0.ffn.up", {6, 4}, true);
  add("blocks.0.ffn.down", {4, 6}, true);
  add("final_norm", {4}, true);
  return model;
}

inline MadeFile gpt2File(bool biases = true, const std::string &inner = "transformer.") {
  MadeFile out;
  float first = 0;
  auto add = [&](const std::string &name, std::vector<uint64_t> shape, bool hasBias) {
    out[inner + name + ".weight"] = made(shape, first += 100);
    if (hasBias) {
      out[inner + name + ".bias"] = made({shape.back()}, first += 100);
      if (!biases)
        out[inner + name + ".bias"].values.assign(shape.back(), 0);
    }
  };
  add("wte", {5, 4}, false);
  add("wpe", {3, 4}, false);
  add("h.0.ln_1", {4}, true);
  add("h.0.attn.c_attn", {4, 12}, true);
  add("h.0.attn.c_proj", {4, 4}, true);
  add("h.0.ln_2", {4}, true);
  add("h.0.mlp.c_fc", {4, 6}, true);
  add("h.0.mlp.c_proj", {6, 4}, true);
  add("ln_f", {4}, true);
  return out;
}

inline Json gpt2Config() {
  return {{"model_type", "gpt2"}, {"vocab_size", 5}, {"n_positions", 3}, {"n_embd", 4},
          {"n_layer", 1},         {"n_head", 2},     {"n_inner", 6}};
}

} // namespace txc::interchange

#endif // TXC_UNIT_INTERCHANGE_MADE_MODEL_H
