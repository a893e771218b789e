//===- checkpoint.cpp - The saved states of runs ----------------------------===//
#include "checkpoint/checkpoint.h"

#include "support/file.h"
#include "support/json.h"
#include "support/sha256.h"
#include "support/text.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

namespace txc {

using Json = nlohmann::ordered_json;

static constexpr int kVersion = 1;
static constexpr const char *kShards = "txc.shards";
static constexpr const char *kHalfWritten = ".incomplete-", *kHalfDeleted = ".removed-";

static Status failed(const std::string &path, const char *what, int error) {
  return Status::failed(path + ": " + what + ": " + std::strerror(error < 0 ? -error : error));
}

static std::string folderName(uint64_t sequence, int64_t iteration) {
  return format("%06llu-iter-%lld", static_cast<unsigned long long>(sequence),
                static_cast<long long>(iteration));
}

//===-- The manifest --------------------------------------------------------===//

static std::string seal(std::string_view body) { return ",\n \"sha256\": \"" + sha256Hex(body) + "\"\n}\n"; }

std::string sealManifest(const Json &manifest) {
  std::string body = manifest.dump(1, ' ', false, Json::error_handler_t::replace);
  body.resize(body.size() - 2); // "\n}"
  return body + seal(body);
}

Result<Json> openManifest(std::string_view text, const std::string &path) {
  const size_t sealBytes = seal("").size();
  if (text.size() <= sealBytes)
    return Status::failed(path + ": the manifest is cut off after " + std::to_string(text.size()) + " bytes");
  std::string_view body = text.substr(0, text.size() - sealBytes);
  if (text.substr(body.size()) != seal(body))
    return Status::failed(path +
                          ": the manifest is damaged: its text does not have the SHA-256 that it names");
  Result<Json> parsed = parseJson(text);
  if (!parsed.ok())
    return Status::failed(path + ": the manifest is " + parsed.status().message());
  const Json &json = *parsed;
  auto wrong = [&](const char *key) {
    return Status::failed(path + ": the manifest has no sound '" + key + "'");
  };
  if (!json.is_object() || !json.contains("version") || !json["version"].is_number_integer())
    return wrong("version");
  if (json["version"] != kVersion)
    return Status::failed(path + ": the checkpoint is of version " + json["version"].dump() +
                          ", this txrun reads version " + std::to_string(kVersion));
  for (const char *key : {"sequence", "iteration"})
    if (!json.contains(key) || !json[key].is_number_integer() || json[key] < 0 || json[key] > INT64_MAX / 2)
      return wrong(key);
  if (!json.contains("run") || !json["run"].is_string())
    return wrong("run");
  if (!json.contains("config") || !json["config"].is_object())
    return wrong("config");
  if (!json.contains("files") || !json["files"].is_array() || json["files"].empty())
    return wrong("files");
  for (const Json &file : json["files"]) {
    for (const char *key : {"name", "sha256"})
      if (!file.is_object() || !file.contains(key) || !file[key].is_string())
        return wrong("files");
    if (!file.contains("bytes") || !file["bytes"].is_number_unsigned())
      return wrong("files");
    // It is looked for in the checkpoint's own folder and nowhere else.
    const std::string name = file["name"];
    if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos)
      return wrong("files");
  }
  return parsed;
}

//===-- Reading -------------------------------------------------------------===//

static Status checkHash(const std::string &path, const Json &description) {
  uint64_t bytes = 0;
  Result<std::shared_ptr<const int>> file = openForReading(path, bytes);
  if (!file.ok())
    return file.status();
  const uint64_t expected = description["bytes"].get<uint64_t>();
  if (bytes != expected)
    return Status::failed(format("%s: it has %llu bytes, the manifest says %llu", path.c_str(),
                                 static_cast<unsigned long long>(bytes),
                                 static_cast<unsigned long long>(expected)));
  Sha256 hash;
  std::vector<char> part(1 << 20);
  for (uint64_t at = 0; at < bytes; at += part.size()) {
    part.resize(std::min<uint64_t>(part.size(), bytes - at));
    if (Status status = readExactly(**file, at, part.data(), part.size(), path); !status.ok())
      return status;
    hash.update(part.data(), part.size());
  }
  if (toHex(hash.finish()) != description["sha256"].get<std::string>())
    return Status::failed(path + ": it is damaged: its SHA-256 is not the manifest's");
  return {};
}

