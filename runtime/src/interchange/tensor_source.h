//===- tensor_source.h - Files of weights that somebody gives us ------------===//
//
// A file, or a folder that holds
//   manifest.json                  a checkpoint of ours, of any number of ranks, or
//   model.safetensors.index.json   which names the files of a model in parts, or
//   model.safetensors
// The last two with config.json beside them, if they are Hugging Face's.
//
// What is read may come from anyone: names of files lead nowhere but into the
// folder, and every tensor is where its file says before anything is read.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_INTERCHANGE_TENSOR_SOURCE_H
#define TXC_RUNTIME_INTERCHANGE_TENSOR_SOURCE_H

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "support/status.h"

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace txc::interchange {

class TensorSource {
public:
  struct Entry {
    std::string dtype;
    std::vector<uint64_t> shape;
    size_t file = 0;    // of files_
    TensorEntry inFile; // if there are files_

    uint64_t elements() const;
  };

  static Result<TensorSource> open(const std::string &path);
  static TensorSource of(Checkpoint checkpoint);

  // As the user gave it.
  const std::string &path() const { return path_; }
  const std::map<std::string, Entry> &tensors() const { return tensors_; }
  const Entry *find(const std::string &name) const;
  // Elements [begin, begin + count) of the flattened tensor, whose type isExactInFloat.
  Status read(const std::string &name, uint64_t begin, uint64_t count, float *out) const;

  // config.json, and its path; null if there is none.
  const nlohmann::ordered_json &config() const { return config_; }
  const std::string &configPath() const { return configPath_; }
  // The options of the step that a file of our own is of; null if it does not say.
  const nlohmann::ordered_json &ownConfig() const { return ownConfig_; }

private:
  Status openFile(const std::string &path);
  Status openParts(const std::string &folder, const std::string &indexPath);
  Status readConfig(const std::string &folder);

  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::optional<Checkpoint> checkpoint_;
  std::map<std::string, Entry> tensors_;
  nlohmann::ordered_json config_, ownConfig_;
  std::string configPath_;
};

} // namespace txc::interchange

#endif // TXC_RUNTIME_INTERCHANGE_TENSOR_SOURCE_H
