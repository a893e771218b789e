//===- interchange.cpp - Weights in Hugging Face's layouts -------------------===//
//
// Parts of an input: config.json, model.safetensors.index.json (none if it is
// empty), then model.safetensors, or the two files of a model in parts.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include "interchange/weights.h"

using namespace txc;
using namespace txc::interchange;

// One block of one head of 2; 2 wide, d_ff 2, 3 tokens.
static Model smallModel() {
  Model model;
  model.step = "step.so";
  model.config = {{"n_layer", 1u},
                  {"n_head", 1u},
                  {"n_kv_head", 1u},
                  {"head_dim", 2u},
                  {"n_embd", 2u},
                  {"d_ff", 2u},
                  {"vocab_size", 3u},
                  {"block_size", 4u},
                  {"norm_eps", 1e-5},
                  {"bias", false},
                  {"weight_tying", true},
                  {"position_encoding", "rope"},
                  {"rope_theta", 1e4},
                  {"rope_layout", "interleaved"},
                  {"normalization", "rmsnorm"},
                  {"ffn_type", "swiglu"},
                  {"norm_position", "pre"},
                  {"activation", "gelu"},
                  {"dropout", 0},
                  {"init_std", 0.02}};
  model.parameters = {{"wte.weight", {3, 2}},
                      {"blocks.0.attn_norm.weight", {2}},
                      {"blocks.0.attn.qkv.weight", {6, 2}},
                      {"blocks.0.attn.proj.weight", {2, 2}},
                      {"blocks.0.ffn_norm.weight", {2}},
                      {"blocks.0.ffn.gate_up.weight", {4, 2}},
                      {"blocks.0.ffn.down.weight", {2, 2}},
                      {"final_norm.weight", {2}}};
  return model;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const fuzz::Folder folder;
  static const Model model = smallModel();
  std::vector<std::string_view> parts = fuzz::split(fuzz::asText(data, size), 4);
  folder.write("config.json", parts[0]);
  const bool inParts = !parts[1].empty();
  for (const char *name : {"model.safetensors.index.json", "model.safetensors"})
    folder.remove(name);
  if (inParts) {
    folder.write("model.safetensors.index.json", parts[1]);
    folder.write("model-00001-of-00002.safetensors", parts[2]);
    folder.write("model-00002-of-00002.safetensors", parts[3]);
  } else {
    folder.write("model.safetensors", parts[2]);
  }
  Result<Weights> weights = Weights::open(folder.path(), model);
  fuzz::checkSays(weights);
  if (!weights.ok())
    return 0;
  if (weights->description().empty())
    std::abort();
  for (const Tensor &tensor : model.parameters) {
    uint64_t elements = 1;
    for (uint64_t dim : tensor.shape)
      elements *= dim;
    std::vector<float> values(elements);
    (void)weights->read(tensor.name, 0, elements, values.data()).ok();
    if (elements > 1)
      (void)weights->read(tensor.name, 1, elements - 1, values.data()).ok();
  }
  return 0;
}