Result<Checkpoint> Checkpoint::open(const FoundCheckpoint &found, bool compareHashes) {
  Checkpoint out;
  out.path_ = found.path;
  out.manifest_ = found.manifest;
  for (const Json &description : found.manifest["files"]) {
    const std::string path = found.path + "/" + description["name"].get<std::string>();
    if (Status status = compareHashes ? checkHash(path, description) : Status(); !status.ok())
      return status;
    Result<SafetensorsFile> file = SafetensorsFile::open(path);
    if (!file.ok())
      return file.status();
    Json shards = Json::object();
    const auto &metadata = file->header().metadata;
    if (auto text = metadata.find(kShards); text != metadata.end()) {
      Result<Json> parsed = parseJson(text->second);
      if (!parsed.ok() || !parsed->is_object())
        return Status::failed(path + ": its list of shards is damaged");
      shards = std::move(*parsed);
    }
    const bool optimizer = description["name"].get<std::string>().rfind("optimizer", 0) == 0;
    for (const TensorEntry &entry : file->header().tensors) {
      if (entry.dtype != "F32")
        return Status::failed(path + ": '" + entry.name + "' is " + entry.dtype + ", expected F32");
      Piece piece{out.files_.size(), entry, 0, entry.elements()};
      std::vector<uint64_t> shape = entry.shape;
      if (auto shard = shards.find(entry.name); shard != shards.end()) {
        auto numbers = [&](const char *key) { return shard->is_object() && shard->contains(key); };
        if (!numbers("begin") || !numbers("shape") || !(*shard)["begin"].is_number_unsigned() ||
            !(*shard)["shape"].is_array())
          return Status::failed(path + ": the shard of '" + entry.name + "' is not described");
        piece.begin = (*shard)["begin"].get<uint64_t>();
        if (__builtin_add_overflow(piece.begin, entry.elements(), &piece.end))
          return Status::failed(path + ": the shard of '" + entry.name + "' ends nowhere");
        shape.clear();
        for (const Json &dim : (*shard)["shape"]) {
          if (!dim.is_number_unsigned())
            return Status::failed(path + ": the shard of '" + entry.name + "' is not described");
          shape.push_back(dim.get<uint64_t>());
        }
      }
      out.pieces_[entry.name].push_back(std::move(piece));
      auto [known, isNew] = out.shapes_[optimizer].insert({entry.name, shape});
      if (!isNew && known->second != shape)
        return Status::failed(path + ": the shards of '" + entry.name + "' are of different tensors");
    }
    out.files_.push_back(std::move(*file));
  }
  for (auto &[name, pieces] : out.pieces_)
    std::sort(pieces.begin(), pieces.end(), [](const Piece &a, const Piece &b) { return a.begin < b.begin; });
  return out;
}

Status Checkpoint::read(const std::string &name, uint64_t begin, uint64_t count, float *out) const {
  auto found = pieces_.find(name);
  if (found == pieces_.end())
    return Status::failed(path_ + ": it has no '" + name + "'");
  const uint64_t end = begin + count;
  for (const Piece &piece : found->second) {
    if (begin >= end)
      break;
    if (piece.begin > begin || piece.end <= begin)
      continue;
    const uint64_t until = std::min(piece.end, end);
    if (Status status =
            files_[piece.file].read(piece.entry, (begin - piece.begin) * 4, out, (until - begin) * 4);
        !status.ok())
      return status;
    out += until - begin;
    begin = until;
  }
  if (begin < end)
    return Status::failed(format("%s: elements %llu to %llu of '%s' are in none of its files", path_.c_str(),
                                 static_cast<unsigned long long>(begin), static_cast<unsigned long long>(end),
                                 name.c_str()));
  return {};
}

