//===- checkpoint.h - The saved states of runs ------------------------------===//
//
// OUT_DIR/checkpoints/SEQUENCE-iter-N/ (docs/checkpoints.md):
//   model*.safetensors       weights by name
//   optimizer*.safetensors   both moments, NAME.moment1 and NAME.moment2
//   manifest.json            what the run was, where it stood, and the SHA-256 of
//                            the other files and of itself
//
// With several ranks each writes its own pair, "model-00001-of-00004". A piece
// says in its file's metadata which elements of the flattened tensor it has, so
// that a reader puts together what it needs, whoever wrote it.
//
// A checkpoint comes to be by one rename, after all of it is on the disk. So a
// folder of that name is whole, or was damaged later, which its hashes show.
// Writing never touches an older checkpoint; only after the rename those beyond
// the number to keep go, each by a rename out of sight before it is deleted.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_CHECKPOINT_CHECKPOINT_H
#define TXC_RUNTIME_CHECKPOINT_CHECKPOINT_H

#include "checkpoint/file_operations.h"
#include "checkpoint/safetensors.h"
#include "support/status.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace txc {

// Elements [begin, end) of a flattened f32 tensor.
struct TensorPiece {
  std::string name;
  std::vector<uint64_t> shape; // of the whole tensor
  uint64_t begin = 0, end = 0;
  const char *data = nullptr;
};

struct CheckpointContent {
  uint64_t sequence = 0;
  int64_t iteration = 0;
  std::vector<TensorPiece> model, optimizer; // of this rank
  nlohmann::ordered_json manifest;           // all but version, sequence, iteration, ranks and files
  int64_t rank = 0, numRanks = 1;
};

struct WrittenCheckpoint {
  std::string path;
  uint64_t bytes = 0;
  double seconds = 0;
};

// What is known of a checkpoint before its data is read.
struct FoundCheckpoint {
  std::string path;
  nlohmann::ordered_json manifest;

  uint64_t sequence() const { return manifest["sequence"].get<uint64_t>(); }
  int64_t iteration() const { return manifest["iteration"].get<int64_t>(); }
};

// A checkpoint whose hashes are right.
class Checkpoint {
public:
  // Reads all of it once, to compare hashes, unless somebody did just now.
  static Result<Checkpoint> open(const FoundCheckpoint &found, bool compareHashes = true);

  const std::string &path() const { return path_; }
  const nlohmann::ordered_json &manifest() const { return manifest_; }
  // Names of the weights, and shapes of the whole tensors.
  const std::map<std::string, std::vector<uint64_t>> &model() const { return shapes_[0]; }
  // Elements [begin, begin + count) of a weight, or of NAME.moment1, NAME.moment2.
  Status read(const std::string &name, uint64_t begin, uint64_t count, float *out) const;

private:
  struct Piece {
    size_t file;
    TensorEntry entry;
    uint64_t begin, end;
  };
  std::string path_;
  nlohmann::ordered_json manifest_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::vector<uint64_t>> shapes_[2]; // weights; moments
  std::map<std::string, std::vector<Piece>> pieces_;       // by `begin`
};

class CheckpointFolder {
public:
  explicit CheckpointFolder(std::string path, FileOperations &files = systemFiles())
      : path_(std::move(path)), files_(&files) {}

  const std::string &path() const { return path_; }
  // Deletes what an interrupted run left half written or half deleted. Only the
  // holder of the folder's lock may.
  void removeLeftovers() const;

  struct Scan {
    std::vector<FoundCheckpoint> valid; // by manifest; newest first
    std::vector<std::string> problems;  // a message per folder whose manifest is bad
    uint64_t nextSequence = 1;          // greater than that of any folder, valid or not
  };
  Scan scan() const;
  // The newest that is whole. `problems` says what is wrong with newer ones, whose
  // folders are in `bad`. Fails if there is none.
  Result<Checkpoint> openNewest(std::vector<std::string> &problems, std::set<std::string> &bad) const;

  // The one at this path, whose hashes another rank compared.
  Result<Checkpoint> openChecked(const std::string &path) const;

  // Rank 0 waits for the other ranks' files, at most `timeoutSeconds`, and writes
  // the manifest; other ranks are done with their files. On failure nothing is
  // left behind.
  Result<WrittenCheckpoint> write(const CheckpointContent &content, double timeoutSeconds = 600) const;
  // Deletes checkpoints of `run` but the newest `keep`; those in `bad` neither count
  // nor go.
  Status prune(const std::string &run, int64_t keep, const std::set<std::string> &bad) const;

private:
  Status writeAll(const std::string &folder, const CheckpointContent &content, double timeoutSeconds,
                  uint64_t &bytes) const;
  Status writeTensors(const std::string &path, const std::vector<TensorPiece> &pieces,
                      nlohmann::ordered_json &description) const;
  Status writeText(const std::string &path, const std::string &text) const;

  std::string path_;
  FileOperations *files_;
};

// manifest.json: the text of an object, closed by the hash of what is before it,
// and the object of such a text. Any changed byte is found.
std::string sealManifest(const nlohmann::ordered_json &manifest);
Result<nlohmann::ordered_json> openManifest(std::string_view text, const std::string &path);

} // namespace txc

#endif // TXC_RUNTIME_CHECKPOINT_CHECKPOINT_H
