//===- layouts.h - Where other systems keep the weights of a model ----------===//
//
// One table per layout says which rows of which of our tensors a tensor of theirs
// is, and how its elements lie; importing and exporting read the same rows. The
// same goes for the keys of config.json: a key has the value that the step means,
// which export writes and import expects.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_INTERCHANGE_LAYOUTS_H
#define TXC_RUNTIME_INTERCHANGE_LAYOUTS_H

#include "support/status.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace txc::interchange {

enum class Layout {
  Txc,   // names of the YAML paths
  Llama, // Hugging Face's LlamaForCausalLM
  Gpt2   // Hugging Face's GPT2LMHeadModel
};
const char *nameOf(Layout layout);

struct Tensor {
  std::string name;
  std::vector<uint64_t> shape;
};

// What a step.so holds.
struct Model {
  std::string step; // its path, for messages
  std::vector<Tensor> parameters;
  nlohmann::ordered_json config; // flat: key -> value; empty if the step has none

  // The metadata's list of parameters and its options.
  static Result<Model> fromMetadata(const nlohmann::ordered_json &metadata, const std::string &step);
  const Tensor *find(const std::string &name) const;
  std::string text(const char *key) const;
  uint64_t number(const char *key) const; // 0 if there is none that makes sense
  bool flag(const char *key) const;
};

// One tensor of a file.
struct Piece {
  std::string theirs;
  std::vector<uint64_t> shape; // theirs
  std::string ours;            // "": the step has no such tensor, which is the same as zeros
  uint64_t firstRow = 0;       // of ours; the piece is `rows` rows from there
  uint64_t rows = 0, width = 1;
  bool transposed = false;  // theirs is [width, rows]
  uint64_t rotatedRows = 0; // leading rows that are rotated by rope, head by head
  std::string rowsKey;      // the key of a spec that decides the number of rows
  std::string whyZeros;     // what to compile with so that `ours` exists
};

// All tensors of the model in that layout, in the order of a file. Together they are
// all of the model's parameters.
Result<std::vector<Piece>> piecesOf(Layout layout, const Model &model);

// Why the layout cannot hold the model: one line per key that is in the way, naming
// its value and what it would have to be.
std::vector<std::string> obstacles(Layout layout, const Model &model);

// A key of config.json.
struct ConfigKey {
  std::string name;
  nlohmann::ordered_json value; // for this model
  // What holds where a file lacks the key; null: the file must have it.
  nlohmann::ordered_json absent;
  // The key of a spec that says it; "": cannot be changed.
  std::string ours;
  // Other values that mean the same.
  std::vector<std::string> synonyms;
};
std::vector<ConfigKey> configKeys(Layout layout, const Model &model);
// All of config.json, these keys and what only transformers needs.
nlohmann::ordered_json configFor(Layout layout, const Model &model);
// Why a file with this config.json is another model; one line per key.
std::vector<std::string> differences(Layout layout, const Model &model, const nlohmann::ordered_json &config);
// Likewise for the options that a file of our own was trained with. rope_layout may
// differ.
std::vector<std::string> differences(const Model &model, const nlohmann::ordered_json &config);

// Whether Hugging Face's files may have this tensor, which is computed, not learned.
bool isComputed(Layout layout, const std::string &name);

std::string shapeText(const std::vector<uint64_t> &shape);

} // namespace txc::interchange

#endif // TXC_RUNTIME_INTERCHANGE_LAYOUTS_H