//===-- The folder ----------------------------------------------------------===//

static std::vector<std::string> namesIn(const std::string &path) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void CheckpointFolder::removeLeftovers() const {
  for (const std::string &name : namesIn(path_))
    if (name.rfind(kHalfWritten, 0) == 0 || name.rfind(kHalfDeleted, 0) == 0)
      (void)files_->remove(path_ + "/" + name); // in the way of nothing
}

CheckpointFolder::Scan CheckpointFolder::scan() const {
  Scan out;
  for (const std::string &name : namesIn(path_)) {
    if (name[0] == '.')
      continue;
    // The number counts even if the rest is unreadable.
    char *end = nullptr;
    const unsigned long long sequence = std::strtoull(name.c_str(), &end, 10);
    if (std::strncmp(end, "-iter-", 6) == 0 && sequence < UINT64_MAX / 4)
      out.nextSequence = std::max<uint64_t>(out.nextSequence, sequence + 1);
    const std::string path = path_ + "/" + name, file = path + "/manifest.json";
    if (!isDirectory(path))
      continue;
    uint64_t bytes = 0;
    Result<std::shared_ptr<const int>> open = openForReading(file, bytes);
    if (!open.ok() || bytes > (64 << 20)) {
      out.problems.push_back(open.ok() ? file + ": the manifest is too long" : open.status().message());
      continue;
    }
    std::string text(bytes, '\0');
    Status status = readExactly(**open, 0, text.data(), bytes, file);
    Result<Json> manifest = status.ok() ? openManifest(text, file) : Result<Json>(status);
    if (!manifest.ok()) {
      out.problems.push_back(manifest.status().message());
      continue;
    }
    out.valid.push_back({path, std::move(*manifest)});
    out.nextSequence = std::max(out.nextSequence, out.valid.back().sequence() + 1);
  }
  std::stable_sort(
      out.valid.begin(), out.valid.end(),
      [](const FoundCheckpoint &a, const FoundCheckpoint &b) { return a.sequence() > b.sequence(); });
  return out;
}

Result<Checkpoint> CheckpointFolder::openNewest(std::vector<std::string> &problems,
                                                std::set<std::string> &bad) const {
  Scan found = scan();
  problems = found.problems;
  for (const FoundCheckpoint &candidate : found.valid) {
    Result<Checkpoint> checkpoint = Checkpoint::open(candidate);
    if (checkpoint.ok())
      return checkpoint;
    problems.push_back(checkpoint.status().message());
    bad.insert(candidate.path);
  }
  std::string message = path_ + ": no checkpoint to resume from";
  for (const std::string &problem : problems)
    message += "\n  " + problem;
  return Status::failed(message + (problems.empty()
                                       ? ": there is none; train with --init_from=scratch first, "
                                         "or give the --out_dir of the run"
                                       : "\nnone of them can be used; train with "
                                         "--init_from=scratch, or give another --out_dir"));
}

Result<Checkpoint> CheckpointFolder::openChecked(const std::string &path) const {
  for (const FoundCheckpoint &found : scan().valid)
    if (found.path == path)
      return Checkpoint::open(found, false);
  return Status::failed(
      path + ": rank 0 found this checkpoint, this rank does not; all ranks must see the same out_dir");
}

Status CheckpointFolder::prune(const std::string &run, int64_t keep, const std::set<std::string> &bad) const {
  int64_t seen = 0;
  for (const FoundCheckpoint &found : scan().valid) {
    if (found.manifest["run"] != run || bad.count(found.path) || ++seen <= keep)
      continue;
    const std::string away =
        path_ + "/" + kHalfDeleted + std::filesystem::path(found.path).filename().string();
    int error = files_->rename(found.path, away);
    if (error == 0)
      error = files_->remove(away);
    if (error < 0)
      return failed(found.path, "cannot delete this checkpoint, which is older than those to keep", error);
  }
  return {};
}

