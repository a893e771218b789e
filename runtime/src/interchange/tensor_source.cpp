//===- tensor_source.cpp - Files of weights that somebody gives us ----------===//
#include "interchange/tensor_source.h"

#include "interchange/element_order.h"
#include "support/file.h"
#include "support/json.h"

#include <algorithm>
#include <filesystem>

namespace txc::interchange {

using Json = nlohmann::ordered_json;

static constexpr uint64_t kLargestConfig = 1 << 20, kLargestIndex = 64 << 20;
// The options of a step, in the metadata of a file that txrun exported.
static constexpr const char *kOwnConfig = "txc.config";

static Result<std::string> readText(const std::string &path, uint64_t most) {
  uint64_t bytes = 0;
  Result<std::shared_ptr<const int>> file = openForReading(path, bytes);
  if (!file.ok())
    return file.status();
  if (bytes > most)
    return Status::failed(path + ": it has " + std::to_string(bytes) + " bytes, expected at most " +
                          std::to_string(most));
  std::string text(bytes, '\0');
  if (Status status = readExactly(**file, 0, text.data(), bytes, path); !status.ok())
    return status;
  return text;
}

uint64_t TensorSource::Entry::elements() const {
  uint64_t count = 1;
  for (uint64_t dim : shape)
    count *= dim;
  return count;
}

const TensorSource::Entry *TensorSource::find(const std::string &name) const {
  auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Status TensorSource::openFile(const std::string &path) {
  Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.ok())
    return file.status();
  for (const TensorEntry &entry : file->header().tensors)
    tensors_[entry.name] = {entry.dtype, entry.shape, 0, entry};
  if (auto found = file->header().metadata.find(kOwnConfig); found != file->header().metadata.end()) {
    Result<Json> own = parseJson(found->second);
    if (!own.ok() || !own->is_object())
      return Status::failed(path + ": '" + kOwnConfig + "' of its metadata is " +
                            (own.ok() ? "no object" : own.status().message()));
    ownConfig_ = std::move(*own);
  }
  files_.push_back(std::move(*file));
  return {};
}

Status TensorSource::openParts(const std::string &folder, const std::string &indexPath) {
  auto bad = [&](const std::string &what) { return Status::failed(indexPath + ": " + what); };
  Result<std::string> text = readText(indexPath, kLargestIndex);
  if (!text.ok())
    return text.status();
  Result<nlohmann::json> index = parseUnorderedJson(*text, 4);
  if (!index.ok())
    return bad(index.status().message());
  auto map = index->is_object() ? index->find("weight_map") : index->end();
  if (!index->is_object() || map == index->end() || !map->is_object() || map->empty())
    return bad("it has no 'weight_map', which says in which file each tensor is");
  std::map<std::string, size_t> numbers;
  for (const auto &[tensor, value] : map->items()) {
    const std::string name = value.is_string() ? value.get<std::string>() : "";
    if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos)
      return bad("'" + tensor + "' is not in a file of this folder");
    auto [number, isNew] = numbers.insert({name, files_.size()});
    if (isNew) {
      Result<SafetensorsFile> file = SafetensorsFile::open(folder + "/" + name);
      if (!file.ok())
        return file.status();
      files_.push_back(std::move(*file));
    }
  }
  for (size_t number = 0; number < files_.size(); ++number)
    for (const TensorEntry &entry : files_[number].header().tensors) {
      auto said = map->find(entry.name);
      if (said == map->end())
        return Status::failed(files_[number].path() + ": tensor '" + entry.name + "' is not in " + indexPath);
      if (numbers.at(said->get<std::string>()) == number)
        tensors_[entry.name] = {entry.dtype, entry.shape, number, entry};
    }
  for (const auto &[tensor, value] : map->items())
    if (!find(tensor))
      return bad("'" + tensor + "' is not in " + value.get<std::string>());
  return {};
}

Status TensorSource::readConfig(const std::string &folder) {
  configPath_ = folder + "/config.json";
  if (!isFile(configPath_))
    return {};
  Result<std::string> text = readText(configPath_, kLargestConfig);
  if (!text.ok())
    return text.status();
  Result<Json> config = parseJson(*text);
  if (!config.ok() || !config->is_object())
    return Status::failed(configPath_ + ": " + (config.ok() ? "not an object" : config.status().message()));
  config_ = std::move(*config);
  return {};
}

