//===- layouts.cpp - Where other systems keep the weights of a model --------===//
//
// Differences from our own tensors:
//   - Llama has queries, keys and values, and gate and up, as tensors of their own;
//     ours are one tensor each, in this order.
//   - Llama rotates element i with i + head_dim / 2 (rope_layout: half). A step with
//     interleaved pairs has the same rows in another order.
//   - GPT-2's linear layers (Conv1D) are y = x W + b: the transpose of ours.
//   - GPT-2 always has biases. A step without is the same as one with zeros.
//   - With tied heads lm_head.weight is not in the file.
//
//===----------------------------------------------------------------------===//
#include "interchange/layouts.h"

#include "support/text.h"

#include <algorithm>
#include <cmath>

namespace txc::interchange {

using Json = nlohmann::ordered_json;

//===-- The tables ----------------------------------------------------------===//

namespace {

enum class Rows { All, Queries, Keys, Values, Gate, Up };
enum class How { Plain, Rotated, Transposed };

// N is the number of the block. `key` decides the number of rows.
struct Row {
  const char *ours;
  Rows rows;
  const char *theirs;
  How how;
  const char *key;
};

const Row kLlama[] = {
    {"wte.weight", Rows::All, "model.embed_tokens.weight", How::Plain, "vocab_size"},
    {"blocks.N.attn_norm.weight", Rows::All, "model.layers.N.input_layernorm.weight", How::Plain, "n_embd"},
    {"blocks.N.attn.qkv.weight", Rows::Queries, "model.layers.N.self_attn.q_proj.weight", How::Rotated,
     "n_head"},
    {"blocks.N.attn.qkv.bias", Rows::Queries, "model.layers.N.self_attn.q_proj.bias", How::Rotated, "n_head"},
    {"blocks.N.attn.qkv.weight", Rows::Keys, "model.layers.N.self_attn.k_proj.weight", How::Rotated,
     "n_kv_head"},
    {"blocks.N.attn.qkv.bias", Rows::Keys, "model.layers.N.self_attn.k_proj.bias", How::Rotated, "n_kv_head"},
    {"blocks.N.attn.qkv.weight", Rows::Values, "model.layers.N.self_attn.v_proj.weight", How::Plain,
     "n_kv_head"},
    {"blocks.N.attn.qkv.bias", Rows::Values, "model.layers.N.self_attn.v_proj.bias", How::Plain, "n_kv_head"},
    {"blocks.N.attn.proj.weight", Rows::All, "model.layers.N.self_attn.o_proj.weight", How::Plain, "n_embd"},
    {"blocks.N.attn.proj.bias", Rows::All, "model.layers.N.self_attn.o_proj.bias", How::Plain, "n_embd"},
    {"blocks.N.ffn_norm.weight", Rows::All, "model.layers.N.post_attention_layernorm.weight", How::Plain,
     "n_embd"},
    {"blocks.N.ffn.gate_up.weight", Rows::Gate, "model.layers.N.mlp.gate_proj.weight", How::Plain, "d_ff"},
    {"blocks.N.ffn.gate_up.bias", Rows::Gate, "model.layers.N.mlp.gate_proj.bias", How::Plain, "d_ff"},
    {"blocks.N.ffn.gate_up.weight", Rows::Up, "model.layers.N.mlp.up_proj.weight", How::Plain, "d_ff"},
    {"blocks.N.ffn.gate_up.bias", Rows::Up, "model.layers.N.mlp.up_proj.bias", How::Plain, "d_ff"},
    {"blocks.N.ffn.down.weight", Rows::All, "model.layers.N.mlp.down_proj.weight", How::Plain, "n_embd"},
    {"blocks.N.ffn.down.bias", Rows::All, "model.layers.N.mlp.down_proj.bias", How::Plain, "n_embd"},
    {"final_norm.weight", Rows::All, "model.norm.weight", How::Plain, "n_embd"},
    {"lm_head.weight", Rows::All, "lm_head.weight", How::Plain, "vocab_size"},
};

const Row kGpt2[] = {
    {"wte.weight", Rows::All, "transformer.wte.weight", How::Plain, "vocab_size"},
    {"wpe.weight", Rows::All, "transformer.wpe.weight", How::Plain, "block_size"},
    {"blocks.N.attn_norm.weight", Rows::All, "transformer.h.N.ln_1.weight", How::Plain, "n_embd"},
    {"blocks.N.attn_norm.bias", Rows::All, "transformer.h.N.ln_1.bias", How::Plain, "n_embd"},
    {"blocks.N.attn.qkv.weight", Rows::All, "transformer.h.N.attn.c_attn.weight", How::Transposed, "n_embd"},
    {"blocks.N.attn.qkv.bias", Rows::All, "transformer.h.N.attn.c_attn.bias", How::Plain, "n_embd"},
    {"blocks.N.attn.proj.weight", Rows::All, "transformer.h.N.attn.c_proj.weight", How::Transposed, "n_embd"},
    {"blocks.N.attn.proj.bias", Rows::All, "transformer.h.N.attn.c_proj.bias", How::Plain, "n_embd"},
    {"blocks.N.ffn_norm.weight", Rows::All, "transformer.h.N.ln_2.weight", How::Plain, "n_embd"},
    {"blocks.N.ffn_norm.bias", Rows::All, "transformer.h.N.ln_2.bias", How::Plain, "n_embd"},
    {"blocks.N.ffn.up.weight", Rows::All, "transformer.h.N.mlp.c_fc.weight", How::Transposed, "d_ff"},
    {"blocks.N.ffn.up.bias", Rows::All, "transformer.h.N.mlp.c_fc.bias", How::Plain, "d_ff"},
    {"blocks.N.ffn.down.weight", Rows::All, "transformer.h.N.mlp.c_proj.weight", How::Transposed, "n_embd"},
    {"blocks.N.ffn.down.bias", Rows::All, "transformer.h.N.mlp.c_proj.bias", How::Plain, "n_embd"},
    {"final_norm.weight", Rows::All, "transformer.ln_f.weight", How::Plain, "n_embd"},
    {"final_norm.bias", Rows::All, "transformer.ln_f.bias", How::Plain, "n_embd"},
    {"lm_head.weight", Rows::All, "lm_head.weight", How::Plain, "vocab_size"},
};

// What a step must be.
struct Requirement {
  Layout layout;
  const char *key;
  std::vector<const char *> values; // the first is what to change it to
};

const std::vector<Requirement> &requirements() {
  static const std::vector<Requirement> all = {
      {Layout::Llama, "normalization", {"rmsnorm"}},
      {Layout::Llama, "position_encoding", {"rope"}},
      {Layout::Llama, "norm_position", {"pre"}},
      {Layout::Llama, "ffn_type", {"swiglu"}},
      {Layout::Gpt2, "normalization", {"layernorm", "layernorm_nobias"}},
      {Layout::Gpt2, "position_encoding", {"learned_absolute"}},
      {Layout::Gpt2, "norm_position", {"pre"}},
      {Layout::Gpt2, "ffn_type", {"standard"}},
  };
  return all;
}

// Our activations; the first of their names is what export writes.
struct ActivationNames {
  const char *ours;
  std::vector<std::string> theirs;
};
const std::vector<ActivationNames> &activations() {
  static const std::vector<ActivationNames> all = {
      {"gelu", {"gelu"}},
      {"gelu_tanh", {"gelu_new", "gelu_pytorch_tanh", "gelu_accurate"}},
      {"silu", {"silu", "swish"}},
      {"relu", {"relu"}},
      {"leaky_relu", {"leaky_relu"}},
  };
  return all;
}

std::string numbered(const std::string &pattern, uint64_t block) {
  size_t at = pattern.find(".N.");
  return at == std::string::npos ? pattern
                                 : pattern.substr(0, at + 1) + std::to_string(block) + pattern.substr(at + 2);
}

bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// A member of what may be no object; null if there is none.
Json member(const Json &object, const char *key) {
  auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : Json();
}

// A value in a message; what a file says may be long.
std::string shown(const Json &value) {
  std::string text = value.is_string() ? value.get<std::string>()
                                       : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

} // namespace

const char *nameOf(Layout layout) {
  return layout == Layout::Llama ? "LlamaForCausalLM" : layout == Layout::Gpt2 ? "GPT2LMHeadModel" : "txc";
}

std::string shapeText(const std::vector<uint64_t> &shape) {
  std::string out;
  for (uint64_t dim : shape)
    out += (out.empty() ? "" : " x ") + std::to_string(dim);
  return out.empty() ? "one number" : out;
}

//===-- The model -----------------------------------------------------------===//

Result<Model> Model::fromMetadata(const Json &metadata, const std::string &step) {
  auto bad = [&](const std::string &what) {
    return Status::failed(step + ": inconsistent step: " + what +
                          "; this is a fault of the txc that wrote it");
  };
  Model out;
  out.step = step;
  out.config = Json::object();
  const Json sections = member(metadata, "config");
  for (const auto &[key, value] : sections.items()) { // none in what is no object
    if (value.is_object())
      out.config.update(value);
    else
      out.config[key] = value;
  }
  const Json list = member(member(metadata, "parameters"), "list");
  for (const Json &entry : list) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
        !entry.contains("shape") || !entry["shape"].is_array())
      return bad("a parameter of its metadata has no name or shape");
    Tensor tensor{entry["name"].get<std::string>(), {}};
    for (const Json &dim : entry["shape"]) {
      if (!dim.is_number_unsigned())
        return bad("the shape of " + tensor.name + " is no list of sizes");
      tensor.shape.push_back(dim.get<uint64_t>());
    }
    out.parameters.push_back(std::move(tensor));
  }
  if (out.parameters.empty())
    return bad("its metadata has no list of parameters");
  return out;
}