//===-- Writing -------------------------------------------------------------===//

namespace {
// A file that is created, written, hashed, flushed and closed.
class Output {
public:
  Output(FileOperations &files, const std::string &path) : files_(files), path_(path) {
    file_ = files_.create(path);
    if (file_ < 0)
      status_ = failed(path_, "cannot create", file_);
  }
  ~Output() {
    if (file_ >= 0)
      (void)files_.close(file_);
  }
  void write(const char *data, uint64_t bytes) {
    while (status_.ok() && bytes > 0) {
      const ssize_t count = files_.write(file_, data, std::min<uint64_t>(bytes, 8 << 20));
      if (count == -EINTR)
        continue;
      if (count <= 0) {
        status_ = failed(path_, "cannot write", count < 0 ? static_cast<int>(count) : -EIO);
        return;
      }
      hash_.update(data, static_cast<size_t>(count));
      data += count;
      bytes -= static_cast<uint64_t>(count);
      bytes_ += static_cast<uint64_t>(count);
    }
  }
  Status finish() {
    if (status_.ok())
      if (int error = files_.flush(file_); error < 0)
        status_ = failed(path_, "cannot flush to the disk", error);
    if (file_ >= 0)
      if (int error = files_.close(file_); error < 0 && status_.ok())
        status_ = failed(path_, "cannot close", error);
    file_ = -1;
    return status_;
  }
  uint64_t bytes() const { return bytes_; }
  std::string hash() { return toHex(hash_.finish()); }

private:
  FileOperations &files_;
  std::string path_;
  int file_ = -1;
  Status status_;
  Sha256 hash_;
  uint64_t bytes_ = 0;
};
} // namespace

Status CheckpointFolder::writeText(const std::string &path, const std::string &text) const {
  Output output(*files_, path);
  output.write(text.data(), text.size());
  return output.finish();
}

Status CheckpointFolder::writeTensors(const std::string &path, const std::vector<TensorPiece> &pieces,
                                      Json &description) const {
  std::vector<TensorEntry> entries;
  Json shards = Json::object();
  for (const TensorPiece &piece : pieces) {
    TensorEntry entry{piece.name, "F32", piece.shape, 0, 0};
    if (piece.begin != 0 || piece.end != entry.elements()) {
      shards[piece.name] = {{"shape", piece.shape}, {"begin", piece.begin}, {"end", piece.end}};
      entry.shape = {piece.end - piece.begin};
    }
    entries.push_back(std::move(entry));
  }
  std::map<std::string, std::string> metadata = {{"format", "txc"}};
  if (!shards.empty())
    metadata[kShards] = shards.dump();
  const std::string head = layOutSafetensors(entries, metadata);
  Output output(*files_, path);
  output.write(head.data(), head.size());
  for (const TensorPiece &piece : pieces)
    output.write(piece.data, (piece.end - piece.begin) * 4);
  if (Status status = output.finish(); !status.ok())
    return status;
  description = {{"name", std::filesystem::path(path).filename().string()},
                 {"bytes", output.bytes()},
                 {"sha256", output.hash()}};
  return {};
}