TensorSource TensorSource::of(Checkpoint checkpoint) {
  TensorSource out;
  out.path_ = checkpoint.path();
  for (const auto &[name, shape] : checkpoint.model())
    out.tensors_[name] = {"F32", shape, 0, {}};
  const Json &config = checkpoint.manifest()["config"]; // checked when it was opened
  if (auto step = config.find("step"); step != config.end() && step->is_object())
    out.ownConfig_ = *step;
  out.checkpoint_ = std::move(checkpoint);
  return out;
}

// The checkpoint in this folder, if it is one that has the file `name` (any, if empty).
static Result<std::optional<Checkpoint>> openCheckpoint(const std::string &folder, const std::string &name) {
  const std::string path = folder + "/manifest.json";
  if (!isFile(path))
    return std::optional<Checkpoint>();
  Result<std::string> text = readText(path, kLargestIndex);
  if (!text.ok())
    return text.status();
  Result<Json> manifest = openManifest(*text, path);
  if (!manifest.ok())
    return manifest.status();
  bool lists = name.empty();
  for (const Json &file : (*manifest)["files"])
    lists |= file["name"] == name;
  if (!lists)
    return std::optional<Checkpoint>();
  Result<Checkpoint> checkpoint = Checkpoint::open({folder, std::move(*manifest)});
  if (!checkpoint.ok())
    return checkpoint.status();
  return std::optional<Checkpoint>(std::move(*checkpoint));
}

Result<TensorSource> TensorSource::open(const std::string &path) {
  const bool isFolder = isDirectory(path);
  std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = isFolder ? path : parent.empty() ? "." : parent.string();
  Result<std::optional<Checkpoint>> checkpoint =
      openCheckpoint(folder, isFolder ? "" : std::filesystem::path(path).filename().string());
  if (!checkpoint.ok())
    return checkpoint.status();
  TensorSource out;
  if (*checkpoint) {
    out = of(std::move(**checkpoint));
    out.path_ = path;
    return out;
  }
  out.path_ = path;
  const std::string index = folder + "/model.safetensors.index.json", whole = folder + "/model.safetensors";
  Status status;
  // One of the files of a model in parts stands for all.
  const std::string file = std::filesystem::path(path).filename().string();
  const bool isPart = file.rfind("model-", 0) == 0 && file.find("-of-") != std::string::npos && isFile(index);
  if (!isFolder && !isPart)
    status = out.openFile(path);
  else if (isFile(index))
    status = out.openParts(folder, index);
  else if (isFile(whole))
    status = out.openFile(whole);
  else if (isFile(folder + "/pytorch_model.bin") || isFile(folder + "/pytorch_model.bin.index.json"))
    status =
        Status::failed(path + ": its weights are pickled (pytorch_model.bin), which is code, not data; save "
                              "them with transformers' save_pretrained(DIR, safe_serialization=True)");
  else
    status = Status::failed(path + ": no weights in this folder; expected model.safetensors, "
                                   "model.safetensors.index.json or a checkpoint's manifest.json");
  if (status.ok())
    status = out.readConfig(folder);
  if (!status.ok())
    return status;
  return out;
}

Status TensorSource::read(const std::string &name, uint64_t begin, uint64_t count, float *out) const {
  if (checkpoint_)
    return checkpoint_->read(name, begin, count, out);
  const Entry *entry = find(name);
  if (!entry)
    return Status::failed(path_ + ": it has no '" + name + "'");
  const uint64_t size = dtypeBytes(entry->dtype);
  std::vector<char> part(std::min<uint64_t>(count * size, 8 << 20));
  for (uint64_t at = 0; at < count;) {
    const uint64_t elements = std::min<uint64_t>(part.size() / size, count - at);
    if (Status status =
            files_[entry->file].read(entry->inFile, (begin + at) * size, part.data(), elements * size);
        !status.ok())
      return status;
    toFloat(entry->dtype, part.data(), elements, out + at);
    at += elements;
  }
  return {};
}

} // namespace txc::interchange