const Tensor *Model::find(const std::string &name) const {
  for (const Tensor &tensor : parameters)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

std::string Model::text(const char *key) const {
  auto found = config.find(key);
  return found != config.end() && found->is_string() ? found->get<std::string>() : "";
}

uint64_t Model::number(const char *key) const {
  auto found = config.find(key);
  const uint64_t value = found != config.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
  return value >> 31 ? 0 : value; // products of two do not overflow
}

bool Model::flag(const char *key) const {
  auto found = config.find(key);
  return found != config.end() && found->is_boolean() && found->get<bool>();
}

//===-- Tensors -------------------------------------------------------------===//

static std::vector<Piece> ownPieces(const Model &model) {
  std::vector<Piece> out;
  for (const Tensor &tensor : model.parameters) {
    Piece piece;
    piece.theirs = piece.ours = tensor.name;
    piece.shape = tensor.shape;
    piece.rows = tensor.shape.empty() ? 1 : tensor.shape[0];
    for (size_t d = 1; d < tensor.shape.size(); ++d)
      piece.width *= tensor.shape[d];
    if ((endsWith(tensor.name, ".attn.qkv.weight") || endsWith(tensor.name, ".attn.qkv.bias")) &&
        model.text("position_encoding") == "rope")
      piece.rotatedRows = (model.number("n_head") + model.number("n_kv_head")) * model.number("head_dim");
    out.push_back(std::move(piece));
  }
  return out;
}

Result<std::vector<Piece>> piecesOf(Layout layout, const Model &model) {
  auto bad = [&](const std::string &name) {
    return Status::failed(model.step + ": inconsistent step: the shape of " + name +
                          " is not what its options say; this is a fault of the txc that wrote it");
  };
  std::vector<Piece> out;
  if (layout == Layout::Txc) {
    out = ownPieces(model);
    for (const Piece &piece : out)
      if (piece.rotatedRows > piece.rows)
        return bad(piece.ours);
    return out;
  }
  const uint64_t blocks = model.number("n_layer"), head = model.number("head_dim");
  const uint64_t queries = model.number("n_head") * head, keys = model.number("n_kv_head") * head;
  const uint64_t hidden = model.number("d_ff");
  uint64_t used = 0; // elements of the parameters
  auto add = [&](const Row &row, uint64_t block) -> Status {
    Piece piece;
    piece.theirs = numbered(row.theirs, block);
    piece.rowsKey = row.key;
    const std::string name = numbered(row.ours, block);
    const Tensor *tensor = model.find(name);
    const bool isBias = endsWith(name, ".bias");
    if (tensor && !tensor->shape.empty()) {
      piece.ours = name;
      piece.width = tensor->shape.size() > 1 ? tensor->shape[1] : 1;
      switch (row.rows) {
      case Rows::All:
        piece.rows = tensor->shape[0];
        break;
      case Rows::Queries:
        piece.rows = queries;
        break;
      case Rows::Keys:
        piece.firstRow = queries;
        piece.rows = keys;
        break;
      case Rows::Values:
        piece.firstRow = queries + keys;
        piece.rows = keys;
        break;
      case Rows::Gate:
        piece.rows = hidden;
        break;
      case Rows::Up:
        piece.firstRow = hidden;
        piece.rows = hidden;
        break;
      }
      if (tensor->shape.size() != (isBias || endsWith(name, "norm.weight") ? 1 : 2) ||
          piece.firstRow + piece.rows > tensor->shape[0])
        return bad(name);
      piece.rotatedRows = row.how == How::Rotated ? piece.rows : 0;
      piece.transposed = row.how == How::Transposed;
      piece.shape = {piece.rows};
      if (tensor->shape.size() > 1)
        piece.shape = piece.transposed ? std::vector<uint64_t>{piece.width, piece.rows}
                                       : std::vector<uint64_t>{piece.rows, piece.width};
      used += piece.rows * piece.width;
    } else if (isBias && layout == Layout::Gpt2) {
      const Tensor *weight = model.find(name.substr(0, name.size() - 4) + "weight");
      if (!weight || weight->shape.empty())
        return bad(name.substr(0, name.size() - 4) + "weight");
      piece.rows = weight->shape[0];
      piece.shape = {piece.rows};
      piece.whyZeros = name.find("norm.") != std::string::npos ? "--normalization=layernorm" : "--bias=true";
    } else if (isBias || (name == "lm_head.weight" && model.flag("weight_tying"))) {
      return {};
    } else {
      return bad(name);
    }
    out.push_back(std::move(piece));
    return {};
  };
  const Row *begin = layout == Layout::Llama ? std::begin(kLlama) : std::begin(kGpt2);
  const Row *end = layout == Layout::Llama ? std::end(kLlama) : std::end(kGpt2);
  auto perBlock = [](const Row &row) { return std::string(row.ours).rfind("blocks.", 0) == 0; };
  for (const Row *row = begin; row != end;) {
    const Row *next = std::find_if_not(row, end, perBlock);
    for (uint64_t block = 0; next != row && block < blocks; ++block)
      for (const Row *inBlock = row; inBlock != next; ++inBlock)
        if (Status status = add(*inBlock, block); !status.ok())
          return status;
    if (next == row) {
      if (Status status = add(*row, 0); !status.ok())
        return status;
      ++next;
    }
    row = next;
  }
  uint64_t all = 0;
  for (const Tensor &tensor : model.parameters) {
    uint64_t elements = 1;
    for (uint64_t dim : tensor.shape)
      elements *= dim;
    all += elements;
  }
  if (used != all)
    return Status::failed(model.step + ": inconsistent step: " + nameOf(layout) + " has a place for " +
                          std::to_string(used) + " of its " + std::to_string(all) +
                          " parameters; this is a fault of the txc that wrote it");
  return out;
}

bool isComputed(Layout layout, const std::string &name) {
  if (layout == Layout::Llama)
    return endsWith(name, ".rotary_emb.inv_freq");
  // The causal mask, which old files have.
  return layout == Layout::Gpt2 && (endsWith(name, ".attn.bias") || endsWith(name, ".attn.masked_bias"));
}

//===-- Keys ----------------------------------------------------------------===//

std::vector<std::string> obstacles(Layout layout, const Model &model) {
  std::vector<std::string> out;
  if (layout == Layout::Txc)
    return out;
  if (model.text("norm_position").empty()) {
    out.push_back("the step does not say what model it holds");
    return out;
  }
  auto add = [&](const std::string &key, const std::string &value, const std::string &needed) {
    out.push_back(key + ": " + value + ", " + nameOf(layout) + " needs " + needed);
  };
  for (const Requirement &requirement : requirements()) {
    if (requirement.layout != layout)
      continue;
    const std::string value = model.text(requirement.key);
    std::string needed;
    bool fits = false;
    for (const char *allowed : requirement.values) {
      fits |= value == allowed;
      needed += (needed.empty() ? "" : " or ") + std::string(allowed);
    }
    if (!fits)
      add(requirement.key, value, needed);
  }
  const uint64_t heads = std::max<uint64_t>(model.number("n_head"), 1), width = model.number("n_embd");
  if (layout == Layout::Gpt2 && model.number("n_kv_head") != heads)
    add("n_kv_head", std::to_string(model.number("n_kv_head")), "n_head, " + std::to_string(heads));
  if (layout == Layout::Gpt2 && model.number("head_dim") * heads != width)
    add("head_dim", std::to_string(model.number("head_dim")),
        "n_embd / n_head, " + std::to_string(width / heads));
  if (layout == Layout::Llama && width % heads != 0)
    add("n_embd", std::to_string(width), "a multiple of n_head, " + std::to_string(heads));
  return out;
}

// With a point, as transformers expects where it has no whole number.
static Json realNumber(const Model &model, const char *key) {
  const Json value = member(model.config, key);
  return value.is_number() ? Json(value.get<double>()) : value;
}

std::vector<ConfigKey> configKeys(Layout layout, const Model &model) {
  auto of = [&](const char *key) { return member(model.config, key); };
  auto real = [&](const char *key) { return realNumber(model, key); };
  const uint64_t width = model.number("n_embd"), heads = std::max<uint64_t>(model.number("n_head"), 1);
  if (layout == Layout::Llama)
    return {
        {"vocab_size", of("vocab_size"), nullptr, "vocab_size", {}},
        {"hidden_size", of("n_embd"), nullptr, "n_embd", {}},
        {"intermediate_size", of("d_ff"), nullptr, "d_ff", {}},
        {"num_hidden_layers", of("n_layer"), nullptr, "n_layer", {}},
        {"num_attention_heads", of("n_head"), nullptr, "n_head", {}},
        {"num_key_value_heads", of("n_kv_head"), heads, "n_kv_head", {}},
        {"head_dim", of("head_dim"), width / heads, "head_dim", {}},
        {"hidden_act", "silu", "silu", "", {"swish"}},
        {"rms_norm_eps", real("norm_eps"), 1e-6, "norm_eps", {}},
        {"rope_theta", real("rope_theta"), 10000.0, "rope_theta", {}},
        {"rope_scaling", nullptr, nullptr, "", {}},
        {"attention_bias", of("bias"), false, "bias", {}},
        {"mlp_bias", of("bias"), false, "bias", {}},
        {"tie_word_embeddings", of("weight_tying"), false, "weight_tying", {}},
    };
  std::vector<std::string> names;
  for (const ActivationNames &activation : activations())
    if (model.text("activation") == activation.ours)
      names = activation.theirs;
  if (names.empty())
    names.push_back(model.text("activation"));
  return {
      {"vocab_size", of("vocab_size"), nullptr, "vocab_size", {}},
      {"n_positions", of("block_size"), 1024, "block_size", {}},
      {"n_embd", of("n_embd"), nullptr, "n_embd", {}},
      {"n_layer", of("n_layer"), nullptr, "n_layer", {}},
      {"n_head", of("n_head"), nullptr, "n_head", {}},
      {"n_inner", of("d_ff"), 4 * width, "d_ff", {}},
      {"activation_function", names[0], "gelu_new", "activation", {names.begin() + 1, names.end()}},
      {"layer_norm_epsilon", real("norm_eps"), 1e-5, "norm_eps", {}},
      {"scale_attn_weights", true, true, "", {}},
      {"scale_attn_by_inverse_layer_idx", false, false, "", {}},
      {"add_cross_attention", false, false, "", {}},
      {"tie_word_embeddings", of("weight_tying"), true, "weight_tying", {}},
  };
}

Json configFor(Layout layout, const Model &model) {
  Json out = {{"architectures", {nameOf(layout)}},
              {"model_type", layout == Layout::Llama ? "llama" : "gpt2"}};
  for (const ConfigKey &key : configKeys(layout, model))
    out[key.name] = key.value;
  if (layout == Layout::Llama) {
    out["max_position_embeddings"] = model.number("block_size");
    out["attention_dropout"] = realNumber(model, "dropout");
    out["pretraining_tp"] = 1;
  } else {
    for (const char *key : {"embd_pdrop", "attn_pdrop", "resid_pdrop"})
      out[key] = realNumber(model, "dropout");
  }
  out["initializer_range"] = realNumber(model, "init_std");
  // A step does not know which tokens begin and end a text.
  for (const char *key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    out[key] = nullptr;
  out["torch_dtype"] = "float32";
  out["use_cache"] = true;
  return out;
}

static bool same(const Json &a, const Json &b) {
  if (!a.is_number() || !b.is_number())
    return a == b;
  if (a.is_number_integer() && b.is_number_integer())
    return a == b;
  // As models compute with them.
  return static_cast<float>(a.get<double>()) == static_cast<float>(b.get<double>());
}

// What a value of theirs is called in a spec.
static std::string inOurWords(const ConfigKey &key, const Json &value) {
  if (key.ours == "activation")
    for (const ActivationNames &activation : activations())
      if (value.is_string() &&
          std::count(activation.theirs.begin(), activation.theirs.end(), value.get<std::string>()))
        return activation.ours;
  return key.ours == "activation" ? "" : shown(value);
}

std::vector<std::string> differences(Layout layout, const Model &model, const Json &config) {
  std::vector<std::string> out;
  const std::string expected = layout == Layout::Llama ? "llama" : "gpt2";
  if (const Json type = member(config, "model_type"); !type.is_null() && type != expected) {
    out.push_back(
        "model_type: " + shown(type) + "; its tensors are named as those of " + expected +
        ", but the model computes something else; only models of the types llama and gpt2 can be taken");
    return out;
  }
  if (const Json quantization = member(config, "quantization_config"); !quantization.is_null())
    out.push_back(
        "quantization_config: the weights are quantized; take a file of float32, bfloat16 or float16");
  // Later versions of transformers keep what concerns rope in one object.
  const Json rope = member(config, "rope_parameters");
  for (const ConfigKey &key : configKeys(layout, model)) {
    Json found = member(config, key.name.c_str());
    if (key.name == "rope_theta" && found.is_null())
      found = member(rope, "rope_theta");
    if (key.name == "rope_scaling") {
      const Json type =
          member(found, "rope_type").is_null() ? member(found, "type") : member(found, "rope_type");
      const Json other = member(rope, "rope_type");
      if ((!found.is_null() && type != "default") || (!other.is_null() && other != "default"))
        out.push_back("rope_scaling: " + shown(found.is_null() ? rope : found) +
                      "; a step has no scaled positions, take a model without");
      continue;
    }
    const bool given = !found.is_null();
    if (!given && key.absent.is_null()) {
      out.push_back(key.name + ": missing, the step has " + shown(key.value));
      continue;
    }
    if (!given)
      found = key.absent;
    if (same(found, key.value) ||
        (found.is_string() && std::count(key.synonyms.begin(), key.synonyms.end(), found.get<std::string>())))
      continue;
    const std::string ours = key.ours.empty() ? "" : inOurWords(key, found);
    out.push_back(key.name + ": " + shown(found) + (given ? "" : ", since it is not given") +
                  "; the step has " + shown(key.value) +
                  (ours.empty() ? ", and cannot be otherwise" : "; compile with --" + key.ours + "=" + ours));
  }
  return out;
}

std::vector<std::string> differences(const Model &model, const Json &config) {
  std::vector<std::string> out;
  std::vector<const char *> keys = {
      "n_layer",      "n_head",   "n_kv_head",     "head_dim",          "n_embd",
      "vocab_size",   "norm_eps", "normalization", "position_encoding", "norm_position",
      "weight_tying", "ffn_type", "bias"};
  if (model.text("position_encoding") == "rope")
    keys.push_back("rope_theta");
  if (model.text("position_encoding") == "learned_absolute")
    keys.push_back("block_size");
  if (model.text("ffn_type") == "standard")
    keys.push_back("activation");
  for (const char *key : keys) {
    const Json found = member(config, key), value = member(model.config, key);
    if (!found.is_null() && !value.is_null() && !same(found, value))
      out.push_back(std::string(key) + ": " + shown(found) + "; the step has " + shown(value) +
                    "; compile with --" + key + "=" + shown(found));
  }
  return out;
}

} // namespace txc::interchange