Status CheckpointFolder::writeAll(const std::string &folder, const CheckpointContent &content,
                                  double timeoutSeconds, uint64_t &bytes) const {
  const std::string end = content.numRanks > 1
                              ? format("-%05lld-of-%05lld", static_cast<long long>(content.rank) + 1,
                                       static_cast<long long>(content.numRanks))
                              : "";
  Json files = Json::array();
  for (bool optimizer : {false, true}) {
    Json description;
    if (Status status = writeTensors(folder + (optimizer ? "/optimizer" : "/model") + end + ".safetensors",
                                     optimizer ? content.optimizer : content.model, description);
        !status.ok())
      return status;
    bytes += description["bytes"].get<uint64_t>();
    files.push_back(std::move(description));
  }
  // The other ranks tell rank 0 through the folder, which they share in any case,
  // what they wrote.
  auto rankFile = [&](int64_t rank) {
    return folder + format("/rank-%05lld.json", static_cast<long long>(rank));
  };
  if (content.rank != 0) {
    const std::string path = rankFile(content.rank);
    if (Status status = writeText(path + ".part", files.dump()); !status.ok())
      return status;
    if (int error = files_->rename(path + ".part", path); error < 0)
      return failed(path, "cannot rename the finished file to this name", error);
    if (int error = files_->flushFolder(folder); error < 0)
      return failed(folder, "cannot flush the folder to the disk", error);
    return {};
  }
  const auto start = std::chrono::steady_clock::now();
  for (int64_t rank = 1; rank < content.numRanks; ++rank) {
    const std::string path = rankFile(rank);
    while (!isFile(path)) {
      if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > timeoutSeconds)
        return Status::failed(
            format("%s: rank %lld of %lld did not write its part within %.0f s; all ranks must "
                   "see the same out_dir",
                   folder.c_str(), static_cast<long long>(rank), static_cast<long long>(content.numRanks),
                   timeoutSeconds));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    Result<std::string> text = readFile(path);
    if (!text.ok())
      return text.status();
    Result<Json> theirs = parseJson(*text);
    if (theirs.ok() && theirs->is_object() && theirs->contains("error"))
      return Status::failed(format("rank %lld of %lld: ", static_cast<long long>(rank),
                                   static_cast<long long>(content.numRanks)) +
                            theirs->value("error", ""));
    if (!theirs.ok() || !theirs->is_array())
      return Status::failed(path + ": not what a rank writes");
    for (const Json &description : *theirs)
      files.push_back(description);
    if (int error = files_->remove(path); error < 0)
      return failed(path, "cannot remove", error);
  }
  Json manifest = {{"version", kVersion},
                   {"sequence", content.sequence},
                   {"iteration", content.iteration},
                   {"num_ranks", content.numRanks}};
  manifest.update(content.manifest);
  manifest["files"] = files;
  if (Status status = writeText(folder + "/manifest.json", sealManifest(manifest)); !status.ok())
    return status;
  if (int error = files_->flushFolder(folder); error < 0)
    return failed(folder, "cannot flush the folder to the disk", error);
  return {};
}

Result<WrittenCheckpoint> CheckpointFolder::write(const CheckpointContent &content,
                                                  double timeoutSeconds) const {
  const auto start = std::chrono::steady_clock::now();
  const std::string name = folderName(content.sequence, content.iteration);
  const std::string temporary = path_ + "/" + kHalfWritten + name, final = path_ + "/" + name;
  WrittenCheckpoint out;
  Status status;
  for (const std::string &folder : {path_, temporary})
    if (int error = status.ok() ? files_->makeFolder(folder) : 0; error < 0)
      status = failed(folder, "cannot make the folder", error);
  if (status.ok())
    status = writeAll(temporary, content, timeoutSeconds, out.bytes);
  if (content.rank == 0) {
    if (status.ok())
      if (int error = files_->rename(temporary, final); error < 0)
        status = failed(final, "cannot rename the finished checkpoint to this name", error);
    if (status.ok())
      if (int error = files_->flushFolder(path_); error < 0)
        status = failed(path_, "cannot flush the folder to the disk", error);
    if (!status.ok())
      (void)files_->remove(temporary);
  } else if (!status.ok()) {
    // Rank 0 waits for this rank's files: it is told that they do not come, if that can be written.
    const std::string path = temporary + format("/rank-%05lld.json", static_cast<long long>(content.rank));
    const Json error = {{"error", status.message()}};
    if (writeText(path + ".part", error.dump(-1, ' ', false, Json::error_handler_t::replace)).ok())
      (void)files_->rename(path + ".part", path);
  }
  if (!status.ok())
    return status;
  out.path = final;
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

} // namespace txc
